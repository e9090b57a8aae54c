"""The paper venue's book as clients see it: pure functions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

from tickmesh.marketdata.v1 import market_data_pb2
from tickmesh.order.v1 import order_book_pb2

from services.domain.instrument import Instrument
from services.domain.market import PriceLevel, Quote, sides_of
from services.domain.money import decimal_of
from services.domain.orders.order import Order
from services.domain.venue.telling.order_book import Level, OrderBook
from services.order.mapping import places_of
from services.wire.values import text, timestamp


class Scene(NamedTuple):
    """Where the venue stands as its book is shown.

    Attributes:
        sequence: the last order event that the book knows.
        event_time: market time, ns.
        references: what a buy and what a sale would be checked against; None before the first price.
        market: the last quote; None where there is none.
    """

    environment_id: str
    sequence: int
    tape_sequence: int
    event_time: int
    references: tuple[Decimal | None, Decimal | None]
    market: Quote | None


def book_to_proto(
    book: OrderBook, scene: Scene, instrument: Instrument, *, portfolio_id: str, depth: int
) -> order_book_pb2.OrderBook:
    """The book as one portfolio sees it, with its own orders marked."""
    units, price = places_of(instrument)
    buying, selling = ("" if each is None else text(each, price) for each in scene.references)
    bids, asks = ((), ()) if scene.market is None else sides_of(scene.market)
    return order_book_pb2.OrderBook(
        environment_id=scene.environment_id,
        symbol=instrument.symbol,
        sequence=scene.sequence,
        tape_sequence=scene.tape_sequence,
        event_time=timestamp(scene.event_time),
        buy_reference_price=buying,
        sell_reference_price=selling,
        bids=[_level(level, portfolio_id, units, price) for level in book.bids[:depth]],
        asks=[_level(level, portfolio_id, units, price) for level in book.asks[:depth]],
        waiting=[_entry(order, units, price) for order in book.waiting[:depth]],
        omitted_count=sum(max(0, len(each) - depth) for each in book),
        market_bids=[_shown(level, units, price) for level in bids[:depth]],
        market_asks=[_shown(level, units, price) for level in asks[:depth]],
    )


def _shown(level: PriceLevel, units: int, price: int) -> market_data_pb2.PriceLevel:
    # The tape's 0 is "unknown".
    size = text(decimal_of(level.size), units) if level.size else ""
    return market_data_pb2.PriceLevel(price=text(decimal_of(level.price), price), size=size)


def _level(level: Level, portfolio_id: str, units: int, price: int) -> order_book_pb2.OrderBookLevel:
    return order_book_pb2.OrderBookLevel(
        price=text(level.price, price),
        quantity=text(level.quantity, units),
        hidden_quantity=text(level.hidden_quantity(portfolio_id), units),
        order_count=len(level.orders),
        own_orders=[_entry(own, units, price, text(ahead, units)) for own, ahead in level.own(portfolio_id)],
    )


def _entry(order: Order, units: int, price: int, ahead: str = "") -> order_book_pb2.OrderBookEntry:
    # The domain's enums have the wire's numbers.
    kinds: Any = order
    return order_book_pb2.OrderBookEntry(
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        portfolio_id=order.portfolio_id,
        side=kinds.side,
        order_type=kinds.order_type,
        time_in_force=kinds.time_in_force,
        state=kinds.state,
        leaves_quantity=text(order.leaves_quantity, units),
        stop_price="" if order.stop_price is None else text(order.stop_price, price),
        quantity_ahead=ahead,
    )
