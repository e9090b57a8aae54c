"""Renders the configuration for the settings in the environment and becomes Envoy: the same process id, its signals."""

from __future__ import annotations

import os
import sys

from gateway.render import command, write
from gateway.settings import EdgeSettings
from services.chassis.settings import load, unknown


def main() -> None:
    """Does not return."""
    settings = load(EdgeSettings)
    for variable in unknown(settings, os.environ):
        sys.stderr.write(f"{variable}: there is no such setting\n")
    arguments = command(write(settings))
    os.execv(arguments[0], arguments)  # noqa: S606 Envoy's own path, from its package


if __name__ == "__main__":
    main()
