"""The lifecycle of an order, as a table of what may happen to it (rule 6)."""

from services.domain.orders.order import ExecType, OrderState


class IllegalTransition(ValueError):
    """The event does not fit the order's state; nothing was changed."""


_S, _E = OrderState, ExecType
TRANSITIONS: dict[tuple[OrderState, ExecType], frozenset[OrderState]] = {
    (_S.PENDING_NEW, _E.HELD): frozenset({_S.HELD}),
    (_S.PENDING_NEW, _E.NEW): frozenset({_S.NEW}),
    (_S.PENDING_NEW, _E.REJECTED): frozenset({_S.REJECTED}),
    **{
        (state, exec_type): frozenset(after)
        for state in (_S.HELD, _S.NEW, _S.TRIGGERED, _S.PARTIALLY_FILLED)
        for exec_type, after in {
            _E.CANCELED: {_S.CANCELED},
            _E.EXPIRED: {_S.EXPIRED},
            _E.RESTATED: {state},
            _E.REPLACED: {state},
        }.items()
    },
    (_S.HELD, _E.NEW): frozenset({_S.NEW}),
    (_S.NEW, _E.TRIGGERED): frozenset({_S.TRIGGERED}),
    **{
        (state, _E.TRADE): frozenset({_S.PARTIALLY_FILLED, _S.FILLED})
        for state in (_S.NEW, _S.TRIGGERED, _S.PARTIALLY_FILLED)
    },
}
"""(state, event) -> the states it may lead to. What is not here is illegal."""
_LEGAL = frozenset((*key, after) for key, afters in TRANSITIONS.items() for after in afters)


def check_transition(before: OrderState, exec_type: ExecType, after: OrderState) -> None:
    """Refuse what the lifecycle table does not hold.

    Raises:
        IllegalTransition: the event does not fit the state.
    """
    if (before, exec_type, after) not in _LEGAL:
        raise IllegalTransition(f"{exec_type.name} does not lead from {before.name} to {after.name}")
