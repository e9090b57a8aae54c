"""What is wrong with a request in its own way, method by method, beside what is wrong with any field of its kind."""

from __future__ import annotations

from typing import Any

from tests.e2e.bad_input import (
    ALREADY_EXISTS,
    DECIMALS,
    ENVIRONMENT_COMPLETED,
    ENVIRONMENT_NOT_FOUND,
    INVALID,
    PORTFOLIO_NOT_FOUND,
    REQUEST_ID_REUSED,
    Outcome,
    Row,
)
from tests.e2e.bad_lists import OF_A_LIST
from tests.e2e.world import DEPLOYMENT, ENDED, FILLED, FLAT, FROZEN, MAIN, PAST, PORTFOLIO, REQUEST_ID, STRATEGY

QUOTE_NOT_FOUND = ("NOT_FOUND", "QUOTE_NOT_FOUND")
INSTRUMENT_NOT_FOUND = ("NOT_FOUND", "INSTRUMENT_NOT_FOUND")
CALENDAR_NOT_FOUND = ("NOT_FOUND", "CALENDAR_NOT_FOUND")
DATA_SET_NOT_FOUND = ("NOT_FOUND", "DATA_SET_NOT_FOUND")
ORDER_NOT_FOUND = ("NOT_FOUND", "ORDER_NOT_FOUND")
POSITION_NOT_FOUND = ("NOT_FOUND", "POSITION_NOT_FOUND")
VENUE_MODEL_NOT_FOUND = ("NOT_FOUND", "VENUE_MODEL_NOT_FOUND")
LIMIT_NOT_FOUND = ("NOT_FOUND", "LIMIT_NOT_FOUND")
KILL_SWITCH_NOT_FOUND = ("NOT_FOUND", "KILL_SWITCH_NOT_FOUND")
STRATEGY_NOT_FOUND = ("NOT_FOUND", "STRATEGY_NOT_FOUND")
STRATEGY_KIND_NOT_FOUND = ("NOT_FOUND", "STRATEGY_KIND_NOT_FOUND")
DEPLOYMENT_NOT_FOUND = ("NOT_FOUND", "DEPLOYMENT_NOT_FOUND")
PARAMETERS = ("INVALID_ARGUMENT", "STRATEGY_PARAMETERS_INVALID")
OFF_INCREMENT = ("INVALID_ARGUMENT", "OFF_INCREMENT")
NO_LIST = ("NOT_FOUND", "ORDER_LIST_NOT_FOUND")
ORDER_ENDED = ("FAILED_PRECONDITION", "ORDER_ENDED")
NOT_IN_ENVIRONMENT = ("FAILED_PRECONDITION", "INSTRUMENT_NOT_IN_ENVIRONMENT")
LIMIT_EXCEEDED = ("FAILED_PRECONDITION", "LIMIT_EXCEEDED")
REUSED = ("ALREADY_EXISTS", "CLIENT_ORDER_ID_REUSED")
STALE = ("ABORTED", "BASIS_STALE")
NOT_ITS_SEAT = ("PERMISSION_DENIED", "SEAT_TOKEN_INVALID")

NO_ENVIRONMENT = Row({"environment_id": "nobody"}, ENVIRONMENT_NOT_FOUND)
NO_PORTFOLIO = Row({"portfolio_id": "nobody"}, PORTFOLIO_NOT_FOUND)
NO_ORDER = Row({"order_id": "nobody"}, ORDER_NOT_FOUND)
BACKWARDS = Row({"start_time": "2005-03-01T00:00:00Z", "end_time": "2005-02-01T00:00:00Z"})
LIMIT_ORDER: dict[str, Any] = {"order_type": "ORDER_TYPE_LIMIT"}
STOP_ORDER: dict[str, Any] = {"order_type": "ORDER_TYPE_STOP"}
STOP_LIMIT: dict[str, Any] = {"order_type": "ORDER_TYPE_STOP_LIMIT"}
TRAILING: dict[str, Any] = {"order_type": "ORDER_TYPE_TRAILING_STOP", "side": "SIDE_SELL"}
PRICED: dict[str, Any] = {**LIMIT_ORDER, "limit_price": "1"}
GTD: dict[str, Any] = {"time_in_force": "TIME_IN_FORCE_GTD"}
AT_ONCE = tuple(f"TIME_IN_FORCE_{each}" for each in ("IOC", "FOK", "OPG", "CLS"))
BY_CASH: dict[str, Any] = {"quantity": None, "cash_quantity": "1"}
UNTIL = "2005-03-01T00:00:00Z"
# An open order, in the place of one that has ended.
OPEN: dict[str, Any] = {"order_id": None, "portfolio_id": PORTFOLIO, "orig_client_order_id": "working-1"}


def row(outcome: Outcome = INVALID, **change: Any) -> Row:
    """A row; `__` in a name stands for the point."""
    return Row({name.replace("__", "."): value for name, value in change.items()}, outcome)


OF_A_BOOK = [
    NO_ENVIRONMENT,
    NO_PORTFOLIO,
    row(PORTFOLIO_NOT_FOUND, environment_id=PAST, portfolio_id=PORTFOLIO),
    row(INSTRUMENT_NOT_FOUND, symbol="NOBODY"),
]
# Nanoseconds since 1970 in 64 bits end in 2262; what a Timestamp can say beyond is refused as well.
FAR = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z")
OF_A_RANGE = [
    BACKWARDS,
    *(Row({name: time}) for name in ("start_time", "end_time") for time in FAR),
    row(after_sequence=1, start_time="2005-03-01T00:00:00Z"),
    row(after_sequence=1, end_time="2005-03-01T00:00:00Z"),
]
OF_A_LISTING = [NO_ENVIRONMENT, NO_PORTFOLIO, row(PORTFOLIO_NOT_FOUND, environment_id=PAST, portfolio_id=PORTFOLIO)]
OF_NOTICES = [
    NO_ENVIRONMENT,
    BACKWARDS,
    row(INSTRUMENT_NOT_FOUND, symbol="ZZZZ"),
    *(Row({name: time}) for name in ("start_time", "end_time") for time in FAR),
]
OF_A_STRATEGY: dict[str, Any] = {"deployment_id": DEPLOYMENT, "strategy_id": STRATEGY, "basis_sequence": 1}

OF_AN_ORDER = [
    NO_PORTFOLIO,
    row(INSTRUMENT_NOT_FOUND, symbol="ZZZZ"),
    row(NOT_IN_ENVIRONMENT, symbol="MSFT"),
    row(ENVIRONMENT_COMPLETED, portfolio_id=PAST),
    row(quantity=None),
    row(cash_quantity="1"),
    row(quantity=None, cash_quantity="1", side="SIDE_SELL"),
    row(**LIMIT_ORDER),
    row(limit_price="1"),
    row(**STOP_ORDER),
    row(stop_price="1"),
    row(**PRICED, stop_price="1"),
    row(**STOP_LIMIT, stop_price="1"),
    row(**STOP_LIMIT, limit_price="1"),
    row(order_type="ORDER_TYPE_MARKET_IF_TOUCHED"),
    row(order_type="ORDER_TYPE_MARKET_IF_TOUCHED", stop_price="1", limit_price="1"),
    row(order_type="ORDER_TYPE_LIMIT_IF_TOUCHED", limit_price="1"),
    row(order_type="ORDER_TYPE_LIMIT_IF_TOUCHED", stop_price="1"),
    row(**TRAILING),
    row(**TRAILING, trailing_amount="1", trailing_percent="1"),
    row(**TRAILING, trailing_amount="1", stop_price="1"),
    row(**TRAILING, trailing_amount="1", limit_price="1"),
    *(row(**TRAILING, trailing_amount="1", time_in_force=f"TIME_IN_FORCE_{each}") for each in ("OPG", "CLS")),
    row(trailing_amount="1"),
    row(trailing_percent="1"),
    row(**GTD),
    row(expire_time=UNTIL),
    *(row(**GTD, expire_time=time) for time in (*FAR, "2005-03-01T00:00:00.5Z")),
    row(**{**TRAILING, **BY_CASH, "side": "SIDE_BUY", "trailing_amount": "1"}),
    row(**BY_CASH, time_in_force="TIME_IN_FORCE_FOK"),
    row(**BY_CASH, reduce_only=True),
    row(**BY_CASH, **PRICED, display_quantity="1"),
    row(post_only=True),
    *(row(**PRICED, post_only=True, time_in_force=f"TIME_IN_FORCE_{each}") for each in ("IOC", "FOK", "OPG", "CLS")),
    row(display_quantity="1"),
    row(**PRICED, display_quantity="10"),
    row(**PRICED, display_quantity="10.5"),
    row(OFF_INCREMENT, **PRICED, display_quantity="1.5"),
    row(OFF_INCREMENT, **TRAILING, trailing_amount="0.00001"),
    row(OFF_INCREMENT, quantity="1.5"),
    row(OFF_INCREMENT, **LIMIT_ORDER, limit_price="1.00005"),
    row(OFF_INCREMENT, **STOP_ORDER, stop_price="0.00001"),
    row(**LIMIT_ORDER, limit_price="123456789012.3456"),
]

# Methods that are not here have no fault of their own.
ROWS: dict[str, list[Row]] = {
    "MarketDataService/GetQuote": [NO_ENVIRONMENT, row(QUOTE_NOT_FOUND, symbol="ZZZZ")],
    "MarketDataService/BatchGetQuotes": [NO_ENVIRONMENT, row(symbols=["AAPL"] * 1001), row(symbols=[])],
    "MarketDataService/ListQuotes": [NO_ENVIRONMENT],
    "MarketDataService/ListBars": [
        NO_ENVIRONMENT,
        BACKWARDS,
        row(INSTRUMENT_NOT_FOUND, symbol="ZZZZ"),
        *(Row({name: time}) for name in ("start_time", "end_time") for time in FAR),
        row(interval="7m"),
        row(page_size=100_001, encoding="ENCODING_COLUMNS"),
    ],
    "MarketDataService/ListAuctions": OF_NOTICES,
    "MarketDataService/ListHalts": OF_NOTICES,
    "MarketDataService/StreamMarketData": [
        NO_ENVIRONMENT,
        row(symbols=["AAPL"] * 1001),
        row(kinds=["DATA_KIND_BAR"] * 9),
        row(intervals=["1d"] * 17),
    ],
    "InstrumentService/GetInstrument": [row(INSTRUMENT_NOT_FOUND, symbol="ZZZZ")],
    "InstrumentService/CreateInstrument": [
        row(ALREADY_EXISTS, instrument__symbol="AAPL", instrument__price_increment="0.5"),
        row(instrument__calendar="XXXX"),
    ],
    "InstrumentService/ListTradingSessions": [
        row(CALENDAR_NOT_FOUND, calendar="XXXX"),
        row(CALENDAR_NOT_FOUND, end_date="2999-01-01"),
        row(CALENDAR_NOT_FOUND, start_date="0001-01-01"),
        row(start_date="2013-02-01", end_date="2013-01-01"),
        row(start_date="0000-00-00"),
    ],
    "EnvironmentService/CreateReplay": [
        BACKWARDS,
        *(Row({name: time}) for name in ("start_time", "end_time") for time in FAR),
        row(DATA_SET_NOT_FOUND, data_set_id="nobody"),
        row(symbols=["ZZZZ"]),
        row(symbols=["AAPL", "AAPL"]),
        row(start_time="2030-01-01T00:00:00Z", end_time="2031-01-01T00:00:00Z"),
        row(warm_up_sessions=100_000),
        row(ALREADY_EXISTS, environment_id=MAIN),
        row(environment_id="a~b"),
        row(REQUEST_ID_REUSED, request_id=REQUEST_ID),
    ],
    "EnvironmentService/GetEnvironment": [NO_ENVIRONMENT],
    **{
        f"EnvironmentService/{each}": [NO_ENVIRONMENT, row(ENVIRONMENT_COMPLETED, environment_id=ENDED)]
        for each in ("StartReplay", "PauseReplay", "ResumeReplay", "SetReplaySpeed")
    },
    "EnvironmentService/StopReplay": [NO_ENVIRONMENT],
    "OrderService/CreateOrder": [
        *OF_AN_ORDER,
        row(REUSED, client_order_id="open-1"),
        row(REUSED, client_order_id="open-1", **LIMIT_ORDER, limit_price="1.5001"),
        row(REUSED, client_order_id="open-1", **LIMIT_ORDER, limit_price="1.5", post_only=True),
        row(REUSED, client_order_id="open-1", **LIMIT_ORDER, limit_price="1.5", reduce_only=True),
        row(basis_sequence=1),
        row(strategy_id=STRATEGY),
        row(basis_time="2005-03-01T00:00:00Z"),
        *(Row({**OF_A_STRATEGY, "basis_time": time}) for time in FAR),
        Row(OF_A_STRATEGY, NOT_ITS_SEAT),
        Row({**OF_A_STRATEGY, "basis_sequence": 2**62}, NOT_ITS_SEAT),
        Row({**OF_A_STRATEGY, "deployment_id": "nobody"}, DEPLOYMENT_NOT_FOUND),
        row(client_order_id="1-5-1"),
    ],
    "OrderService/CreateOrderList": OF_A_LIST,
    "OrderService/GetOrderList": [row(NO_LIST, order_list_id="nobody"), row(NO_LIST, order_list_id=f"{MAIN}-1")],
    "OrderService/GetOrder": [NO_ORDER, row(ORDER_NOT_FOUND, order_id=f"{MAIN}-99999999999999999999")],
    "OrderService/GetOrderByClientOrderId": [
        row(ORDER_NOT_FOUND, portfolio_id="nobody"),
        row(ORDER_NOT_FOUND, client_order_id="nobody"),
    ],
    "OrderService/CancelOrder": [
        NO_ORDER,
        row(ORDER_ENDED, order_id=FILLED),
        row(portfolio_id=PORTFOLIO),
        row(orig_client_order_id="open-1"),
        row(portfolio_id=PORTFOLIO, orig_client_order_id="open-1"),
        row(order_id=None),
        row(order_id=None, portfolio_id=PORTFOLIO),
        row(order_id=None, orig_client_order_id="open-1"),
        row(ORDER_NOT_FOUND, order_id=None, portfolio_id=PORTFOLIO, orig_client_order_id="nobody"),
        row(ORDER_NOT_FOUND, order_id=None, portfolio_id="nobody", orig_client_order_id="open-1"),
        row(ORDER_ENDED, order_id=None, portfolio_id=PORTFOLIO, orig_client_order_id="filled-1"),
    ],
    "OrderService/ReplaceOrder": [
        NO_ORDER,
        row(ORDER_ENDED, order_id=FILLED),
        row(ORDER_ENDED, order_id=None, portfolio_id=PORTFOLIO, orig_client_order_id="canceled-1"),
        row(portfolio_id=PORTFOLIO),
        row(orig_client_order_id="open-1"),
        row(portfolio_id=PORTFOLIO, orig_client_order_id="open-1"),
        row(order_id=None),
        row(order_id=None, portfolio_id=PORTFOLIO),
        row(ORDER_NOT_FOUND, order_id=None, portfolio_id=PORTFOLIO, orig_client_order_id="nobody"),
        row(quantity=None),
        row(quantity=None, trailing_amount="1", trailing_percent="1"),
        *(row(expire_time=time) for time in (*FAR, "2005-03-01T00:00:00.5Z")),
        row(**OPEN, stop_price="1"),
        row(**OPEN, cash_quantity="1000"),
        row(**{**OPEN, "quantity": None}, cash_quantity="1000"),
        row(**OPEN, trailing_amount="1"),
        row(**OPEN, expire_time=UNTIL),
        row(**OPEN, display_quantity="20"),
        row(OFF_INCREMENT, **{**OPEN, "quantity": "1.5"}),
        row(OFF_INCREMENT, **OPEN, limit_price="1.00005"),
        row(LIMIT_EXCEEDED, **{**OPEN, "quantity": "1000000"}),
        row(REQUEST_ID_REUSED, **OPEN, request_id=REQUEST_ID),
        row(basis_sequence=1),
        row(basis_time="2005-03-01T00:00:00Z"),
        row(NOT_ITS_SEAT, **OPEN, deployment_id=DEPLOYMENT, basis_sequence=1),
        row(DEPLOYMENT_NOT_FOUND, **OPEN, deployment_id="nobody", basis_sequence=1),
        *(row(deployment_id=DEPLOYMENT, basis_time=time) for time in FAR),
    ],
    "OrderService/BatchCancelOrders": [
        NO_PORTFOLIO,
        row(INSTRUMENT_NOT_FOUND, symbol="ZZZZ"),
        row(NOT_IN_ENVIRONMENT, symbol="MSFT"),
    ],
    "OrderService/ClosePosition": [
        row(PORTFOLIO_NOT_FOUND, position_id="nobody~AAPL"),
        row(INSTRUMENT_NOT_FOUND, position_id=f"{PORTFOLIO}~ZZZZ"),
        row(NOT_IN_ENVIRONMENT, position_id=f"{PORTFOLIO}~MSFT"),
        row(POSITION_NOT_FOUND, position_id=f"{FLAT}~AAPL"),
        row(ENVIRONMENT_COMPLETED, position_id=f"{PAST}~AAPL"),
        row(REUSED, client_order_id="open-1"),
        row(client_order_id="1-5-1"),
    ],
    "OrderService/PreviewOrder": OF_AN_ORDER,
    "OrderService/ArmCancelTimer": [
        NO_PORTFOLIO,
        row(ENVIRONMENT_NOT_FOUND, portfolio_id=None, environment_id="nobody"),
        row(ENVIRONMENT_COMPLETED, portfolio_id=PAST),
        row(portfolio_id=None),
        row(environment_id=MAIN),
        row(REQUEST_ID_REUSED, request_id=REQUEST_ID),
    ],
    "OrderService/ListOrders": [*OF_A_LISTING, *OF_A_RANGE],
    "OrderService/ListExecutions": [NO_ORDER, *OF_A_LISTING, *OF_A_RANGE],
    "OrderService/ListOrderEvents": [
        NO_ORDER,
        row(ORDER_NOT_FOUND, environment_id=ENDED),
        NO_PORTFOLIO,
        *OF_A_RANGE,
    ],
    "OrderService/StreamOrderEvents": [NO_ENVIRONMENT],
    "OrderBookService/GetOrderBook": OF_A_BOOK,
    "OrderBookService/StreamOrderBook": OF_A_BOOK,
    "VenueModelService/SetVenueModel": [
        row(ENVIRONMENT_NOT_FOUND, environment_id="nobody", portfolio_id=None),
        row(PORTFOLIO_NOT_FOUND, environment_id="nobody"),
        NO_PORTFOLIO,
        row(PORTFOLIO_NOT_FOUND, portfolio_id=PAST),
        row(INSTRUMENT_NOT_FOUND, symbol="ZZZZ"),
        row(NOT_IN_ENVIRONMENT, symbol="MSFT"),
        row(ENVIRONMENT_COMPLETED, environment_id=ENDED, portfolio_id=None),
        row(commission=None),
        row(fills={}),
        row(commission=None, fills={}),
        row(commission__basis_points="10000.1"),
        row(commission__minimum="2", commission__maximum="1"),
        row(commission__maximum_basis_points="10000.1"),
        row(commission__tiers=[{"above": "1", "basis_points": "1"}]),
        row(commission__tiers=[{"above": "0", "basis_points": "1"}] * 2),
        row(commission__tiers=[{"above": "0", "basis_points": "10001"}]),
        row(slippage={"basis_points": "10001"}),
        row(slippage={"spread_share": "101"}),
        row(slippage={"impact": "1.1"}),
        *(row(commission__tiers=[{"above": each, "basis_points": "1"}]) for each in DECIMALS),
        *(row(commission__tiers=[{"above": "0", "basis_points": each}]) for each in DECIMALS),
        row(commission__tiers=[{"above": str(each), "basis_points": "1"} for each in range(17)]),
    ],
    "VenueModelService/DeleteVenueModel": [row(VENUE_MODEL_NOT_FOUND, venue_model_id="nobody")],
    "VenueModelService/ListVenueModels": OF_A_LISTING,
    "OrderExplanationService/ExplainOrder": [NO_ORDER, row(ORDER_NOT_FOUND, order_id=f"{MAIN}-99999999999999999999")],
    "RiskService/GetPortfolioRisk": [NO_PORTFOLIO],
    "RiskService/SetLimit": [
        NO_ENVIRONMENT,
        NO_PORTFOLIO,
        row(PORTFOLIO_NOT_FOUND, portfolio_id=PAST),
        row(limit_type="LIMIT_TYPE_SHORT_SALES", bound="0.5"),
        row(limit_type="LIMIT_TYPE_INITIAL_MARGIN", bound="0"),
        row(limit_type="LIMIT_TYPE_MAX_ORDER_RATE", bound="1.5"),
        row(limit_type="LIMIT_TYPE_RUNAWAY_GUARD", bound="1.5"),
        row(limit_type="LIMIT_TYPE_RESTRICTED"),
        row(limit_type="LIMIT_TYPE_RESTRICTED", bound="2", symbol="AAPL"),
        row(limit_type="LIMIT_TYPE_MAX_LEVERAGE", symbol="AAPL"),
        row(limit_type="LIMIT_TYPE_MAX_DRAWDOWN", strategy_id=STRATEGY),
        row(limit_type="LIMIT_TYPE_RUNAWAY_GUARD", symbol="AAPL"),
        row(portfolio_id=PORTFOLIO, strategy_id=STRATEGY),
        row(NOT_IN_ENVIRONMENT, symbol="MSFT"),
        row(STRATEGY_NOT_FOUND, portfolio_id=None, strategy_id="nobody"),
    ],
    "RiskService/ListLimits": OF_A_LISTING,
    "RiskService/ListKillSwitches": [NO_ENVIRONMENT],
    "RiskService/ListLimitChanges": [NO_ENVIRONMENT],
    **{
        f"RiskService/{each}": [
            *OF_A_LISTING,
            row(kinds=["RISK_EVENT_KIND_BREACH"] * 17),
        ]
        for each in ("ListRiskEvents", "StreamRiskEvents")
    },
    "RiskService/DeleteLimit": [row(LIMIT_NOT_FOUND, limit_id=f"{MAIN}~nobody~PRICE_BAND")],
    "RiskService/EngageKillSwitch": [
        NO_ENVIRONMENT,
        row(PORTFOLIO_NOT_FOUND, target_id="nobody"),
        row(PORTFOLIO_NOT_FOUND, target_id=PAST),
        row(STRATEGY_NOT_FOUND, scope="KILL_SWITCH_SCOPE_STRATEGY", target_id="nobody"),
        row(target_id=None),
        row(scope="KILL_SWITCH_SCOPE_ENVIRONMENT"),
    ],
    "RiskService/ReleaseKillSwitch": [
        row(KILL_SWITCH_NOT_FOUND, environment_id="nobody"),
        row(KILL_SWITCH_NOT_FOUND, target_id="nobody"),
        row(KILL_SWITCH_NOT_FOUND, scope="KILL_SWITCH_SCOPE_STRATEGY", target_id=FROZEN),
        row(target_id=None),
        row(scope="KILL_SWITCH_SCOPE_ENVIRONMENT"),
    ],
    "PortfolioService/CreatePortfolio": [
        NO_ENVIRONMENT,
        row(ENVIRONMENT_COMPLETED, environment_id=ENDED),
        row(initial_cash__currency_code="EUR"),
        row(portfolio_id="a~b"),
        row(ALREADY_EXISTS, portfolio_id=PORTFOLIO, initial_cash__amount="5"),
        row(REQUEST_ID_REUSED, request_id=REQUEST_ID),
    ],
    **{
        f"PortfolioService/{each}": [NO_PORTFOLIO]
        for each in (
            "GetPortfolio",
            "ListPositions",
            "ListLots",
            "ListLedgerEntries",
            "ListEquityPoints",
            "StreamPortfolio",
        )
    },
    "PortfolioService/ListPortfolios": [NO_ENVIRONMENT],
    "PortfolioService/StreamLedgerEntries": [NO_ENVIRONMENT],
    "StrategyService/CreateStrategy": [
        row(STRATEGY_KIND_NOT_FOUND, kind="nobody"),
        *(
            row(PARAMETERS, parameters=each)
            for each in (
                {"fats": "3"},
                {"fast": "three"},
                {"fast": "-3"},
                {"fast": "0"},
                {"fast": "1e5"},
                {"fast": "1" * 30},
                {"fast": "30", "slow": "3"},
                {"capital": "NaN"},
                {"capital": "-1"},
                {"fast": ""},
            )
        ),
        row(parameters={"": "3"}),
        row(parameters={"x" * 65: "3"}),
        # Whose paths, told in full, would not fit what gRPC takes of an error.
        row(parameters={"\U0001f600" * 200 + str(number): "3" for number in range(60)}),
        row(parameters={"fast": "3" * 1001}),
        row(parameters={f"p{number}": "3" for number in range(101)}),
        row(symbols=["AAPL", "AAPL"]),
        row(symbols=[]),
        row(ALREADY_EXISTS, strategy_id=STRATEGY),
        row(REQUEST_ID_REUSED, request_id=REQUEST_ID),
    ],
    "StrategyService/GetStrategy": [row(STRATEGY_NOT_FOUND, strategy_id="nobody")],
    "StrategyService/DeployStrategy": [
        NO_PORTFOLIO,
        row(STRATEGY_NOT_FOUND, strategy_id="nobody"),
        row(ENVIRONMENT_COMPLETED, portfolio_id=PAST),
        row(ALREADY_EXISTS, deployment_id=DEPLOYMENT, portfolio_id=FROZEN),
        row(REQUEST_ID_REUSED, request_id=REQUEST_ID, portfolio_id=FROZEN),
    ],
    "StrategyService/StopStrategy": [
        row(STRATEGY_NOT_FOUND, strategy_id="nobody"),
        row(DEPLOYMENT_NOT_FOUND, deployment_id="nobody"),
        row(DEPLOYMENT_NOT_FOUND, deployment_id="slow-1"),
    ],
    "StrategyService/GetDeployment": [row(DEPLOYMENT_NOT_FOUND, deployment_id="nobody")],
    "StrategyService/ListDeployments": [NO_ENVIRONMENT],
    **{
        f"StrategyService/{each}": [
            NO_ENVIRONMENT,
            row(DEPLOYMENT_NOT_FOUND, deployment_id="nobody"),
            row(DEPLOYMENT_NOT_FOUND, deployment_id=DEPLOYMENT, environment_id=ENDED),
        ]
        for each in ("ListSignals", "StreamSignals")
    },
}

# A page of a list that has more, and another question that its token does not belong to.
PAGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "MarketDataService/ListQuotes": ({}, {"environment_id": MAIN}),
    "MarketDataService/ListBars": ({}, {"symbol": "IBM"}),
    "InstrumentService/ListInstruments": ({}, {}),
    "InstrumentService/ListTradingSessions": ({}, {"end_date": "2013-02-28"}),
    "EnvironmentService/ListEnvironments": ({}, {}),
    "OrderService/ListOrders": ({}, {"portfolio_id": PORTFOLIO}),
    "OrderService/ListExecutions": ({}, {"symbol": "IBM"}),
    "OrderService/ListOrderEvents": ({}, {"order_id": f"{MAIN}-2"}),
    "VenueModelService/ListVenueModels": ({}, {"symbol": "IBM"}),
    "RiskService/ListLimits": ({}, {"portfolio_id": PORTFOLIO}),
    "RiskService/ListKillSwitches": ({}, {"environment_id": MAIN}),
    "RiskService/ListLimitChanges": ({}, {"environment_id": ENDED}),
    "RiskService/ListRiskEvents": ({}, {"portfolio_id": PORTFOLIO}),
    "PortfolioService/ListPortfolios": ({}, {"environment_id": MAIN}),
    "PortfolioService/ListPositions": ({"portfolio_id": FROZEN}, {"portfolio_id": PORTFOLIO}),
    "PortfolioService/ListLots": ({"portfolio_id": FROZEN}, {"portfolio_id": FROZEN, "symbol": "AAPL"}),
    "PortfolioService/ListLedgerEntries": ({}, {"portfolio_id": FROZEN}),
    "PortfolioService/ListEquityPoints": ({}, {"portfolio_id": FROZEN}),
    "StrategyService/ListStrategyKinds": ({}, {}),
    "StrategyService/ListStrategies": ({}, {}),
    "StrategyService/ListDeployments": ({}, {"environment_id": MAIN}),
    "StrategyService/ListSignals": ({}, {"symbol": "IBM"}),
}
# There is one data set only, and no auction or halt in it.
ONE_PAGE = {"EnvironmentService/ListDataSets", "MarketDataService/ListAuctions", "MarketDataService/ListHalts"}
# What narrows a list and is no scope that must be there, with something of which there is nothing.
FILTERS: dict[str, dict[str, str]] = {
    "OrderService/ListOrders": {"symbol": "NONE"},
    "OrderService/ListExecutions": {"symbol": "NONE"},
    "OrderService/ListOrderEvents": {"symbol": "NONE"},
    "VenueModelService/ListVenueModels": {"symbol": "NONE"},
    "RiskService/ListLimits": {"symbol": "NONE", "strategy_id": "none"},
    "PortfolioService/ListLots": {"symbol": "NONE"},
    "PortfolioService/ListLedgerEntries": {"order_id": "none"},
    "StrategyService/ListDeployments": {"strategy_id": "none"},
    "StrategyService/ListSignals": {"symbol": "NONE"},
}
# Another subscription, that a stream's token does not belong to.
STREAMS: dict[str, dict[str, Any]] = {
    "MarketDataService/StreamMarketData": {"symbols": ["AAPL"]},
    "OrderService/StreamOrderEvents": {"portfolio_id": PORTFOLIO},
    "OrderBookService/StreamOrderBook": {"portfolio_id": PORTFOLIO},
    "RiskService/StreamRiskEvents": {"portfolio_id": PORTFOLIO},
    "PortfolioService/StreamPortfolio": {"portfolio_id": FROZEN},
    "PortfolioService/StreamLedgerEntries": {"portfolio_id": PORTFOLIO},
    "StrategyService/StreamSignals": {"deployment_id": DEPLOYMENT},
}
