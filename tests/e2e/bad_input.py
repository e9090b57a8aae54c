"""What clients get wrong, and what they are told: a table over every public method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from tests.e2e.world import DEPLOYMENT, FLAT, MAIN, PORTFOLIO, REQUEST_ID, STRATEGY, order, portfolio, replay

LONG = "x" * 10_000
NUL = "a\0b"
Outcome = tuple[str, str]
INVALID: Outcome = ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
BAD_PAGE: Outcome = ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")
BAD_TOKEN: Outcome = ("INVALID_ARGUMENT", "RESUME_TOKEN_INVALID")
WRONG_TOKEN: Outcome = ("INVALID_ARGUMENT", "RESUME_TOKEN_FILTER_MISMATCH")
NO_METHOD: Outcome = ("NOT_FOUND", "METHOD_NOT_FOUND")
ENVIRONMENT_NOT_FOUND: Outcome = ("NOT_FOUND", "ENVIRONMENT_NOT_FOUND")
ENVIRONMENT_COMPLETED: Outcome = ("FAILED_PRECONDITION", "ENVIRONMENT_COMPLETED")
PORTFOLIO_NOT_FOUND: Outcome = ("NOT_FOUND", "PORTFOLIO_NOT_FOUND")
ALREADY_EXISTS: Outcome = ("ALREADY_EXISTS", "ALREADY_EXISTS")
REQUEST_ID_REUSED: Outcome = ("ALREADY_EXISTS", "REQUEST_ID_REUSED")

IDS = (LONG, "x" * 201, "a:b", "a b", "ä", NUL)
SYMBOLS = (LONG, "A" * 33, "A:B", "aapl", ".A", "A B", NUL)
DECIMALS = ("-1", "1e5", "NaN", "Infinity", ".5", "1.", "1" * 19, "0.0000000001", "+1", "01", " 1", "1,5", "0x1", "١")
DATES = ("2013-02-30", "2013-1-1", "yesterday", "", "2013-01-01T00:00:00Z")
INTERVALS = ("1x", "0d", "d", "10000d", "1 d", LONG)
TEXTS = ("x" * 201, NUL)
FRACTIONS = (-0.1, "NaN", "Infinity", "-Infinity", 1e300)
# By a field's name, whatever message it is in: names mean one thing in this contract.
BY_NAME: dict[str, tuple[Any, ...]] = {
    "after_sequence": (-1,),
    "amount": ("0", *DECIMALS),
    "basis_points": DECIMALS,
    "basis_sequence": (-1,),
    "bound": DECIMALS,
    "calendar": ("", LONG),
    "cash_quantity": ("0", *DECIMALS),
    "contract_multiplier": ("0", *DECIMALS),
    "currency_code": ("", "usd", "US", "DOLLAR", LONG),
    "depth": (-1, 5000, 2**31 - 1),
    "display_name": (*TEXTS, "a\nb", "a\tb", "a\x7fb", "a\x9bb", "a\u2028b"),
    "display_quantity": ("0", *DECIMALS),
    "end_date": DATES,
    "fixed": ("-1s", "86401s"),
    "impact": DECIMALS,
    "interval": INTERVALS,
    "jitter": ("-1s", "86401s"),
    "kind": IDS,
    "label": TEXTS,
    "limit_price": ("0", *DECIMALS),
    "lot_size": ("0", *DECIMALS),
    "max_delay": ("-1s", "11s"),
    "maximum": DECIMALS,
    "maximum_basis_points": ("0", *DECIMALS),
    "minimum": DECIMALS,
    "multiple": (0, *FRACTIONS),
    "page_size": (-1, 5000, 2**31 - 1),
    "per_order": DECIMALS,
    "per_unit": DECIMALS,
    "position_id": ("x", "trend~aapl", "a b~AAPL", "a:b~AAPL", "~AAPL", "trend~", f"{LONG}~AAPL", f"trend~{NUL}"),
    "price_increment": ("0", *DECIMALS),
    "quantity": ("0", *DECIMALS),
    "quantity_increment": ("0", *DECIMALS),
    "reason": TEXTS,
    "request_id": ("1", "not-a-uuid", REQUEST_ID + "0", LONG),
    "sessions_per_second": (0, *FRACTIONS),
    "spread_share": DECIMALS,
    "start_date": DATES,
    "stop_price": ("0", *DECIMALS),
    "symbol": SYMBOLS,
    "timeout": ("-1s", "0.5s", "86401s"),
    "trailing_amount": ("0", *DECIMALS),
    "trailing_percent": ("0", "100", "99.1234567890", *DECIMALS),
    "volume_share": ("1.1", *DECIMALS),
    "warm_up_sessions": (-1, 100_001),
}
BY_NAME_OF_REPEATED: dict[str, tuple[Any, ...]] = {
    "intervals": tuple([each] for each in INTERVALS),
    "symbols": tuple([each] for each in SYMBOLS),
}
DURATIONS = frozenset({"fixed", "jitter", "max_delay", "timeout"})
# Any value of these is right for itself.
FREE = frozenset({"seed", "parameters", "tiers"})


@dataclass(frozen=True)
class Row:
    """One wrong request; `change` is laid over a right one, None takes a field away."""

    change: Mapping[str, Any]
    outcome: Outcome = INVALID


def over(right: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A request with a change, which may name fields of fields as `pace.multiple`."""
    made = dict(right)
    for name, value in change.items():
        head, _, tail = name.partition(".")
        if tail:
            made[head] = over(made.get(head, {}), {tail: value})
        elif value is None:
            made.pop(head, None)
        else:
            made[head] = value
    return made


def wrong_fields(method: MethodDescriptor) -> Iterator[Row]:
    """Each field of a request missing where it is required, and each with all that is wrong for its kind."""
    yield from _wrong_fields(method.input_type)


def _wrong_fields(message: Descriptor, prefix: str = "") -> Iterator[Row]:
    for field in message.fields:
        name = prefix + field.name
        ours = field.message_type and field.message_type.file.package.startswith("tickmesh.")
        if ours and field.name not in FREE and not field.is_repeated:
            yield from _wrong_fields(field.message_type, f"{name}.")
        if field_behavior_pb2.REQUIRED in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]:
            yield Row({name: None})
        if field_behavior_pb2.OUTPUT_ONLY not in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]:
            oneof = field.containing_oneof
            others = {prefix + each.name: None for each in (oneof.fields if oneof else []) if each is not field}
            yield from (Row({**others, name: value}, outcome) for value, outcome in _wrong_values(field))


def _wrong_values(field: FieldDescriptor) -> list[tuple[Any, Outcome]]:
    if field.name in FREE or field.type == field.TYPE_BOOL or (field.message_type and field.name not in DURATIONS):
        return []
    if field.name == "page_token":
        return [("garbage", BAD_PAGE), ("AAAA", BAD_PAGE), ("ä", BAD_PAGE), (LONG, INVALID)]
    if field.name == "resume_token":
        return [("garbage", BAD_TOKEN), ("AAAA", BAD_TOKEN), ("ä", BAD_TOKEN), (LONG, INVALID)]
    if field.enum_type is not None:
        required = field_behavior_pb2.REQUIRED in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        wrong: tuple[Any, ...] = ([99], [0]) if field.is_repeated else (99, -1, *([0] if required else []))
    elif field.is_repeated:
        wrong = BY_NAME_OF_REPEATED[field.name]
    else:
        wrong = BY_NAME.get(field.name) or (IDS if field.name.endswith("_id") else BY_NAME[field.name])
    return [(value, INVALID) for value in wrong]


def wrong_types(method: MethodDescriptor) -> Iterator[Row]:
    """Each field with JSON of another type than its own."""
    for field in method.input_type.fields:
        for value in _wrong_types(field):
            yield Row({field.name: value})


def _wrong_types(field: FieldDescriptor) -> tuple[Any, ...]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return ("x", ["x"], 1)
    if field.is_repeated:
        return ("x", {})
    if field.message_type is not None:
        return ("x", 1, True, ["x"])
    if field.enum_type is not None:
        return ("BOGUS", 1.5, True, {}, ["x"])
    if field.type == field.TYPE_STRING:
        return (5, True, {}, [])
    if field.type == field.TYPE_BOOL:
        return ("maybe", 2, {}, [])
    return ("x", 1.5, "1.5", True, {}, [], 10**30) if field.type != field.TYPE_DOUBLE else ("x", True, {}, [])


INSTRUMENT = {
    "symbol": "ACME",
    "currency_code": "USD",
    "calendar": "XNYS",
    "price_increment": "0.01",
    "quantity_increment": "1",
}
SESSIONS = {"calendar": "XNYS", "start_date": "2013-01-01", "end_date": "2013-01-31"}
LIMIT = {"environment_id": MAIN, "limit_type": "LIMIT_TYPE_MAX_ORDER_NOTIONAL", "bound": "10"}
SWITCH = {"environment_id": MAIN, "scope": "KILL_SWITCH_SCOPE_PORTFOLIO", "target_id": PORTFOLIO}
STRATEGY_REQUEST = {"strategy_id": "other", "kind": "sma_cross", "symbols": ["AAPL"]}

ENTRY = {
    "client_order_id": "entry-1",
    "symbol": "AAPL",
    "side": "SIDE_BUY",
    "order_type": "ORDER_TYPE_MARKET",
    "time_in_force": "TIME_IN_FORCE_GTC",
    "quantity": "10",
}
EXIT = {**ENTRY, "side": "SIDE_SELL", "quantity": "", "order_type": "ORDER_TYPE_LIMIT", "limit_price": "100"}
ORDER_LIST = {
    "portfolio_id": PORTFOLIO,
    "contingency_type": "CONTINGENCY_TYPE_BRACKET",
    "orders": [ENTRY, {**EXIT, "client_order_id": "exit-1"}, {**EXIT, "client_order_id": "exit-2"}],
}

# A right request of each method, of which the wrong ones are made; itself it is not sent.
RIGHT: dict[str, dict[str, Any]] = {
    "MarketDataService/GetQuote": {"symbol": "AAPL"},
    "MarketDataService/BatchGetQuotes": {"symbols": ["AAPL"]},
    "MarketDataService/ListQuotes": {},
    "MarketDataService/ListBars": {"symbol": "AAPL", "interval": "1d"},
    "MarketDataService/ListAuctions": {"symbol": "AAPL"},
    "MarketDataService/ListHalts": {"symbol": "AAPL"},
    "MarketDataService/StreamMarketData": {},
    "InstrumentService/GetInstrument": {"symbol": "AAPL"},
    "InstrumentService/ListInstruments": {},
    "InstrumentService/CreateInstrument": {"instrument": INSTRUMENT},
    "InstrumentService/ListTradingSessions": SESSIONS,
    "EnvironmentService/ListDataSets": {},
    "EnvironmentService/CreateReplay": replay("replay-other"),
    "EnvironmentService/GetEnvironment": {"environment_id": MAIN},
    "EnvironmentService/GetDefaultEnvironment": {},
    "EnvironmentService/ListEnvironments": {},
    "EnvironmentService/StartReplay": {"environment_id": MAIN},
    "EnvironmentService/PauseReplay": {"environment_id": MAIN},
    "EnvironmentService/ResumeReplay": {"environment_id": MAIN},
    "EnvironmentService/StopReplay": {"environment_id": MAIN},
    "EnvironmentService/SetReplaySpeed": {"environment_id": MAIN, "pace": {"multiple": 2}},
    "OrderService/CreateOrder": order("other-1"),
    "OrderService/CreateOrderList": ORDER_LIST,
    "OrderService/GetOrderList": {"order_list_id": f"{MAIN}-1"},
    "OrderService/GetOrder": {"order_id": f"{MAIN}-1"},
    "OrderService/GetOrderByClientOrderId": {"portfolio_id": PORTFOLIO, "client_order_id": "open-1"},
    "OrderService/ListOrders": {"environment_id": MAIN},
    "OrderService/CancelOrder": {"order_id": f"{MAIN}-1"},
    "OrderService/ReplaceOrder": {"order_id": f"{MAIN}-1", "quantity": "20"},
    "OrderService/BatchCancelOrders": {"portfolio_id": PORTFOLIO},
    "OrderService/ClosePosition": {"position_id": f"{PORTFOLIO}~AAPL", "client_order_id": "other-1"},
    "OrderService/PreviewOrder": order("other-1"),
    "OrderService/ArmCancelTimer": {"portfolio_id": FLAT, "timeout": "0s"},
    "OrderService/ListExecutions": {"environment_id": MAIN},
    "OrderService/ListOrderEvents": {"order_id": f"{MAIN}-1"},
    "OrderService/StreamOrderEvents": {},
    "OrderBookService/GetOrderBook": {"symbol": "AAPL"},
    "OrderBookService/StreamOrderBook": {"symbol": "AAPL"},
    "VenueModelService/SetVenueModel": {
        "environment_id": MAIN,
        "portfolio_id": PORTFOLIO,
        "symbol": "AAPL",
        "commission": {"per_unit": "0.01"},
    },
    "VenueModelService/DeleteVenueModel": {"venue_model_id": f"{MAIN}~{PORTFOLIO}~AAPL"},
    "VenueModelService/ListVenueModels": {"environment_id": MAIN},
    "OrderExplanationService/ExplainOrder": {"order_id": f"{MAIN}-1"},
    "RiskService/GetPortfolioRisk": {"portfolio_id": PORTFOLIO},
    "RiskService/ListLimits": {},
    "RiskService/SetLimit": LIMIT,
    "RiskService/DeleteLimit": {"limit_id": f"{MAIN}~{PORTFOLIO}~MAX_ORDER_NOTIONAL"},
    "RiskService/ListLimitChanges": {"environment_id": MAIN},
    "RiskService/ListRiskEvents": {"environment_id": MAIN},
    "RiskService/StreamRiskEvents": {"environment_id": MAIN},
    "RiskService/EngageKillSwitch": SWITCH,
    "RiskService/ReleaseKillSwitch": SWITCH,
    "RiskService/ListKillSwitches": {},
    "PortfolioService/CreatePortfolio": portfolio("other", MAIN),
    "PortfolioService/GetPortfolio": {"portfolio_id": PORTFOLIO},
    "PortfolioService/ListPortfolios": {},
    "PortfolioService/ListPositions": {"portfolio_id": PORTFOLIO},
    "PortfolioService/ListLots": {"portfolio_id": PORTFOLIO},
    "PortfolioService/ListLedgerEntries": {"portfolio_id": PORTFOLIO},
    "PortfolioService/ListEquityPoints": {"portfolio_id": PORTFOLIO},
    "PortfolioService/StreamPortfolio": {"portfolio_id": PORTFOLIO},
    "PortfolioService/StreamLedgerEntries": {"environment_id": MAIN},
    "StrategyService/ListStrategyKinds": {},
    "StrategyService/CreateStrategy": STRATEGY_REQUEST,
    "StrategyService/GetStrategy": {"strategy_id": STRATEGY},
    "StrategyService/ListStrategies": {},
    "StrategyService/DeployStrategy": {"strategy_id": STRATEGY, "portfolio_id": PORTFOLIO},
    "StrategyService/StopStrategy": {"strategy_id": STRATEGY},
    "StrategyService/GetDeployment": {"deployment_id": DEPLOYMENT},
    "StrategyService/ListDeployments": {},
    "StrategyService/ListSignals": {"environment_id": MAIN},
    "StrategyService/StreamSignals": {},
}
