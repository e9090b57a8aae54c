"""What the order path promises to clients who all ask at once, through the real services (rule 4, contract)."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import grpc
import pytest
from tickmesh.common.v1 import money_pb2, side_pb2
from tickmesh.marketdata.v1 import environment_service_pb2
from tickmesh.order.v1 import order_pb2, order_service_pb2
from tickmesh.portfolio.v1 import portfolio_service_pb2
from tickmesh.risk.v1 import risk_pb2, risk_service_pb2

from services.chassis.errors import ApiError
from tests.e2e.books import risk_at
from tests.e2e.conftest import Meshes
from tests.e2e.mesh import Clients, repeated

ENVIRONMENT = "still"
TRIES = 1_000


async def stand_still(clients: Clients) -> None:
    """An environment whose time does not move: orders are checked and rest."""
    request = environment_service_pb2.CreateReplayRequest(
        environment_id=ENVIRONMENT, data_set_id="us-daily", symbols=["IBM"], warm_up_sessions=20
    )
    await repeated(clients.environments.CreateReplay, request, each=60.0)


async def open_portfolio(clients: Clients, portfolio_id: str, cash: str) -> None:
    """A portfolio with cash, ready for orders."""
    request = portfolio_service_pb2.CreatePortfolioRequest(
        portfolio_id=portfolio_id,
        environment_id=ENVIRONMENT,
        initial_cash=money_pb2.Money(currency_code="USD", amount=cash),
    )
    await repeated(clients.portfolios.CreatePortfolio, request)


def buy(portfolio_id: str, client_order_id: str, quantity: str) -> order_service_pb2.CreateOrderRequest:
    """A resting order to buy at 100."""
    return order_service_pb2.CreateOrderRequest(
        portfolio_id=portfolio_id,
        client_order_id=client_order_id,
        symbol="IBM",
        side=side_pb2.SIDE_BUY,
        order_type=order_pb2.ORDER_TYPE_LIMIT,
        time_in_force=order_pb2.TIME_IN_FORCE_GTC,
        quantity=quantity,
        limit_price="100",
    )


async def outcome(call: Any) -> order_pb2.Order | ApiError:
    """The answer, or the refusal."""
    try:
        answer: order_pb2.Order = await call
    except ApiError as error:
        assert error.code is grpc.StatusCode.FAILED_PRECONDITION, error  # noqa: PT017 any other is wrong
        return error
    return answer


async def test_the_same_order_sent_100_times_in_parallel_is_one_order(meshes: Meshes) -> None:
    async with meshes() as mesh, mesh.clients() as clients:
        await stand_still(clients)
        await open_portfolio(clients, "p", "1000000")
        request = buy("p", "once", "5")
        # The first of an environment waits until its gate has been opened.
        answers = await asyncio.gather(*(repeated(clients.orders.CreateOrder, request) for _ in range(100)))
        assert len({answer.order_id for answer in answers}) == 1
        listed = await clients.orders.ListOrders(order_service_pb2.ListOrdersRequest(portfolio_id="p"))
        assert [each.client_order_id for each in listed.orders] == ["once"]
        risk = await risk_at(clients, "p", answers[0].last_event_sequence)
        assert (Decimal(risk.reserved_cash), risk.reservation_count) == (500, 1)


async def test_rule_19_a_buy_beyond_cash_is_refused_with_the_amount_missing(meshes: Meshes) -> None:
    async with meshes() as mesh, mesh.clients() as clients:
        await stand_still(clients)
        await open_portfolio(clients, "p", "1000")
        await repeated(clients.orders.CreateOrder, buy("p", "fits", "7"))
        error = await outcome(clients.orders.CreateOrder(buy("p", "beyond", "4")))
        assert isinstance(error, ApiError)
        assert error.reason == "INSUFFICIENT_BUYING_POWER"
        amounts = {name: Decimal(error.metadata[name]) for name in ("bound", "value", "missing")}
        assert amounts == {"bound": 300, "value": 400, "missing": 100}
        again = await outcome(clients.orders.CreateOrder(buy("p", "beyond", "4")))
        assert isinstance(again, ApiError)
        assert (again.reason, again.metadata) == (error.reason, error.metadata)


@pytest.mark.timeout(240)
async def test_rule_4_of_two_orders_that_fit_only_singly_exactly_one_passes(meshes: Meshes) -> None:
    async with meshes() as mesh, mesh.clients() as clients:
        await stand_still(clients)
        # Many portfolios at once share the checks' batches; half of them have the cash, but not the limit, for both.
        portfolios = [(f"cash-{n}", "10000") for n in range(10)] + [(f"limit-{n}", "1000000") for n in range(10)]
        for portfolio_id, cash in portfolios:
            await open_portfolio(clients, portfolio_id, cash)
            if portfolio_id.startswith("limit"):
                limit = risk_service_pb2.SetLimitRequest(
                    environment_id=ENVIRONMENT,
                    portfolio_id=portfolio_id,
                    limit_type=risk_pb2.LIMIT_TYPE_MAX_POSITION_QUANTITY,
                    bound="100",
                )
                await repeated(clients.risk.SetLimit, limit)
            ready = await repeated(clients.orders.CreateOrder, buy(portfolio_id, "first", "1"))
            await clients.orders.CancelOrder(order_service_pb2.CancelOrderRequest(order_id=ready.order_id))

        async def try_both(portfolio_id: str, tries: int) -> None:
            head = 0
            reason = "INSUFFICIENT_BUYING_POWER" if portfolio_id.startswith("cash") else "LIMIT_EXCEEDED"
            for number in range(tries):
                both = (buy(portfolio_id, f"{number}-{each}", "60") for each in "ab")
                answers = await asyncio.gather(*(outcome(clients.orders.CreateOrder(each)) for each in both))
                (refused,) = (each for each in answers if isinstance(each, ApiError))
                (passed,) = (each for each in answers if not isinstance(each, ApiError))
                assert refused.reason == reason
                cancel = order_service_pb2.CancelOrderRequest(order_id=passed.order_id)
                head = (await clients.orders.CancelOrder(cancel)).last_event_sequence
            risk = await risk_at(clients, portfolio_id, head)
            assert (Decimal(risk.reserved_cash), risk.reservation_count) == (0, 0)

        await asyncio.gather(*(try_both(portfolio_id, TRIES // len(portfolios)) for portfolio_id, _ in portfolios))
