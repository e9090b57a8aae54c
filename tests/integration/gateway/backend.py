"""A service behind the edge: real gRPC on the chassis, a few RPCs of several services, answers made for tests."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import tickmesh
from tickmesh.common.v1 import stream_pb2
from tickmesh.marketdata.v1 import (
    environment_pb2,
    environment_service_pb2,
    environment_service_pb2_grpc,
    market_data_pb2,
    market_data_service_pb2,
    market_data_service_pb2_grpc,
)
from tickmesh.order.v1 import order_pb2, order_service_pb2, order_service_pb2_grpc
from tickmesh.risk.v1 import risk_gate_service_pb2, risk_gate_service_pb2_grpc
from tickmesh.strategy.v1 import strategy_pb2, strategy_service_pb2, strategy_service_pb2_grpc

from services.chassis.calls.server import Server, run
from services.chassis.errors import ApiError
from services.chassis.settings import ServiceSettings, load


class BackendSettings(ServiceSettings):
    """It borrows a name of the catalog."""

    service: ClassVar[str] = "order"


class Orders(order_service_pb2_grpc.OrderServiceServicer):
    async def CreateOrder(self, request: order_service_pb2.CreateOrderRequest, context: Any) -> order_pb2.Order:
        seen = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        return order_pb2.Order(
            order_id="r1-1",
            client_order_id=request.client_order_id,
            symbol=request.symbol,
            side=request.side,
            quantity=request.quantity,
            owner=json.dumps(seen) if request.label == "metadata" else "",
        )

    async def GetOrder(self, request: order_service_pb2.GetOrderRequest, context: Any) -> order_pb2.Order:
        match request.order_id:
            case "slow":
                # Longer than the edge waits where a test says so, not as long as it does by itself.
                await asyncio.sleep(10)
            case "broken":
                os.kill(os.getpid(), signal.SIGKILL)
            case "funds":
                raise ApiError.failed_precondition(
                    "INSUFFICIENT_BUYING_POWER", "Not enough cash.", kind="FUNDS", metadata={"missing": "250.00"}
                )
            case "big":
                return order_pb2.Order(order_id="big", label="x" * 20_000_000)
        raise ApiError.not_found("order", request.order_id, "ORDER_NOT_FOUND")

    async def StreamOrderEvents(
        self, request: order_service_pb2.StreamOrderEventsRequest, context: Any
    ) -> AsyncIterator[order_service_pb2.StreamOrderEventsResponse]:
        """Numbers from the token on, ten a second; after 3 a stream of the portfolio `ends` fails as ours do."""
        number = int(request.resume_token or "0")
        while True:
            number += 1
            token = str(number)
            yield order_service_pb2.StreamOrderEventsResponse(sequence=number, resume_token=token, partition="r1")
            if request.portfolio_id == "ends" and number == 3:
                error = ApiError.unavailable("SERVICE_UNAVAILABLE", "The service is restarting; connect again.")
                yield order_service_pb2.StreamOrderEventsResponse(closed=stream_pb2.Closed(status=error.to_status()))
                raise error
            await asyncio.sleep(0.1)


class MarketData(market_data_service_pb2_grpc.MarketDataServiceServicer):
    async def GetQuote(self, request: market_data_service_pb2.GetQuoteRequest, context: Any) -> market_data_pb2.Quote:
        return market_data_pb2.Quote(symbol=request.symbol)

    async def StreamMarketData(
        self, request: market_data_service_pb2.StreamMarketDataRequest, context: Any
    ) -> AsyncIterator[market_data_service_pb2.StreamMarketDataResponse]:
        """Big messages, as fast as they are taken."""
        quote = market_data_pb2.Quote(symbol="AAPL", last_price="1.0001")
        rows = market_data_pb2.MarketDataRows(quotes=[quote] * 500)
        for number in range(1, 201):
            yield market_data_service_pb2.StreamMarketDataResponse(sequence=number, rows=rows)


class Environments(environment_service_pb2_grpc.EnvironmentServiceServicer):
    async def CreateReplay(
        self, request: environment_service_pb2.CreateReplayRequest, context: Any
    ) -> environment_pb2.Environment:
        return environment_pb2.Environment(environment_id=request.environment_id, pace=request.pace)


class Strategies(strategy_service_pb2_grpc.StrategyServiceServicer):
    async def CreateStrategy(
        self, request: strategy_service_pb2.CreateStrategyRequest, context: Any
    ) -> strategy_pb2.Strategy:
        return strategy_pb2.Strategy(strategy_id=request.strategy_id, parameters=request.parameters)


class Gate(risk_gate_service_pb2_grpc.RiskGateServiceServicer):
    async def CheckOrders(
        self, requests: AsyncIterator[risk_gate_service_pb2.CheckOrdersRequest], context: Any
    ) -> AsyncIterator[risk_gate_service_pb2.CheckOrdersResponse]:
        async for _ in requests:
            yield risk_gate_service_pb2.CheckOrdersResponse()


async def main() -> None:
    """Serves until killed, and says on which port."""
    server = Server(load(BackendSettings))
    server.add(order_service_pb2_grpc.add_OrderServiceServicer_to_server, Orders())
    server.add(market_data_service_pb2_grpc.add_MarketDataServiceServicer_to_server, MarketData())
    server.add(environment_service_pb2_grpc.add_EnvironmentServiceServicer_to_server, Environments())
    server.add(strategy_service_pb2_grpc.add_StrategyServiceServicer_to_server, Strategies())
    server.add(risk_gate_service_pb2_grpc.add_RiskGateServiceServicer_to_server, Gate())
    server.reflect(tickmesh)
    sys.stdout.write(f"{await server.start()}\n")
    sys.stdout.flush()
    await server.draining.wait()


if __name__ == "__main__":
    run(main)
