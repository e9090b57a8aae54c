"""Instruments."""

from __future__ import annotations

from decimal import Decimal

from tickmesh.marketdata.v1 import instrument_pb2

from services.domain.instrument import Instrument


def instrument_from_proto(message: instrument_pb2.Instrument) -> Instrument:
    """What can be traded; lots and contracts are of one unit where nothing is said."""
    return Instrument(
        symbol=message.symbol,
        name=message.display_name,
        currency_code=message.currency_code,
        calendar=message.calendar,
        price_increment=Decimal(message.price_increment),
        quantity_increment=Decimal(message.quantity_increment),
        lot_size=Decimal(message.lot_size or 1),
        contract_multiplier=Decimal(message.contract_multiplier or 1),
    )
