"""Between the contract and the domain, both ways; pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext
from typing import NamedTuple

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from tickmesh.common.v1.money_pb2 import Money
from tickmesh.marketdata.v1 import environment_pb2, instrument_pb2, tape_service_pb2
from tickmesh.order.v1 import order_pb2
from tickmesh.portfolio.v1 import portfolio_pb2, portfolio_service_pb2

from services.domain.books import EquityPoint
from services.domain.entries import Position
from services.domain.instrument import Instrument
from services.domain.ledger import EXACT
from services.domain.lots import Lot
from services.domain.money import format_decimal, parse_decimal
from services.domain.order import ExecType, Order, OrderEvent, OrderType, Side, TimeInForce
from services.domain.tape import VALUES, Kind, Source, Tape
from services.portfolio.book import Book
from services.portfolio.records import Fill, Kept, Opening, Posted

MONEY_PLACES = 2
_KINDS = {name.removeprefix("LEDGER_ENTRY_KIND_"): number for name, number in portfolio_pb2.LedgerEntryKind.items()}
_ACCOUNTS = {name.removeprefix("LEDGER_ACCOUNT_"): number for name, number in portfolio_pb2.LedgerAccount.items()}
_ENDED = (environment_pb2.ENVIRONMENT_STATE_COMPLETED, environment_pb2.ENVIRONMENT_STATE_STOPPED)


class Environment(NamedTuple):
    """What the books want to know of an environment."""

    environment_id: str
    start_sequence: int
    end_sequence: int
    tape_sequence: int
    symbols: tuple[str, ...]
    ended: bool


def timestamp(nanoseconds: int) -> Timestamp:
    """A time of the wire."""
    seconds, nanos = divmod(nanoseconds, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)


def now() -> Timestamp:
    """Wall time as the wire carries it."""
    return timestamp(time.time_ns())


def nanoseconds(of: Timestamp) -> int:
    """A time of the domain."""
    return of.seconds * 1_000_000_000 + of.nanos


def opening_from_proto(request: portfolio_service_pb2.CreatePortfolioRequest, principal: str) -> Opening:
    """What is asked for; an id that is left to the service is empty."""
    return Opening(
        portfolio_id=request.portfolio_id,
        environment_id=request.environment_id,
        display_name=request.display_name,
        currency_code=request.initial_cash.currency_code,
        initial_cash=parse_decimal(request.initial_cash.amount),
        request_id=request.request_id,
        principal=principal,
    )


def environment_from_proto(environment: environment_pb2.Environment) -> Environment:
    """An environment as the books know it."""
    return Environment(
        environment.environment_id,
        environment.start_sequence,
        environment.end_sequence,
        environment.tape_sequence,
        tuple(environment.symbols),
        environment.state in _ENDED,
    )


def instrument_from_proto(instrument: instrument_pb2.Instrument) -> Instrument:
    """What the ledger needs of an instrument, and its increments."""
    return Instrument(
        symbol=instrument.symbol,
        name=instrument.display_name,
        currency_code=instrument.currency_code,
        calendar=instrument.calendar,
        price_increment=parse_decimal(instrument.price_increment),
        quantity_increment=parse_decimal(instrument.quantity_increment),
        lot_size=parse_decimal(instrument.lot_size or "1"),
        contract_multiplier=parse_decimal(instrument.contract_multiplier or "1"),
    )


def stretch_from_proto(part: tape_service_pb2.ReadTapeResponse) -> Tape:
    """The records of one message; only the first one's has sources."""
    return Tape(
        tuple(Source(Kind(each.kind), each.symbol, each.interval) for each in part.sources),
        np.array(part.source, np.int32),
        np.array(part.time, np.int64),
        np.array(part.start, np.int64),
        np.array(part.values, np.float64).reshape(-1, VALUES),
    )


def join_stretches(parts: Sequence[Tape]) -> Tape:
    """One tape of all its stretches; at least one."""
    return Tape(
        parts[0].sources,
        np.concatenate([part.source for part in parts]),
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.start for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def fills_from_proto(events: Iterable[order_pb2.OrderEvent]) -> list[Fill]:
    """The events that traded; no other moves the books."""
    return [_fill(event) for event in events if event.exec_type == order_pb2.EXEC_TYPE_TRADE]


def _fill(event: order_pb2.OrderEvent) -> Fill:
    order = event.order
    made = OrderEvent(
        exec_id=event.exec_id,
        exec_type=ExecType.TRADE,
        order=Order(
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            portfolio_id=order.portfolio_id,
            symbol=order.symbol,
            side=Side(order.side),
            order_type=OrderType(order.order_type),
            time_in_force=TimeInForce(order.time_in_force),
        ),
        transact_time=nanoseconds(event.transact_time),
        tape_sequence=event.tape_sequence,
        last_quantity=parse_decimal(event.last_quantity),
        last_price=parse_decimal(event.last_price),
        # A commission is exact, so it may have more places than a price.
        last_commission=Decimal(event.last_commission or "0"),
    )
    return Fill(event.sequence, made, event.traceparent, event.principal or order.owner)


def entry_bytes(posted: Posted) -> bytes:
    """An entry as everybody gets it, encoded once."""
    entry = posted.entry
    message = portfolio_pb2.LedgerEntry(
        sequence=posted.sequence,
        transaction_id=entry.transaction_id,
        portfolio_id=posted.portfolio_id,
        environment_id=posted.environment_id,
        kind=_KINDS[entry.kind.value],
        account=_ACCOUNTS[entry.account.value],
        asset=entry.asset,
        amount=format_decimal(entry.amount),
        balance=format_decimal(posted.balance),
        order_id=entry.order_id,
        exec_id=entry.exec_id,
        event_time=timestamp(entry.time),
        tape_sequence=entry.tape_sequence,
        create_time=timestamp(posted.create_time),
        traceparent=posted.traceparent,
        principal=posted.principal,
    )
    if posted.split is not None:
        message.split_numerator, message.split_denominator = map(format_decimal, posted.split)
    return message.SerializeToString()


def kind_names(kinds: Iterable[int]) -> frozenset[str]:
    """The domain's names of wire kinds."""
    wanted = set(kinds)
    return frozenset(name for name, number in _KINDS.items() if number in wanted)


def portfolio_to_proto(book: Book, kept: Kept) -> portfolio_pb2.Portfolio:
    """A portfolio at the books' marks."""
    portfolio, ledger, cursor, marks = kept.portfolio, kept.ledger, book.cursor, book.marks()

    def money(amount: Decimal) -> Money:
        return Money(currency_code=portfolio.currency_code, amount=format_decimal(amount, MONEY_PLACES))

    return portfolio_pb2.Portfolio(
        portfolio_id=portfolio.portfolio_id,
        environment_id=portfolio.environment_id,
        display_name=portfolio.display_name,
        base_currency_code=portfolio.currency_code,
        cash=[money(ledger.cash)],
        equity=money(ledger.equity(marks)),
        realized_pnl=money(ledger.realized_pnl),
        unrealized_pnl=money(ledger.unrealized_pnl(marks)),
        commission=money(ledger.commission),
        market_time=timestamp(cursor.market_time),
        tape_sequence=cursor.tape_sequence,
        order_sequence=cursor.order_sequence,
        ledger_sequence=kept.ledger_sequence,
        opening_ledger_sequence=portfolio.opening_ledger_sequence,
        create_time=timestamp(portfolio.create_time),
        principal=portfolio.principal,
        owner=portfolio.owner,
    )


def position_to_proto(book: Book, kept: Kept, position: Position) -> portfolio_pb2.Position:
    """A position at the books' marks; without a mark it is worth its last fill's price, as in the equity."""
    portfolio, mark = kept.portfolio, book.marks().get(position.symbol)
    digits = MONEY_PLACES if mark is None else _digits(mark)

    def money(amount: Decimal) -> Money:
        return Money(currency_code=portfolio.currency_code, amount=format_decimal(amount, MONEY_PLACES))

    with localcontext(EXACT):
        price = position.last_price if mark is None else mark
        return portfolio_pb2.Position(
            position_id=f"{portfolio.portfolio_id}~{position.symbol}",
            portfolio_id=portfolio.portfolio_id,
            symbol=position.symbol,
            quantity=format_decimal(position.quantity),
            avg_price=format_decimal(position.avg_price, digits),
            mark_price="" if mark is None else format_decimal(mark, digits),
            market_value=money(position.market_value(price)),
            realized_pnl=money(position.realized_pnl),
            unrealized_pnl=money(position.unrealized_pnl(price)),
        )


def positions_to_proto(book: Book, kept: Kept, symbols: Iterable[str]) -> list[portfolio_pb2.Position]:
    """Positions of these symbols, in their order."""
    positions = kept.ledger.positions
    return [position_to_proto(book, kept, positions[symbol]) for symbol in symbols if symbol in positions]


def lot_to_proto(book: Book, kept: Kept, lot: Lot) -> portfolio_pb2.Lot:
    """An open lot; it is known by the execution that opened it."""
    mark = book.marks().get(lot.symbol)
    with localcontext(EXACT):
        return portfolio_pb2.Lot(
            lot_id=lot.open_exec_id,
            portfolio_id=kept.portfolio.portfolio_id,
            symbol=lot.symbol,
            quantity=format_decimal(lot.quantity),
            open_price=format_decimal(lot.open_price, MONEY_PLACES if mark is None else _digits(mark)),
            open_time=timestamp(lot.open_time),
        )


def point_to_proto(point: EquityPoint) -> portfolio_pb2.EquityPoint:
    """What a portfolio was worth."""
    return portfolio_pb2.EquityPoint(
        portfolio_id=point.portfolio_id,
        event_time=timestamp(point.time),
        tape_sequence=point.tape_sequence,
        equity=format_decimal(point.equity, MONEY_PLACES),
        cash=format_decimal(point.cash, MONEY_PLACES),
    )


def _digits(mark: Decimal) -> int:
    """The places of a symbol's prices: those that the book gave its mark."""
    exponent = mark.as_tuple().exponent
    return min(9, max(0, -exponent)) if isinstance(exponent, int) else MONEY_PLACES
