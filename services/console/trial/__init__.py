"""What the mesh trades, run in this process: scenarios, and replays repeated."""
