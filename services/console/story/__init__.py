"""An order's story, told to a person."""
