"""An order's story, gathered from whoever knows a part of it."""
