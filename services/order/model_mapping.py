"""Venue models between requests, what is stored and the domain: pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise
from typing import Final, NamedTuple

from tickmesh.order.v1 import venue_model_pb2, venue_model_service_pb2

from services.chassis.errors import ApiError
from services.domain.costs import Scope, VenueModel
from services.wire.costs import model_from_proto, put_model
from services.wire.values import nanoseconds, timestamp

_LARGEST: Final = {
    "commission.basis_points": Decimal(10_000),
    "commission.maximum_basis_points": Decimal(10_000),
    "slippage.basis_points": Decimal(10_000),
    "slippage.spread_share": Decimal(100),
    "slippage.impact": Decimal(1),
    "fills.volume_share": Decimal(1),
}


class Version(NamedTuple):
    """One version of a model.

    Attributes:
        sequence: its number among all versions of its environment.
        model: of one that was taken away, what it was.
        number: from 1, among the versions of its scope.
        order_count: it holds for the environment's orders with a number above this.
        update_time: wall time, ns.
    """

    environment_id: str
    sequence: int
    scope: Scope
    model: VenueModel
    deleted: bool
    number: int
    tape_sequence: int
    order_count: int
    update_time: int
    principal: str


def model_id(environment_id: str, scope: Scope) -> str:
    """`{environment_id}~{portfolio_id}~{symbol}`, none of which has a `~` of its own."""
    return f"{environment_id}~{scope.portfolio_id}~{scope.symbol}"


def asked_model(request: venue_model_service_pb2.SetVenueModelRequest) -> VenueModel:
    """What a validated request asks for.

    Raises:
        ApiError: INVALID_ARGUMENT where a rate or a share is beyond its maximum, tiers do not ascend, a maximum is
            below its minimum, or what is taken in units is not of basis points alone.
    """
    for path, largest in _LARGEST.items():
        part, _, name = path.partition(".")
        given = getattr(getattr(request, part), name)
        if given and Decimal(given) > largest:
            raise ApiError.invalid_field(path, f"must be at most {largest}")
    commission = request.commission
    bounds = (commission.minimum, commission.maximum, commission.maximum_basis_points)
    if commission.in_units and any((commission.per_order, commission.per_unit, *bounds, *commission.tiers)):
        raise ApiError.invalid_field("commission.in_units", "must be of basis points alone")
    if commission.in_units and not commission.basis_points:
        raise ApiError.invalid_field("commission.basis_points", "must be given with in_units")
    if any(Decimal(tier.basis_points) > _LARGEST["commission.basis_points"] for tier in commission.tiers):
        raise ApiError.invalid_field("commission.tiers", "must be of at most 10000 basis points")
    above = [Decimal(tier.above) for tier in commission.tiers]
    if above and (above[0] or any(after <= before for before, after in pairwise(above))):
        raise ApiError.invalid_field("commission.tiers", "must begin at 0 and ascend by `above`")
    if commission.maximum and Decimal(commission.maximum) < Decimal(commission.minimum or 0):
        raise ApiError.invalid_field("commission.maximum", "must be at least minimum")
    return model_from_proto(request)


def version_to_proto(version: Version) -> venue_model_pb2.VenueModel:
    """A version as it is stored, answered and listed."""
    message = venue_model_pb2.VenueModel(
        venue_model_id=model_id(version.environment_id, version.scope),
        environment_id=version.environment_id,
        portfolio_id=version.scope.portfolio_id,
        symbol=version.scope.symbol,
        version=version.number,
        deleted=version.deleted,
        tape_sequence=version.tape_sequence,
        order_count=version.order_count,
        sequence=version.sequence,
        update_time=timestamp(version.update_time),
        principal=version.principal,
    )
    put_model(message, version.model)
    return message


def version_from_proto(message: venue_model_pb2.VenueModel) -> Version:
    """The same read back."""
    return Version(
        environment_id=message.environment_id,
        sequence=message.sequence,
        scope=Scope(message.portfolio_id, message.symbol),
        model=model_from_proto(message),
        deleted=message.deleted,
        number=message.version,
        tape_sequence=message.tape_sequence,
        order_count=message.order_count,
        update_time=nanoseconds(message.update_time),
        principal=message.principal,
    )


def decode_model(payload: bytes) -> venue_model_pb2.VenueModel:
    """A stored version."""
    return venue_model_pb2.VenueModel.FromString(payload)


def holding(versions: Iterable[venue_model_pb2.VenueModel]) -> list[venue_model_pb2.VenueModel]:
    """Of versions in order, those that hold."""
    last = {each.venue_model_id: each for each in versions}
    return sorted((each for each in last.values() if not each.deleted), key=lambda each: each.sequence)
