"""What is wrong with a list of orders: with one of them, or with what they are to one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.e2e.bad_input import (
    BY_NAME,
    DECIMALS,
    ENVIRONMENT_COMPLETED,
    IDS,
    INVALID,
    ORDER_LIST,
    PORTFOLIO_NOT_FOUND,
    Outcome,
    Row,
)
from tests.e2e.world import DEPLOYMENT, PAST, STRATEGY

_ENTRY, _TARGET, _STOP = ORDER_LIST["orders"]
_INSTRUMENT_NOT_FOUND = ("NOT_FOUND", "INSTRUMENT_NOT_FOUND")
_NOT_IN_ENVIRONMENT = ("FAILED_PRECONDITION", "INSTRUMENT_NOT_IN_ENVIRONMENT")
_DEPLOYMENT_NOT_FOUND = ("NOT_FOUND", "DEPLOYMENT_NOT_FOUND")
_OFF_INCREMENT = ("INVALID_ARGUMENT", "OFF_INCREMENT")
_NOT_ITS_SEAT = ("PERMISSION_DENIED", "SEAT_TOKEN_INVALID")
_REUSED = ("ALREADY_EXISTS", "CLIENT_ORDER_ID_REUSED")
_ALL: dict[str, dict[str, Any]] = {key: {} for key in ("entry", "target", "stop")}
# Fields of a listed order that are texts, with what is wrong for their kind.
_TEXTS = {
    "client_order_id": ("", *IDS),
    "display_quantity": DECIMALS,
    **{
        name: BY_NAME[name]
        for name in ("symbol", "quantity", "cash_quantity", "limit_price", "stop_price", "label", "trailing_amount")
    },
    "trailing_percent": BY_NAME["trailing_percent"],
}


def _row(outcome: Outcome = INVALID, kind: str = "BRACKET", **changes: dict[str, Any]) -> Row:
    """A list with changes of its entry, target or stop; an order that is not named is left out."""
    right = {"entry": _ENTRY, "target": _TARGET, "stop": _STOP}
    orders = [{**right[name], **change} for name, change in (changes or _ALL).items()]
    return Row({"contingency_type": f"CONTINGENCY_TYPE_{kind}", "orders": orders}, outcome)


def _changed(outcome: Outcome = INVALID, **changes: dict[str, Any]) -> Row:
    """A bracket with changes of some of its orders."""
    return _row(outcome, **(_ALL | changes))


def _wrong_texts() -> Iterator[Row]:
    for name, values in _TEXTS.items():
        yield from (_changed(target={name: value}) for value in values)


_LEG = {"quantity": "10"}
_TRIGGER = {"order_type": "ORDER_TYPE_STOP", "limit_price": "", "stop_price": "95"}
_PRICED = {"order_type": "ORDER_TYPE_LIMIT", "limit_price": "95"}
_GTD = {"time_in_force": "TIME_IN_FORCE_GTD"}
OF_A_LIST: list[Row] = [
    Row({"portfolio_id": "nobody"}, PORTFOLIO_NOT_FOUND),
    Row({"portfolio_id": PAST}, ENVIRONMENT_COMPLETED),
    Row({"orders": []}),
    Row({"orders": [_ENTRY] * 11}),
    *_wrong_texts(),
    *(_changed(target={name: 99}) for name in ("side", "order_type", "time_in_force")),
    *(_changed(target={name: 0}) for name in ("side", "order_type", "time_in_force")),
    _changed(_INSTRUMENT_NOT_FOUND, **{name: {"symbol": "ZZZZ"} for name in _ALL}),
    _changed(_NOT_IN_ENVIRONMENT, **{name: {"symbol": "MSFT"} for name in _ALL}),
    _changed(_OFF_INCREMENT, entry={"quantity": "1.5"}),
    _changed(_OFF_INCREMENT, stop={"limit_price": "1.00005"}),
    _changed(_REUSED, stop={"client_order_id": "open-1"}),
    _changed(stop={"client_order_id": "1-5-1"}),
    _changed(stop={"client_order_id": "exit-1"}),
    _changed(entry={"quantity": ""}),
    _changed(entry={"cash_quantity": "1"}),
    _changed(entry={"reduce_only": True}),
    _changed(target={"quantity": "10"}),
    _changed(target={"cash_quantity": "1"}),
    _changed(target={"side": "SIDE_BUY"}),
    _changed(target={"order_type": "ORDER_TYPE_MARKET", "limit_price": ""}),
    _changed(target={"order_type": "ORDER_TYPE_MARKET"}),
    _changed(target={"stop_price": "1"}),
    _changed(target={"trailing_amount": "1"}),
    _changed(target={"display_quantity": "1"}),
    _changed(target={"limit_price": "90"}, stop=_TRIGGER),
    _changed(target={"limit_price": "95"}, stop=_TRIGGER),
    _changed(entry=_PRICED, target={"limit_price": "94"}, stop={"limit_price": "110"}),
    _changed(entry=_PRICED, target={"limit_price": "110"}, stop=_TRIGGER),
    _changed(target=_GTD),
    _changed(target={"time_in_force": "TIME_IN_FORCE_DAY"}),
    _changed(target={**_GTD, "expire_time": "2005-03-01T00:00:00.5Z"}),
    _changed(target={"expire_time": "2005-03-01T00:00:00Z"}),
    *(_changed(target={"time_in_force": f"TIME_IN_FORCE_{each}"}) for each in ("IOC", "FOK", "OPG", "CLS")),
    _row(entry={}, target={}),
    _row(kind="OCO", target=_LEG),
    _row(kind="OCO", entry={}, target=_LEG, stop=_LEG),
    _row(kind="OCO", target=_LEG, stop={"quantity": "9"}),
    _row(kind="OCO", target=_LEG, stop={**_LEG, "side": "SIDE_BUY"}),
    _row(kind="OCO", target=_LEG, stop={**_LEG, "reduce_only": True}),
    _row(kind="OCO", target={}, stop={}),
    _row(kind="OTO", entry={}),
    _row(kind="OTO", entry={}, target={}),
    _row(kind="OTO", entry={}, target={**_LEG, "time_in_force": "TIME_IN_FORCE_IOC"}),
    Row({"basis_sequence": 1}),
    Row({"strategy_id": STRATEGY}),
    Row({"basis_time": "2005-03-01T00:00:00Z"}),
    Row({"deployment_id": DEPLOYMENT, "strategy_id": STRATEGY, "basis_sequence": 1}, _NOT_ITS_SEAT),
    Row({"deployment_id": "nobody", "strategy_id": STRATEGY, "basis_sequence": 1}, _DEPLOYMENT_NOT_FOUND),
]
