"""Whose commands are taken as strategies': the deployments that take part, as the coordinator tells the venue."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple

from services.chassis.errors import ApiError
from services.domain.orders.order import Order
from services.order.records import EnvironmentRow
from services.order.ticket import Ticket


class Enrolled(NamedTuple):
    """A deployment that takes part; `seat_digest` is of the token that its orders carry."""

    strategy_id: str
    portfolio_id: str
    seat_digest: str


class Decision(NamedTuple):
    """What a deployment decided: where, at what market time (ns), and the token that shows that it is its own."""

    deployment_id: str
    sequence: int
    time: int
    seat_token: str


class Roll(NamedTuple):
    """All that take part in an environment, by deployment id."""

    environment_id: str
    deployments: Mapping[str, Enrolled] = {}

    def objection(self, ticket: Ticket, seat_token: str) -> ApiError | None:
        """Why an order is no command of the deployment that it names, if it is none.

        Returns:
            NOT_FOUND `DEPLOYMENT_NOT_FOUND`, PERMISSION_DENIED `SEAT_TOKEN_INVALID`, or INVALID_ARGUMENT where the
            deployment has another strategy or portfolio.
        """
        deployment_id = str(ticket.fields["deployment_id"])
        stranger = self._stranger(deployment_id, seat_token)
        if stranger is not None:
            return stranger
        enrolled = self.deployments[deployment_id]
        for name, own in (("strategy_id", enrolled.strategy_id), ("portfolio_id", enrolled.portfolio_id)):
            if ticket.fields[name] != own:
                return ApiError.invalid_field(name, f"is not that of {deployment_id}")
        return None

    def objection_to(self, decision: Decision, order: Order | None) -> ApiError | None:
        """Why new terms of an order are none of the deployment that they name, if they are none: likewise."""
        stranger = self._stranger(decision.deployment_id, decision.seat_token)
        if stranger is None and order is not None and order.deployment_id != decision.deployment_id:
            return ApiError.invalid_field("deployment_id", f"did not decide {order.order_id}")
        return stranger

    def _stranger(self, deployment_id: str, seat_token: str) -> ApiError | None:
        enrolled = self.deployments.get(deployment_id)
        if enrolled is None:
            message = f"No deployment {deployment_id} takes part in {self.environment_id}."
            return ApiError.not_found("deployment", deployment_id, "DEPLOYMENT_NOT_FOUND", message)
        if not hmac.compare_digest(hashlib.sha256(seat_token.encode()).hexdigest(), enrolled.seat_digest):
            message = f"The seat of {deployment_id} is held with another token."
            return ApiError.permission_denied("SEAT_TOKEN_INVALID", message)
        return None


def stale(basis_sequence: int, row: EnvironmentRow) -> ApiError | None:
    """What is said of a command that was decided at another position than where the environment stands."""
    if basis_sequence == row.tape_sequence:
        return None
    positions = {"basis_sequence": str(basis_sequence), "tape_sequence": str(row.tape_sequence)}
    message = f"Decided at {basis_sequence}, but {row.environment_id} is at {row.tape_sequence}."
    return ApiError.aborted("BASIS_STALE", message, metadata=positions)
