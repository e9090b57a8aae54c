"""The services of tickmesh, the rules they share and the chassis they stand on."""

import os

# gRPC's core writes lines of its own ("Got goaway") to stderr, where our logs are JSON; it reads this when imported.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

# gRPC's threads wait for the network themselves, as they did before it had an engine of events for that: the engine's
# threads hand on what comes, and took a sixth of the CPU of a replay's cycle. It reads this when imported, too.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")

# No process forks while it serves, but to start another program; gRPC's handlers would make its threads anew in that
# child first, which now and then crashed there (initdb, started by a test).
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
