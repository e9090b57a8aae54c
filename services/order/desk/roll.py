"""Whose commands are taken as strategies': the deployments that take part, as the coordinator tells the venue."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple

from services.chassis.errors import ApiError
from services.order.ticket import Ticket


class Enrolled(NamedTuple):
    """A deployment that takes part; `seat_digest` is of the token that its orders carry."""

    strategy_id: str
    portfolio_id: str
    seat_digest: str


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
        enrolled = self.deployments.get(deployment_id)
        if enrolled is None:
            message = f"No deployment {deployment_id} takes part in {self.environment_id}."
            return ApiError.not_found("deployment", deployment_id, "DEPLOYMENT_NOT_FOUND", message)
        if not hmac.compare_digest(hashlib.sha256(seat_token.encode()).hexdigest(), enrolled.seat_digest):
            message = f"The seat of {deployment_id} is held with another token."
            return ApiError.permission_denied("SEAT_TOKEN_INVALID", message)
        for name, own in (("strategy_id", enrolled.strategy_id), ("portfolio_id", enrolled.portfolio_id)):
            if ticket.fields[name] != own:
                return ApiError.invalid_field(name, f"is not that of {deployment_id}")
        return None
