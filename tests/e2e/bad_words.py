"""What is wrong in streams of requests: words that end them, each with the outcome."""

from __future__ import annotations

from typing import Any

from tests.e2e.bad_input import ENVIRONMENT_NOT_FOUND, IDS, INVALID, Outcome
from tests.e2e.bad_rows import STALE
from tests.e2e.world import MAIN

HELLO = {"hello": {"role": "PARTICIPANT_ROLE_STRATEGY", "participant": "outside"}}
NOT_OPEN = ("PERMISSION_DENIED", "NOT_OPEN_AT_EDGE")
JOIN = {"environment_id": MAIN, "deployment_id": "outside-1", "seat_token": "outside"}
# What an outside strategy may say wrong to a replay, through the edge.
JOINS: list[tuple[list[dict[str, Any]], Outcome]] = [
    ([{}], INVALID),
    ([{"join": JOIN}], INVALID),
    ([{"leave": JOIN}], INVALID),
    ([{"hello": {"role": 0, "participant": "outside"}}], INVALID),
    ([{"hello": {"role": 99, "participant": "outside"}}], INVALID),
    ([{"hello": {"role": 3}}], INVALID),
    *(([{"hello": {"role": 3, "participant": each}}], INVALID) for each in IDS),
    ([{"hello": {"role": 1, "participant": "order"}}], NOT_OPEN),
    ([{"hello": {"role": 2, "participant": "risk"}}], NOT_OPEN),
    ([HELLO, HELLO], INVALID),
    ([HELLO, {}], INVALID),
    *(([HELLO, {"join": {**JOIN, "environment_id": each}}], INVALID) for each in IDS),
    *(([HELLO, {"join": {**JOIN, "deployment_id": each}}], INVALID) for each in ("", *IDS)),
    *(([HELLO, {"leave": {**JOIN, "deployment_id": each}}], INVALID) for each in ("", *IDS)),
    *(([HELLO, {kind: {**JOIN, "seat_token": each}}], INVALID) for kind in ("join", "leave") for each in ("", *IDS)),
    *(([HELLO, {each: {**JOIN, "environment_id": "nobody"}}], ENVIRONMENT_NOT_FOUND) for each in ("join", "leave")),
    ([HELLO, {"done": {"environment_id": "nobody", "cycle": 1}}], ENVIRONMENT_NOT_FOUND),
    ([HELLO, {"reached": {"environment_id": MAIN, "cycle": 1}}], INVALID),
    ([HELLO, {"applied": {"environment_id": MAIN, "cycle": 1}}], INVALID),
]
# What ends a session; what is wrong with a command is told in its acknowledgement.
SESSIONS: list[list[dict[str, Any]]] = [
    [{}, {"options": {}}],
    [{"options": {}}, {"options": {"cancel_on_disconnect": True}}],
    [{"commands": [{}] * 257}],
]
RUNAWAY = {"environment_id": MAIN, "portfolio_id": "p", "bound": "1", "value": 2, "begin_time": "2026-01-01T00:00:00Z"}
CONNECT = {"environment_id": MAIN, "epoch": 1}
# The same of the methods that only the mesh itself calls.
INSIDE: dict[str, list[tuple[list[dict[str, Any]], Outcome]]] = {
    "TapeService/ReadTape": [
        ([{}], INVALID),
        ([{"environment_id": "nobody"}], ENVIRONMENT_NOT_FOUND),
        ([{"environment_id": MAIN, "after_sequence": -1}], INVALID),
        *(([{"environment_id": each}], INVALID) for each in IDS),
    ],
    "RiskGateService/CheckOrders": [
        ([{}], INVALID),
        ([{"batch": {}}], INVALID),
        ([{"connect": {}}], INVALID),
        ([{"connect": CONNECT}], STALE),
        ([{"connect": {**CONNECT, "epoch": 0}}], INVALID),
        ([{"connect": {**CONNECT, "order_head": -1}}], INVALID),
        ([{"connect": {**CONNECT, "environment_id": "nobody"}}], ENVIRONMENT_NOT_FOUND),
    ],
    "RiskGateService/ReportRunaway": [
        ([{**RUNAWAY, "environment_id": "nobody"}], ENVIRONMENT_NOT_FOUND),
        ([{**RUNAWAY, "bound": "-1"}], INVALID),
        ([{**RUNAWAY, "value": 0}], INVALID),
        ([{**RUNAWAY, "begin_time": None}], INVALID),
        *(([{**RUNAWAY, field: each}], INVALID) for field in ("environment_id", "portfolio_id") for each in IDS),
    ],
}
