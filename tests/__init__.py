"""The tests. The services come first: gRPC reads the settings that they give it when it is imported."""

import services as services
