"""What of an environment's course is told: orders that a limit refused, figures near their bounds."""

from typing import Final

from services.domain.orders.order import OrderEvent
from services.domain.risk.limits import ORDERED
from services.domain.risk.watch import Alarm
from services.risk.records import Happening, RiskKind

_LIMITS: Final = frozenset(kind.name for kind in ORDERED)


def breaches(rejected: OrderEvent, principal: str) -> list[Happening]:
    """What a REJECTED order of `principal` tells: the limit that refused it, if one did."""
    order = rejected.order
    refusal = order.refusal
    if refusal is None or refusal.limit not in _LIMITS:
        return []
    what = {"limit": refusal.limit}
    if refusal.measured:
        what |= {"bound": str(refusal.bound), "value": str(refusal.value)}
    whose = {"order_id": order.order_id, "strategy_id": order.strategy_id, "symbol": order.symbol}
    at = (rejected.tape_sequence, rejected.transact_time)
    return [Happening(RiskKind.BREACH, order.portfolio_id, whose | what, *at, principal)]


def warning(alarm: Alarm, sequence: int, time: int) -> Happening:
    """What a figure tells that came near its bound or has calmed down, at a tape position and market time (ns)."""
    where = alarm.where
    what = {"limit": alarm.limit, "bound": str(alarm.bound), "value": str(alarm.value)}
    whose = {"strategy_id": where.strategy_id, "symbol": alarm.symbol or where.symbol}
    return Happening(RiskKind(alarm.kind), where.portfolio_id, whose | what, sequence, time)
