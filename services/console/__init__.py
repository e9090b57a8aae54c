"""The `tickmesh` command: starts the mesh, watches it, tells how it stands, and runs backtests."""
