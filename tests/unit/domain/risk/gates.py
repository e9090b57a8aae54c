"""A gate as tests look into it, and as risk makes it anew of what it has stored."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields
from typing import Any

from services.domain.accounting.holding import Holding
from services.domain.instrument import Instrument
from services.domain.risk.buying_power import Funds
from services.domain.risk.gate import Gate
from services.risk.gate.parts import Cursor, OpenGate, Part


def state(gate: Gate) -> dict[str, Any]:
    """All that it knows but its marks, by value; what was only looked at, and is nothing, is left out."""
    known = {
        "funds": {portfolio_id: _funds(funds) for portfolio_id, funds in gate._funds.items()},
        "claims": gate._claims,
        "settled": gate._settled,
        "limits": gate.limits(),
        "curve": gate._curve,
        "filled": gate.filled,
        "kill_switches": gate.kill_switches(),
    }
    # As it is now, not as it will be.
    return deepcopy(known)


def restarted(gate: OpenGate, instruments: Mapping[str, Instrument]) -> OpenGate:
    """Risk comes back: claims that no event has confirmed are void, limits and switches are told to it again."""
    claims = {order_id: claim for order_id in gate.claims if (claim := gate.settled_claim(order_id)) is not None}
    stored = json.loads(json.dumps([gate.marks(), {each: gate.state_of(each) for each in gate.funds}, gate.curve()]))
    confirmed = {order_id: claim for order_id, claim in claims.items() if claim.confirmed}
    marks, portfolios, (opened, peak) = stored
    fresh = OpenGate()
    fresh.rebuild(Part("e", Cursor(), marks, portfolios, confirmed, curve=(opened, peak)))
    fresh.set_multipliers(instruments)
    for limit in gate.limits():
        fresh.set_limit(limit)
    for scope, kill in gate.kill_switches().items():
        fresh.engage(scope, *kill)
    return fresh


def _funds(funds: Funds) -> dict[str, Any]:
    own = {field.name: getattr(funds, field.name) for field in fields(funds) if field.compare}
    sleeves = {strategy_id: _funds(sleeve) for strategy_id, sleeve in funds.sleeves.items()}
    return {
        **own,
        "rate": (dict(funds.rate.unconfirmed), list(funds.rate.recent)),
        "holdings": {s: each for s, each in funds.holdings.items() if each != Holding(multiplier=each.multiplier)},
        "sleeves": {name: sleeve for name, sleeve in sleeves.items() if sleeve != _NOTHING},
    }


_NOTHING = {
    **{field.name: getattr(Funds(), field.name) for field in fields(Funds) if field.compare},
    "rate": ({}, []),
    "holdings": {},
    "sleeves": {},
}
