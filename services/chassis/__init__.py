"""What every service stands on; knows nothing of trading."""

import os

# gRPC's core writes lines of its own ("Got goaway") to stderr, where our logs are JSON; it reads this when imported.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
