"""Users' code: how it is found, made, and run where it holds up nobody else."""
