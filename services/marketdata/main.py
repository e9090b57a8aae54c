"""Wires the market-data service."""

from __future__ import annotations

import tickmesh
from tickmesh.marketdata.v1.environment_service_pb2_grpc import add_EnvironmentServiceServicer_to_server
from tickmesh.marketdata.v1.instrument_service_pb2_grpc import add_InstrumentServiceServicer_to_server
from tickmesh.marketdata.v1.market_data_service_pb2_grpc import add_MarketDataServiceServicer_to_server
from tickmesh.marketdata.v1.replay_service_pb2_grpc import add_ReplayServiceServicer_to_server
from tickmesh.marketdata.v1.tape_service_pb2_grpc import add_TapeServiceServicer_to_server

from services.chassis.cache import open_cache
from services.chassis.calls.handlers import LOCAL_PRINCIPAL
from services.chassis.calls.server import Server, run
from services.chassis.settings import begin
from services.chassis.storage.database import Database
from services.chassis.streams.tokens import ResumeTokens
from services.marketdata import migrations
from services.marketdata.environment_servicer import EnvironmentServicer
from services.marketdata.environments import Environments
from services.marketdata.feed.bars import Bars
from services.marketdata.feed.notices import Notices
from services.marketdata.feed.quotes import Quotes
from services.marketdata.feed.streams import Streams
from services.marketdata.providers.files import FilesProvider
from services.marketdata.providers.sample import CALENDAR, INSTRUMENTS, SampleProvider
from services.marketdata.reference.instruments import Instruments
from services.marketdata.reference.sessions import Calendars
from services.marketdata.replay_servicer import ReplayServicer, TapeServicer
from services.marketdata.servicer import InstrumentServicer, MarketDataServicer
from services.marketdata.settings import Settings
from services.marketdata.store import Store
from services.marketdata.tapes.archive import Archive
from services.marketdata.tapes.data_sets import DataSets
from services.marketdata.tapes.files import TapeFiles


async def main() -> None:
    """Runs the service until it is told to stop."""
    settings = begin(Settings)
    async with await Database.open(settings.database_url, migrations, alone=True) as database:
        server, store, cache = Server(settings), Store(database), open_cache(settings.redis_url)
        calendars = Calendars(store)
        instruments = Instruments(store, calendars)
        data_sets = DataSets([SampleProvider(), FilesProvider(settings.data_sets_directory)], calendars)
        environments = Environments(
            store=store,
            archive=Archive(TapeFiles(settings.tapes_directory), data_sets, instruments),
            instruments=instruments,
            spawn=server.spawn,
            grant_records=settings.marketdata_grant_records,
            silence_seconds=settings.marketdata_silence_seconds,
        )
        quotes, bars = Quotes(environments.feeds, cache), Bars(environments.feeds, calendars)
        streams = Streams(settings.heartbeat_seconds, settings.marketdata_slow_consumer_records, server.draining)
        await instruments.recover()
        await instruments.ensure(INSTRUMENTS, LOCAL_PRINCIPAL)
        await environments.recover()
        tokens = ResumeTokens(await store.epoch())
        notices = Notices(environments.feeds)
        prices = MarketDataServicer(environments, quotes, bars, notices, streams, tokens=tokens)
        server.add(add_MarketDataServiceServicer_to_server, prices)
        server.add(add_InstrumentServiceServicer_to_server, InstrumentServicer(instruments, calendars))
        server.add(add_EnvironmentServiceServicer_to_server, EnvironmentServicer(environments, data_sets))
        server.add(add_ReplayServiceServicer_to_server, ReplayServicer(environments))
        server.add(add_TapeServiceServicer_to_server, TapeServicer(environments))
        server.reflect(tickmesh)
        closing = (environments.participants.close_when(server.draining), streams.close_when_draining())
        for task in (quotes.write(), calendars.prepare(CALENDAR), *closing):
            _ = server.spawn(task, "marketdata")
        await server.serve()
        await cache.close()


if __name__ == "__main__":
    run(main)
