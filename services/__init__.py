"""The services of tickmesh, the rules they share and the chassis they stand on."""

import os

# gRPC's core writes lines of its own ("Got goaway") to stderr, where our logs are JSON; it reads this when imported.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
