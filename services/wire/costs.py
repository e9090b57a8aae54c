"""What trading costs at the venue: the models of orders, and those that are set."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Final

from google.protobuf.duration_pb2 import Duration
from tickmesh.order.v1 import venue_model_pb2
from tickmesh.order.v1.venue_model_service_pb2 import SetVenueModelRequest

from services.domain.costs import Commission, Costs, Latency, ModelChange, Scope, Slippage, Tier, VenueModel
from services.wire.values import decimal, optional, text

_KEPT: Final = 1024


def commission_from_proto(model: venue_model_pb2.CommissionModel) -> Commission:
    """The commission model."""
    return _commission(model.SerializeToString(deterministic=True))


def slippage_from_proto(model: venue_model_pb2.SlippageModel) -> Slippage:
    """The slippage model."""
    return Slippage(*map(decimal, (model.basis_points, model.spread_share, model.impact)))


def latency_from_proto(model: venue_model_pb2.LatencyModel) -> Latency:
    """The latency model."""
    return Latency(span(model.fixed), span(model.jitter), model.seed)


def model_from_proto(message: venue_model_pb2.VenueModel | SetVenueModelRequest) -> VenueModel:
    """The model that is asked for, or that a version set; its parts where it has them."""
    return VenueModel(
        commission_from_proto(message.commission) if message.HasField("commission") else None,
        slippage_from_proto(message.slippage) if message.HasField("slippage") else None,
        latency_from_proto(message.latency) if message.HasField("latency") else None,
    )


def put_model(message: venue_model_pb2.VenueModel, model: VenueModel) -> None:
    """The same, the other way."""
    commission, slippage = costs_to_proto(Costs(model.commission, model.slippage))
    if commission is not None:
        message.commission.CopyFrom(commission)
    if slippage is not None:
        message.slippage.CopyFrom(slippage)
    if model.latency is not None:
        fixed, jitter = duration(model.latency.fixed), duration(model.latency.jitter)
        message.latency.CopyFrom(venue_model_pb2.LatencyModel(fixed=fixed, jitter=jitter, seed=model.latency.seed))


def change_from_proto(message: venue_model_pb2.VenueModel) -> ModelChange:
    """What a version of a model changed."""
    scope = Scope(message.portfolio_id, message.symbol)
    return ModelChange(message.order_count, scope, None if message.deleted else model_from_proto(message))


def costs_to_proto(
    costs: Costs,
) -> tuple[venue_model_pb2.CommissionModel | None, venue_model_pb2.SlippageModel | None]:
    """The models that an order was taken on."""
    return _commission_to_proto(costs.commission), _slippage_to_proto(costs.slippage)


def span(value: Duration) -> int:
    """A duration in ns."""
    return value.seconds * 1_000_000_000 + value.nanos


def duration(nanoseconds: int) -> Duration:
    """Nanoseconds as the wire's duration."""
    return Duration(seconds=nanoseconds // 1_000_000_000, nanos=nanoseconds % 1_000_000_000)


# The few models that there are come with every event of every order.
@lru_cache(_KEPT)
def _commission(encoded: bytes) -> Commission:
    model = venue_model_pb2.CommissionModel.FromString(encoded)
    return Commission(
        decimal(model.per_order),
        decimal(model.per_unit),
        decimal(model.basis_points),
        tuple(Tier(Decimal(tier.above), Decimal(tier.basis_points)) for tier in model.tiers),
        decimal(model.minimum),
        optional(model.maximum),
    )


@lru_cache(_KEPT)
def _commission_to_proto(model: Commission | None) -> venue_model_pb2.CommissionModel | None:
    if model is None:
        return None
    tiers = [
        venue_model_pb2.CommissionTier(above=text(tier.above), basis_points=text(tier.basis_points))
        for tier in model.tiers
    ]
    return venue_model_pb2.CommissionModel(
        per_order=_given(model.per_order),
        per_unit=_given(model.per_unit),
        basis_points=_given(model.basis_points),
        tiers=tiers,
        minimum=_given(model.minimum),
        maximum="" if model.maximum is None else text(model.maximum),
    )


@lru_cache(_KEPT)
def _slippage_to_proto(model: Slippage | None) -> venue_model_pb2.SlippageModel | None:
    if model is None:
        return None
    parts = map(_given, (model.basis_points, model.spread_share, model.impact))
    return venue_model_pb2.SlippageModel(**dict(zip(("basis_points", "spread_share", "impact"), parts, strict=True)))


def _given(value: Decimal) -> str:
    return text(value) if value else ""
