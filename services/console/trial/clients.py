"""What a replay has come to, as the services list it, and all that is needed to repeat it in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from tickmesh.marketdata.v1 import instrument_service_pb2
from tickmesh.marketdata.v1.instrument_service_pb2_grpc import InstrumentServiceStub
from tickmesh.marketdata.v1.tape_service_pb2_grpc import TapeServiceStub
from tickmesh.order.v1 import order_pb2, order_service_pb2, venue_model_service_pb2
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub
from tickmesh.order.v1.venue_model_service_pb2_grpc import VenueModelServiceStub
from tickmesh.portfolio.v1 import portfolio_pb2, portfolio_service_pb2
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub
from tickmesh.risk.v1 import risk_service_pb2
from tickmesh.risk.v1.risk_service_pb2_grpc import RiskServiceStub

from services.chassis.calls.channel import Channel
from services.console.mapping import entry_line, fill_line, limit_changes, refusal_line
from services.console.records import Portfolio, Replay
from services.domain.backtest.digest import History
from services.domain.costs import ModelChange
from services.domain.instrument import Instrument
from services.domain.risk.limits import LimitChange
from services.domain.tape import Tape
from services.wire.costs import change_from_proto
from services.wire.instruments import instrument_from_proto
from services.wire.market import read_tape
from services.wire.pages import pages

# A timer's cancels come from outside as well, and are not given again.
_ON_REQUEST = frozenset({order_pb2.CANCEL_REASON_REQUESTED, order_pb2.CANCEL_REASON_CANCEL_TIMER})


class Account(NamedTuple):
    """One portfolio's part of a replay.

    Attributes:
        deposit: what it was opened with.
        opening_sequence: the tape position of that.
        by_hand: how many of its orders no deployment decided.
        stopped: how many a kill switch refused or canceled.
        canceled: client order ids of those of deployments that were canceled on request, or by a timer.
    """

    portfolio: Portfolio
    history: History
    deposit: Decimal
    opening_sequence: int
    by_hand: int = 0
    stopped: int = 0
    canceled: frozenset[str] = frozenset()


class Archive:
    """The past of replays. Everything is read up to a tape position, so that a replay may go on meanwhile."""

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self._tapes = TapeServiceStub(channels["marketdata"])
        self._instruments = InstrumentServiceStub(channels["marketdata"])
        self._orders = OrderServiceStub(channels["order"])
        self._models = VenueModelServiceStub(channels["order"])
        self._portfolios = PortfolioServiceStub(channels["portfolio"])
        self._risk = RiskServiceStub(channels["risk"])

    async def tape(self, replay: Replay) -> Tape:
        """Its whole tape."""
        return await read_tape(self._tapes, replay.environment_id, replay.end_sequence)

    async def instruments(self, replay: Replay) -> dict[str, Instrument]:
        """What is traded in it."""
        request = instrument_service_pb2.ListInstrumentsRequest()
        messages = await pages(self._instruments.ListInstruments, request, "instruments")
        return {each.symbol: instrument_from_proto(each) for each in messages if each.symbol in replay.symbols}

    async def account(self, replay: Replay, portfolio: Portfolio) -> Account:
        """A portfolio's fills, refusals and ledger, up to where `replay` stands."""
        through, ids = replay.tape_sequence, (replay.environment_id, portfolio.portfolio_id)
        orders, executions = await self._orders_of(*ids), await self._executions_of(*ids)
        entries = [each for each in await self._entries_of(portfolio.portfolio_id) if each.tape_sequence <= through]
        refused = [each for each in orders if each.state == order_pb2.ORDER_STATE_REJECTED]
        refused = sorted(
            (each for each in refused if each.basis_sequence <= through), key=lambda each: each.last_event_sequence
        )
        history = History(
            portfolio.label,
            [fill_line(each) for each in executions if each.tape_sequence <= through],
            [refusal_line(each) for each in refused],
            [entry_line(each, number) for number, each in enumerate(entries, 1)],
        )
        opening = next(each for each in entries if each.account == portfolio_pb2.LEDGER_ACCOUNT_CASH)
        return Account(
            portfolio=portfolio,
            history=history,
            deposit=Decimal(opening.amount),
            opening_sequence=opening.tape_sequence,
            by_hand=sum(not each.deployment_id for each in orders),
            stopped=sum(map(_stopped, orders)),
            canceled=frozenset(
                each.client_order_id for each in orders if each.deployment_id and each.cancel_reason in _ON_REQUEST
            ),
        )

    async def models(self, replay: Replay) -> list[ModelChange]:
        """What trading cost in it, as it was set."""
        request = venue_model_service_pb2.ListVenueModelsRequest(
            environment_id=replay.environment_id, all_versions=True
        )
        return list(map(change_from_proto, await pages(self._models.ListVenueModels, request, "venue_models")))

    async def limits(self, replay: Replay) -> list[LimitChange]:
        """Its limits, as they were set and deleted."""
        request = risk_service_pb2.ListLimitChangesRequest(environment_id=replay.environment_id)
        return list(limit_changes(await pages(self._risk.ListLimitChanges, request, "limit_changes")))

    async def everywhere(self, replay: Replay) -> list[str]:
        """Kill switches that are engaged, in words."""
        of = replay.environment_id
        switches = risk_service_pb2.ListKillSwitchesRequest(environment_id=of)
        engaged = await pages(self._risk.ListKillSwitches, switches, "kill_switches")
        return [f"a kill switch is engaged for {each.target_id or of}" for each in engaged]

    async def _orders_of(self, environment_id: str, portfolio_id: str) -> list[order_pb2.Order]:
        request = order_service_pb2.ListOrdersRequest(environment_id=environment_id, portfolio_id=portfolio_id)
        return await pages(self._orders.ListOrders, request, "orders")

    async def _executions_of(self, environment_id: str, portfolio_id: str) -> Sequence[order_pb2.Execution]:
        request = order_service_pb2.ListExecutionsRequest(environment_id=environment_id, portfolio_id=portfolio_id)
        return await pages(self._orders.ListExecutions, request, "executions")

    async def _entries_of(self, portfolio_id: str) -> Sequence[portfolio_pb2.LedgerEntry]:
        request = portfolio_service_pb2.ListLedgerEntriesRequest(portfolio_id=portfolio_id)
        return await pages(self._portfolios.ListLedgerEntries, request, "ledger_entries")


def _stopped(order: order_pb2.Order) -> bool:
    by_switch = order.cancel_reason == order_pb2.CANCEL_REASON_KILL_SWITCH
    return by_switch or order.refusal.reason == "KILL_SWITCH_ENGAGED"
