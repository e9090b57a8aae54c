"""gRPC does without its engine of events, and would say if it did not know how."""

import os
import subprocess
import sys
from pathlib import Path

CONNECT = """
import asyncio
import services
import grpc

async def main():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await channel.channel_ready()
    await server.stop(None)

asyncio.run(main())
"""


def said(**settings: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")} | settings
    done = subprocess.run(
        [sys.executable, "-c", CONNECT],
        env=environment,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stderr


def test_the_installed_grpc_knows_what_is_switched_off() -> None:
    assert "Unknown experiment" not in said()
    # It reads the setting, and tells of one that it does not know.
    refused = said(GRPC_EXPERIMENTS="-no_such_engine")
    assert "Unknown experiment" in refused
    assert "no_such_engine" in refused
