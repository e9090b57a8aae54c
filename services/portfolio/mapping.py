"""Between the contract and the domain, both ways; pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from tickmesh.common.v1.money_pb2 import Money
from tickmesh.order.v1 import order_pb2
from tickmesh.portfolio.v1 import portfolio_pb2, portfolio_service_pb2

from services.domain.accounting.books import EquityPoint
from services.domain.accounting.entries import Position
from services.domain.accounting.lots import Lot
from services.domain.money import format_decimal, parse_decimal
from services.portfolio.book import Book
from services.portfolio.records import Fill, Kept, Opening, Posted
from services.wire.ledger import ACCOUNT_NUMBERS, KIND_NUMBERS, KINDS
from services.wire.orders import event_from_proto
from services.wire.values import timestamp
from services.wire.versions import LEDGER_ENTRY

MONEY_PLACES = 2


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


def fills_from_proto(events: Iterable[order_pb2.OrderEvent]) -> list[Fill]:
    """The events that traded; no other moves the books."""
    return [_fill(event) for event in events if event.exec_type == order_pb2.EXEC_TYPE_TRADE]


def _fill(event: order_pb2.OrderEvent) -> Fill:
    return Fill(event.sequence, event_from_proto(event), event.traceparent, event.principal or event.order.owner)


def entry_bytes(posted: Posted) -> bytes:
    """An entry as everybody gets it, encoded once."""
    entry = posted.entry
    message = portfolio_pb2.LedgerEntry(
        sequence=posted.sequence,
        transaction_id=entry.transaction_id,
        portfolio_id=posted.portfolio_id,
        environment_id=posted.environment_id,
        kind=KIND_NUMBERS[entry.kind],
        account=ACCOUNT_NUMBERS[entry.account],
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
        version=LEDGER_ENTRY,
    )
    if posted.split is not None:
        message.split_numerator, message.split_denominator = map(format_decimal, posted.split)
    return message.SerializeToString()


def kind_names(kinds: Iterable[int]) -> frozenset[str]:
    """The domain's names of wire kinds."""
    return frozenset(KINDS[kind].value for kind in kinds)


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
