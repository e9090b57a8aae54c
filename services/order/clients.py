"""What the desk asks of other services, and the messages it exchanges with risk's gate and the coordinator."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tickmesh.marketdata.v1 import (
    environment_pb2,
    environment_service_pb2,
    instrument_pb2,
    instrument_service_pb2,
    replay_service_pb2,
    tape_service_pb2,
)
from tickmesh.marketdata.v1.environment_service_pb2_grpc import EnvironmentServiceStub
from tickmesh.marketdata.v1.instrument_service_pb2_grpc import InstrumentServiceStub
from tickmesh.marketdata.v1.tape_service_pb2_grpc import TapeServiceStub
from tickmesh.portfolio.v1 import portfolio_service_pb2
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub
from tickmesh.risk.v1 import risk_gate_service_pb2, risk_pb2

from services.chassis.deadline import detach
from services.chassis.errors import ApiError
from services.domain.gate import Verdict
from services.domain.instrument import Instrument
from services.domain.limits import KillScope
from services.domain.money import ZERO
from services.domain.order import Order, Reservation
from services.domain.tape import VALUES, Kind, Source, Tape
from services.order.mapping import asked_to_proto, refusal_from_proto, text, timestamp
from services.order.store import PortfolioRow, Store
from services.order.ticket import Provenance

_ENDED = frozenset({environment_pb2.ENVIRONMENT_STATE_COMPLETED, environment_pb2.ENVIRONMENT_STATE_STOPPED})
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment as marketdata tells of it."""

    environment_id: str
    owner: str
    symbols: tuple[str, ...]
    start_sequence: int
    volume_share: float
    fill_on_touch: bool
    ended: bool
    blocked_on: tuple[str, ...]


class Grant(NamedTuple):
    """The venue may run up to `through`; `final` says that the tape ends there."""

    environment_id: str
    cycle: int
    through: int
    final: bool


class Idle(NamedTuple):
    """Time stands still at `tape_sequence`; `blocked` where it does because somebody is missing."""

    environment_id: str
    tape_sequence: int
    blocked: bool


class Check(NamedTuple):
    """One order to check, with what risk must know before."""

    order: Order
    provenance: Provenance
    instrument: Instrument
    reference_price: Decimal
    ledger_sequence: int
    traceparent: str


class Kill(NamedTuple):
    """A kill switch as risk tells of it."""

    scope: KillScope
    engaged: bool
    allow_reducing: bool
    principal: str


class Ready(NamedTuple):
    """Risk answers from here on; these switches are engaged."""

    kills: tuple[Kill, ...]


class Verdicts(NamedTuple):
    """Risk's answer to a batch."""

    batch_id: int
    verdicts: tuple[Verdict, ...]


class Peers:
    """Reads from marketdata and portfolio. What cannot change is kept: portfolios' environments, and instruments."""

    def __init__(
        self,
        store: Store,
        instruments: InstrumentServiceStub,
        environments: EnvironmentServiceStub,
        tapes: TapeServiceStub,
        portfolios: PortfolioServiceStub,
    ) -> None:
        self._store = store
        self._instruments = instruments
        self._environments = environments
        self._tapes = tapes
        self._portfolios = portfolios
        self._known: dict[str, PortfolioRow] = {}
        self._asking: dict[str, asyncio.Task[PortfolioRow]] = {}
        self.instruments: dict[str, Instrument] = {}

    async def recover(self) -> None:
        """Takes the instruments of the store back."""
        for payload in (await self._store.instruments()).values():
            self._keep(instrument_pb2.Instrument.FromString(payload))

    async def portfolio(self, portfolio_id: str) -> PortfolioRow:
        """A portfolio's environment, owner and opening.

        Raises:
            ApiError: NOT_FOUND `PORTFOLIO_NOT_FOUND`; UNAVAILABLE while it must be asked for and cannot be.
        """
        known = self._known.get(portfolio_id)
        if known is not None:
            return known
        # A flood of orders for a portfolio that was not seen yet asks once.
        asking = self._asking.get(portfolio_id)
        if asking is None:
            asking = self._asking[portfolio_id] = detach(self._find_portfolio(portfolio_id))
            asking.add_done_callback(lambda _: self._asking.pop(portfolio_id))
        return await asyncio.shield(asking)

    async def _find_portfolio(self, portfolio_id: str) -> PortfolioRow:
        known = await self._store.portfolio(portfolio_id)
        if known is None:
            request = portfolio_service_pb2.GetPortfolioRequest(portfolio_id=portfolio_id)
            found = await self._portfolios.GetPortfolio(request)
            opening = found.opening_ledger_sequence
            known = PortfolioRow(portfolio_id, found.environment_id, opening, ZERO, found.principal, found.owner)
        self._known[portfolio_id] = known
        return known

    async def held(self, portfolio_id: str) -> dict[str, Decimal]:
        """Signed units that a portfolio holds, by symbol."""
        held: dict[str, Decimal] = {}
        request = portfolio_service_pb2.ListPositionsRequest(portfolio_id=portfolio_id, page_size=_PAGE)
        while True:
            page = await self._portfolios.ListPositions(request, timeout=1.0)
            held |= {position.symbol: Decimal(position.quantity) for position in page.positions}
            if not page.next_page_token:
                return held
            request.page_token = page.next_page_token

    async def instrument(self, symbol: str) -> Instrument:
        """An instrument.

        Raises:
            ApiError: NOT_FOUND `INSTRUMENT_NOT_FOUND`; UNAVAILABLE.
        """
        if symbol not in self.instruments:
            await self.fetch_instruments([symbol])
        return self.instruments[symbol]

    async def fetch_instruments(self, symbols: Iterable[str]) -> None:
        """Asks for those that are not known yet, and stores them."""
        found: dict[str, bytes] = {}
        for symbol in symbols:
            if symbol not in self.instruments:
                request = instrument_service_pb2.GetInstrumentRequest(symbol=symbol)
                message = await self._instruments.GetInstrument(request)
                found[symbol] = message.SerializeToString()
        if found:
            await self._store.put_instruments(found)
            for payload in found.values():
                self._keep(instrument_pb2.Instrument.FromString(payload))

    async def environment(self, environment_id: str) -> Environment:
        """An environment.

        Raises:
            ApiError: NOT_FOUND `ENVIRONMENT_NOT_FOUND`; UNAVAILABLE.
        """
        request = environment_service_pb2.GetEnvironmentRequest(environment_id=environment_id)
        return environment_from_proto(await self._environments.GetEnvironment(request))

    async def tape(self, environment_id: str) -> Tape:
        """The whole tape of an environment."""
        sources: tuple[Source, ...] = ()
        parts: list[tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
        request = tape_service_pb2.ReadTapeRequest(environment_id=environment_id)
        async for part in self._tapes.ReadTape(request):
            if part.sources:
                sources = tuple(Source(Kind(each.kind), each.symbol, each.interval) for each in part.sources)
            times = np.array(part.time, np.int64), np.array(part.start, np.int64)
            parts.append((np.array(part.source, np.int32), *times, np.array(part.values, np.float64)))
        if not parts:
            raise ApiError.unavailable("SERVICE_UNAVAILABLE", f"The tape of {environment_id} could not be read.")
        source, time, start, values = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Tape(sources, source, time, start, values.reshape(-1, VALUES))

    def _keep(self, message: instrument_pb2.Instrument) -> None:
        self.instruments[message.symbol] = Instrument(
            symbol=message.symbol,
            name=message.display_name,
            currency_code=message.currency_code,
            calendar=message.calendar,
            price_increment=Decimal(message.price_increment),
            quantity_increment=Decimal(message.quantity_increment),
            lot_size=Decimal(message.lot_size or 1),
            contract_multiplier=Decimal(message.contract_multiplier or 1),
        )


def environment_from_proto(environment: environment_pb2.Environment) -> Environment:
    """An environment as marketdata tells of it."""
    return Environment(
        environment_id=environment.environment_id,
        owner=environment.owner,
        symbols=tuple(environment.symbols),
        start_sequence=environment.start_sequence,
        volume_share=environment.volume_share,
        fill_on_touch=environment.fill_on_touch,
        ended=environment.state in _ENDED,
        blocked_on=tuple(environment.blocked_on),
    )


def hello() -> replay_service_pb2.JoinReplayRequest:
    """Says that we are the venue."""
    role = replay_service_pb2.PARTICIPANT_ROLE_VENUE
    return replay_service_pb2.JoinReplayRequest(hello=replay_service_pb2.Hello(role=role, participant="order"))


def join(environment_id: str, tape_sequence: int, cycle: int) -> replay_service_pb2.JoinReplayRequest:
    """Says that the venue of an environment is recovered, and where it stands."""
    message = replay_service_pb2.Join(environment_id=environment_id, tape_sequence=tape_sequence, cycle=cycle)
    return replay_service_pb2.JoinReplayRequest(join=message)


def reached(
    environment_id: str, cycle: int, tape_sequence: int, order_head: int
) -> replay_service_pb2.JoinReplayRequest:
    """Answers a grant."""
    message = replay_service_pb2.Reached(
        environment_id=environment_id, cycle=cycle, tape_sequence=tape_sequence, order_head=order_head
    )
    return replay_service_pb2.JoinReplayRequest(reached=message)


def instruction_environment(message: replay_service_pb2.JoinReplayResponse) -> str:
    """Which environment a message of the coordinator is about."""
    which = message.WhichOneof("message")
    if which == "announced":
        return str(message.announced.environment.environment_id)
    return str(getattr(message, which).environment_id) if which else ""


def instruction(message: replay_service_pb2.JoinReplayResponse) -> Environment | Grant | Idle | None:
    """What the coordinator tells the venue; None for what is none of its business."""
    match message.WhichOneof("message"):
        case "announced":
            return environment_from_proto(message.announced.environment)
        case "grant":
            grant = message.grant
            return Grant(grant.environment_id, grant.cycle, grant.through, grant.final)
        case "idle":
            idle = message.idle
            return Idle(
                idle.environment_id, idle.tape_sequence, idle.state == environment_pb2.ENVIRONMENT_STATE_BLOCKED
            )
        case _:
            return None


def connect(environment_id: str, epoch: int, order_head: int) -> risk_gate_service_pb2.CheckOrdersRequest:
    """The first message to risk's gate."""
    message = risk_gate_service_pb2.Connect(environment_id=environment_id, epoch=epoch, order_head=order_head)
    return risk_gate_service_pb2.CheckOrdersRequest(connect=message)


def check_batch(
    batch_id: int, order_head: int, tape_sequence: int, market_time: int, checks: Sequence[Check]
) -> risk_gate_service_pb2.CheckOrdersRequest:
    """Orders for risk's gate."""
    batch = risk_gate_service_pb2.CheckBatch(
        batch_id=batch_id,
        order_head=order_head,
        tape_sequence=tape_sequence,
        market_time=timestamp(market_time),
        checks=[
            risk_gate_service_pb2.OrderCheck(
                order=asked_to_proto(check.order, check.provenance, check.instrument),
                reference_price=text(check.reference_price),
                ledger_sequence=check.ledger_sequence,
                traceparent=check.traceparent,
            )
            for check in checks
        ],
    )
    return risk_gate_service_pb2.CheckOrdersRequest(batch=batch)


def gate_answer(message: risk_gate_service_pb2.CheckOrdersResponse) -> Ready | Verdicts | Kill | None:
    """What risk's gate says."""
    match message.WhichOneof("message"):
        case "ready":
            return Ready(tuple(_kill(each) for each in message.ready.kill_switches))
        case "verdicts":
            return Verdicts(message.verdicts.batch_id, tuple(map(_verdict, message.verdicts.verdicts)))
        case "kill_switch":
            return _kill(message.kill_switch)
        case _:
            return None


def _kill(switch: risk_pb2.KillSwitch) -> Kill:
    portfolio_id = switch.target_id if switch.scope == risk_pb2.KILL_SWITCH_SCOPE_PORTFOLIO else ""
    strategy_id = switch.target_id if switch.scope == risk_pb2.KILL_SWITCH_SCOPE_STRATEGY else ""
    return Kill(KillScope(portfolio_id, strategy_id), switch.engaged, switch.allow_reducing, switch.principal)


def _verdict(verdict: risk_gate_service_pb2.Verdict) -> Verdict:
    if verdict.WhichOneof("outcome") == "refusal":
        return Verdict(verdict.order_id, refusal=refusal_from_proto(verdict.refusal))
    reserved = verdict.reservation
    cash, quantity, headroom = (Decimal(each) for each in (reserved.cash, reserved.quantity, reserved.headroom))
    return Verdict(verdict.order_id, Reservation(cash, quantity, headroom))
