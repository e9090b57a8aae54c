"""What trading costs at the venue and how it fills: the models of orders, and those that are set."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from tickmesh.order.v1 import order_pb2, venue_model_pb2
from tickmesh.order.v1.venue_model_service_pb2 import SetVenueModelRequest

from services.domain.costs import Commission, Costs, Latency, ModelChange, Scope, Slippage, Tier, VenueModel
from services.domain.filling import BarPath, FillModel, VenueSettings, settled
from services.domain.money import ZERO
from services.domain.orders.order import Order
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


def fills_from_proto(model: venue_model_pb2.FillModel) -> FillModel:
    """What it says of how orders fill."""
    return FillModel(
        model.fill_on_touch if model.HasField("fill_on_touch") else None,
        optional(model.volume_share),
        model.hold_day_orders if model.HasField("hold_day_orders") else None,
        BarPath(model.bar_path) if model.bar_path else None,
    )


def settings_from_proto(model: venue_model_pb2.FillModel) -> VenueSettings:
    """The settings that an order was taken on: all of them."""
    return _settings(model.SerializeToString(deterministic=True))


def settings_to_proto(settings: VenueSettings) -> venue_model_pb2.FillModel:
    """The same, the other way."""
    share = settings.volume_share or ZERO
    return fills_to_proto(FillModel(settings.fill_on_touch, share, settings.hold_day_orders, settings.bar_path))


def fills_to_proto(model: FillModel) -> venue_model_pb2.FillModel:
    """What is said of how orders fill."""
    message = venue_model_pb2.FillModel(fill_on_touch=model.fill_on_touch, hold_day_orders=model.hold_day_orders)
    if model.volume_share is not None:
        message.volume_share = text(model.volume_share)
    if model.bar_path is not None:
        path: Any = model.bar_path.value
        message.bar_path = path
    return message


def model_from_proto(message: venue_model_pb2.VenueModel | SetVenueModelRequest) -> VenueModel:
    """The model that is asked for, or that a version set; its parts where it has them."""
    return VenueModel(
        commission_from_proto(message.commission) if message.HasField("commission") else None,
        slippage_from_proto(message.slippage) if message.HasField("slippage") else None,
        latency_from_proto(message.latency) if message.HasField("latency") else None,
        fills_from_proto(message.fills) if message.HasField("fills") else None,
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
    if model.fills is not None:
        message.fills.CopyFrom(fills_to_proto(model.fills))


def change_from_proto(message: venue_model_pb2.VenueModel) -> ModelChange:
    """What a version of a model changed."""
    scope = Scope(message.portfolio_id, message.symbol)
    return ModelChange(message.order_count, scope, None if message.deleted else model_from_proto(message))


def put_terms(message: order_pb2.Order, order: Order) -> None:
    """The models that an order was taken on."""
    if order.costs is not None:
        commission, slippage = costs_to_proto(order.costs)
        if commission is not None:
            message.commission_model.CopyFrom(commission)
        if slippage is not None:
            message.slippage_model.CopyFrom(slippage)
    if order.fill_settings is not None:
        message.fill_model.CopyFrom(settings_to_proto(order.fill_settings))


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
        optional(model.maximum_basis_points),
        model.in_units,
    )


@lru_cache(_KEPT)
def _settings(encoded: bytes) -> VenueSettings:
    return settled([fills_from_proto(venue_model_pb2.FillModel.FromString(encoded))], VenueSettings())


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
        maximum_basis_points="" if model.maximum_basis_points is None else text(model.maximum_basis_points),
        in_units=model.in_units,
    )


@lru_cache(_KEPT)
def _slippage_to_proto(model: Slippage | None) -> venue_model_pb2.SlippageModel | None:
    if model is None:
        return None
    parts = map(_given, (model.basis_points, model.spread_share, model.impact))
    return venue_model_pb2.SlippageModel(**dict(zip(("basis_points", "spread_share", "impact"), parts, strict=True)))


def _given(value: Decimal) -> str:
    return text(value) if value else ""
