"""An order as it was asked for, and where it came from: what the domain's order does not hold."""

from __future__ import annotations

from typing import Any, NamedTuple


class Ticket(NamedTuple):
    """An order as it was asked for, before it has an id.

    Attributes:
        client_key: `{portfolio_id}:{client_order_id}`, unique for ever.
        asked: the values that a repeat must have, decimals by value; label and signal describe and do not count.
        fields: the domain order's.
        closes: whether it ends the position there is: its side and quantity are known when it is taken.
        basis_sequence, basis_time: of a strategy's command, the position it was decided at, and the market time (ns): a
            timer's is later than the position's.
    """

    client_key: str
    asked: str
    fields: dict[str, Any]
    basis_sequence: int
    basis_time: int
    signal_id: str
    closes: bool = False

    @property
    def symbol(self) -> str:
        """What is to be traded."""
        return str(self.fields["symbol"])

    @property
    def portfolio_id(self) -> str:
        """Whose order it is."""
        return str(self.fields["portfolio_id"])

    @property
    def of_strategy(self) -> bool:
        """Whether a deployment decided it."""
        return bool(self.fields.get("deployment_id"))


class Provenance(NamedTuple):
    """What an order's messages say beyond the domain's order.

    Attributes:
        create_time: wall time, ns.
        session_id: the session that it does not outlive, if there is one.
    """

    environment_id: str
    client_key: str
    asked: str
    signal_id: str = ""
    principal: str = ""
    owner: str = ""
    create_time: int = 0
    traceparent: str = ""
    session_id: str = ""


def client_key(portfolio_id: str, client_order_id: str) -> str:
    """One text of both; ids hold no colon."""
    return f"{portfolio_id}:{client_order_id}"
