"""What the services answer as the console's own values, and its digests' lines: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from tickmesh.common.v1 import side_pb2
from tickmesh.marketdata.v1 import environment_pb2, market_data_service_pb2
from tickmesh.order.v1 import order_pb2
from tickmesh.order.v1.venue_model_service_pb2 import SetVenueModelRequest
from tickmesh.portfolio.v1 import portfolio_pb2
from tickmesh.risk.v1 import risk_pb2
from tickmesh.risk.v1.risk_service_pb2 import SetLimitRequest
from tickmesh.strategy.v1 import strategy_pb2

from services.chassis.calls.validation import validate
from services.console.records import Deployment, Fill, MarketNews, OrderNews, Portfolio, Replay, SignalNews, Strategy
from services.domain.backtest.digest import EntryLine, FillLine, RefusalLine
from services.domain.costs import ModelChange, Scope
from services.domain.risk.limit import Where
from services.domain.risk.limits import LimitChange, make_limit
from services.order.model_mapping import asked_model
from services.wire.limits import LIMIT_NAMES
from services.wire.values import name_of, nanoseconds


def model_changes(models: Iterable[Any]) -> Iterator[ModelChange]:
    """Venue models as `SetVenueModel` takes them in JSON, set before the first order.

    Raises:
        ValueError: one is not of that form, or two are for one scope: the second would replace the first.
        ApiError: one breaks a rule of the contract.
    """
    scopes = set[Scope]()
    for each in models:
        try:
            request = ParseDict(each, SetVenueModelRequest())
        except (ParseError, AttributeError) as error:
            raise ValueError(str(error)) from None
        validate(request)
        scope = Scope(request.portfolio_id, request.symbol)
        if scope in scopes:
            raise ValueError(f"two are for {_said(scope._asdict())}")
        scopes.add(scope)
        yield ModelChange(0, scope, asked_model(request))


def limits_asked(limits: Iterable[Any]) -> Iterator[LimitChange]:
    """Limits as `SetLimit` takes them in JSON, set before the first order.

    Raises:
        ValueError: one is not of that form, cannot be set, or is a second one for what it names, which would replace
            the first.
        ApiError: one breaks a rule of the contract.
    """
    known = set[tuple[str, Where]]()
    for each in limits:
        try:
            request = ParseDict({"environment_id": "backtest"} | each, SetLimitRequest())
        except (ParseError, AttributeError) as error:
            raise ValueError(str(error)) from None
        validate(request)
        name, where = LIMIT_NAMES[request.limit_type], Where(request.portfolio_id, request.strategy_id, request.symbol)
        if (name, where) in known:
            raise ValueError(f"two {name} are for {_said(where._asdict())}")
        known.add((name, where))
        yield LimitChange(0, make_limit(name, Decimal(request.bound), *where))


def limit_changes(changes: Iterable[risk_pb2.LimitChange]) -> Iterator[LimitChange]:
    """Changes of limits, each for the orders after the last one that was checked before it; guards decide nothing."""
    for each in changes:
        limit, after = each.limit, each.after_order_id.rpartition("-")[2]
        if limit.limit_type == risk_pb2.LIMIT_TYPE_RUNAWAY_GUARD:
            continue
        where = (limit.portfolio_id, limit.strategy_id, limit.symbol)
        made = make_limit(LIMIT_NAMES[limit.limit_type], Decimal(limit.bound), *where, stored=True)
        yield LimitChange(int(after or 0), made, each.deleted)


def replay_from_proto(message: environment_pb2.Environment) -> Replay:
    """An environment."""
    return Replay(
        environment_id=message.environment_id,
        display_name=message.display_name,
        state=name_of(environment_pb2.EnvironmentState, "ENVIRONMENT_STATE_", message.state),
        blocked_on=tuple(message.blocked_on),
        data_set_id=message.data_set_id,
        symbols=tuple(message.symbols),
        start_sequence=message.start_sequence,
        end_sequence=message.end_sequence,
        tape_sequence=message.tape_sequence,
        market_time=nanoseconds(message.market_time),
        cycle=message.cycle,
    )


def deployment_from_proto(message: strategy_pb2.Deployment) -> Deployment:
    """A deployment."""
    return Deployment(
        deployment_id=message.deployment_id,
        strategy_id=message.strategy_id,
        portfolio_id=message.portfolio_id,
        number=message.deployment_number,
        state=name_of(strategy_pb2.DeploymentState, "DEPLOYMENT_STATE_", message.state),
        error=message.error,
        start_sequence=message.start_sequence,
        tape_sequence=message.tape_sequence,
    )


def strategy_from_proto(message: strategy_pb2.Strategy) -> Strategy:
    """A strategy."""
    return Strategy(message.strategy_id, message.kind, dict(message.parameters), tuple(message.symbols))


def portfolio_from_proto(message: portfolio_pb2.Portfolio, positions: dict[str, Decimal]) -> Portfolio:
    """A portfolio, with the positions that it is known to hold."""
    currency = message.base_currency_code
    cash = sum((Decimal(each.amount) for each in message.cash if each.currency_code == currency), Decimal(0))
    return Portfolio(
        portfolio_id=message.portfolio_id,
        label=message.display_name,
        currency_code=currency,
        cash=cash,
        equity=Decimal(message.equity.amount or 0),
        positions={symbol: units for symbol, units in sorted(positions.items()) if units},
    )


def order_news_from_proto(event: order_pb2.OrderEvent) -> OrderNews:
    """An order event."""
    fill, order = None, event.order
    if event.exec_type == order_pb2.EXEC_TYPE_TRADE:
        fill = Fill(
            portfolio_id=order.portfolio_id,
            symbol=order.symbol,
            side=side_name(order.side),
            quantity=Decimal(event.last_quantity),
            price=Decimal(event.last_price),
            transact_time=nanoseconds(event.transact_time),
        )
    exec_type = name_of(order_pb2.ExecType, "EXEC_TYPE_", event.exec_type)
    return OrderNews(event.sequence, exec_type, nanoseconds(event.create_time), fill)


def signal_news_from_proto(signal: strategy_pb2.Signal) -> SignalNews:
    """A signal."""
    return SignalNews(signal.sequence, signal.deployment_id, signal.symbol, side_name(signal.side))


def market_news_from_proto(
    message: market_data_service_pb2.StreamMarketDataResponse, symbols: list[str]
) -> MarketNews | None:
    """A message of columns; None for one that brings none. `symbols` is the table that a snapshot sent."""
    match message.WhichOneof("event"):
        case "snapshot":
            prices = {each.symbol: float(each.last_price) for each in message.snapshot.quotes if each.last_price}
            return MarketNews(0, prices)
        case "columns":
            columns = message.columns
            bars, trades, quotes = columns.bars, columns.trades, columns.quotes
            prices = {symbols[symbol]: price for symbol, price in zip(quotes.symbols, quotes.bid_prices, strict=True)}
            prices |= {symbols[symbol]: price for symbol, price in zip(trades.symbols, trades.prices, strict=True)}
            prices |= {symbols[symbol]: price for symbol, price in zip(bars.symbols, bars.closes, strict=True)}
            return MarketNews(len(bars.symbols) + len(trades.symbols) + len(quotes.symbols), prices)
        case _:
            return None


def fill_line(execution: order_pb2.Execution) -> FillLine:
    """A fill as a digest counts it."""
    return FillLine(
        tape_sequence=execution.tape_sequence,
        client_order_id=execution.client_order_id,
        symbol=execution.symbol,
        side=side_name(execution.side),
        quantity=Decimal(execution.quantity),
        price=Decimal(execution.price),
        transact_time=nanoseconds(execution.transact_time),
    )


def refusal_line(order: order_pb2.Order) -> RefusalLine:
    """A refused order as a digest counts it."""
    refusal = order.refusal
    bounds = (Decimal(refusal.bound or 0), Decimal(refusal.value or 0))
    return RefusalLine(order.client_order_id, refusal.reason, refusal.limit, *bounds)


def entry_line(entry: portfolio_pb2.LedgerEntry, number: int) -> EntryLine:
    """A ledger entry as a digest counts it; `number` counts its portfolio's from 1."""
    return EntryLine(
        sequence=number,
        kind=name_of(portfolio_pb2.LedgerEntryKind, "LEDGER_ENTRY_KIND_", entry.kind),
        account=name_of(portfolio_pb2.LedgerAccount, "LEDGER_ACCOUNT_", entry.account),
        asset=entry.asset,
        amount=Decimal(entry.amount),
        time=nanoseconds(entry.event_time),
        tape_sequence=entry.tape_sequence,
    )


def _said(named: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in named.items() if value) or "all"


def side_name(side: side_pb2.Side.ValueType) -> str:
    """BUY or SELL."""
    return name_of(side_pb2.Side, "SIDE_", side)
