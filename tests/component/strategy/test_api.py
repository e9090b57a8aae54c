"""The RPCs as clients meet them: answers, lists, streams, and every way to ask for something wrong."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from tickmesh.common.v1 import stream_pb2
from tickmesh.strategy.v1 import strategy_pb2, strategy_service_pb2

from services.chassis.errors import ApiError
from tests.component.strategy.mesh import ENVIRONMENT, Toy, peers, plans, settings_for, strategy_service
from tests.component.strategy.runs import INSTRUMENTS, create, deploy, deploy_both, signals_of, tape_of

UUID = "00000000-0000-4000-8000-00000000000{}"


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[Any]:
    """The service, with a strategy `s0` and a deployment `d0` of it in portfolio p1."""
    async with served(tmp_path) as (stub, _):
        await create(stub, "s0", "sma_cross", ("A", "B"))
        await deploy(stub, "s0", "p1", "d0")
        yield stub


class served:  # noqa: N801 used as a function
    """The service beside a fresh toy."""

    def __init__(self, directory: Path, length: int = 80) -> None:
        self._toy = Toy(tape_of(6, length), INSTRUMENTS, plans(2))
        self._directory = directory

    async def __aenter__(self) -> tuple[Any, Toy]:
        self._peers = peers(self._toy)
        self._service = strategy_service(settings_for(await self._peers.__aenter__(), self._directory))
        return await self._service.__aenter__(), self._toy

    async def __aexit__(self, *error: Any) -> None:
        await self._service.__aexit__(*error)
        await self._peers.__aexit__(*error)


def ask(stub: Any, method: str, **fields: Any) -> Any:
    """A call, its request as JSON would say it."""
    request = getattr(strategy_service_pb2, f"{method}Request")()
    return getattr(stub, method)(ParseDict(fields, request))


STRATEGY = {"kind": "sma_cross", "symbols": ["A"]}


@pytest.mark.parametrize(
    ("method", "fields", "code", "reason"),
    [
        ("CreateStrategy", {**STRATEGY, "kind": ""}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("CreateStrategy", {**STRATEGY, "kind": "no_such"}, "NOT_FOUND", "STRATEGY_KIND_NOT_FOUND"),
        ("CreateStrategy", {**STRATEGY, "kind": "a:b"}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("CreateStrategy", {**STRATEGY, "symbols": []}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("CreateStrategy", {**STRATEGY, "symbols": ["aapl"]}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("CreateStrategy", {**STRATEGY, "symbols": ["A", "A"]}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("CreateStrategy", {**STRATEGY, "strategy_id": "x" * 10_000}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("CreateStrategy", {**STRATEGY, "strategy_id": "a:b"}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("CreateStrategy", {**STRATEGY, "strategy_id": "s0"}, "ALREADY_EXISTS", "ALREADY_EXISTS"),
        ("CreateStrategy", {**STRATEGY, "request_id": "1"}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        *(
            (
                "CreateStrategy",
                {**STRATEGY, "parameters": parameters},
                "INVALID_ARGUMENT",
                "STRATEGY_PARAMETERS_INVALID",
            )
            for parameters in (
                {"fats": "10"},
                {"fast": "ten"},
                {"fast": "0"},
                {"fast": "-1"},
                {"fast": "1.5"},
                {"fast": "9" * 1000},
                {"fast": "30", "slow": "30"},
                {"quantity": "NaN"},
                {"quantity": "1e5"},
                {"quantity": ".5"},
                {"quantity": "1" * 19},
                {"quantity": "-1"},
                {"quantity": "10", "cash_quantity": "100"},
                {"time_in_force": "FOK"},
            )
        ),
        ("CreateStrategy", {**STRATEGY, "parameters": {"x" * 65: "1"}}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("GetStrategy", {}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("GetStrategy", {"strategy_id": "nobody"}, "NOT_FOUND", "STRATEGY_NOT_FOUND"),
        ("DeployStrategy", {"portfolio_id": "p1"}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("DeployStrategy", {"strategy_id": "s0"}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("DeployStrategy", {"strategy_id": "nobody", "portfolio_id": "p1"}, "NOT_FOUND", "STRATEGY_NOT_FOUND"),
        ("DeployStrategy", {"strategy_id": "s0", "portfolio_id": "no"}, "NOT_FOUND", "PORTFOLIO_NOT_FOUND"),
        (
            "DeployStrategy",
            {"strategy_id": "s0", "portfolio_id": "p2", "deployment_id": "d0"},
            "ALREADY_EXISTS",
            "ALREADY_EXISTS",
        ),
        ("StopStrategy", {"strategy_id": "nobody"}, "NOT_FOUND", "STRATEGY_NOT_FOUND"),
        ("StopStrategy", {"strategy_id": "s0", "deployment_id": "no"}, "NOT_FOUND", "DEPLOYMENT_NOT_FOUND"),
        ("GetDeployment", {"deployment_id": "no"}, "NOT_FOUND", "DEPLOYMENT_NOT_FOUND"),
        ("ListStrategyKinds", {"page_size": -1}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ("ListStrategies", {"page_size": 1001}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        *(
            (method, {"page_token": token}, "INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")
            for method in ("ListStrategyKinds", "ListStrategies", "ListDeployments", "ListSignals")
            for token in ("x", "AAAAAAA")
        ),
    ],
)
async def test_bad_input_has_its_reason_and_changes_nothing(
    stub: Any, method: str, fields: dict[str, Any], code: str, reason: str
) -> None:
    before = await ask(stub, "ListStrategies"), await ask(stub, "ListDeployments")
    with pytest.raises(ApiError) as refused:
        await ask(stub, method, **fields)
    assert (refused.value.code, refused.value.reason) == (grpc.StatusCode[code], reason)
    assert (await ask(stub, "ListStrategies"), await ask(stub, "ListDeployments")) == before


async def test_a_wrong_parameter_is_named(stub: Any) -> None:
    with pytest.raises(ApiError) as refused:
        await ask(stub, "CreateStrategy", **STRATEGY, parameters={"fast": "0"})
    (violation,) = refused.value.field_violations
    assert (violation.field, violation.description) == ('parameters["fast"]', "0 is below its minimum 1")


async def test_kinds_say_what_they_take(stub: Any) -> None:
    first = await ask(stub, "ListStrategyKinds", page_size=1)
    rest = await ask(stub, "ListStrategyKinds", page_token=first.next_page_token)
    kinds = {kind.kind: kind for kind in [*first.strategy_kinds, *rest.strategy_kinds]}
    assert list(kinds) == ["mean_reversion", "sma_cross"]
    assert not rest.next_page_token
    parameters = {each.name: each for each in kinds["sma_cross"].parameters}
    assert parameters["fast"] == strategy_pb2.Parameter(
        name="fast",
        type=strategy_pb2.PARAMETER_TYPE_INTEGER,
        description="Bars in the fast average.",
        default_value="10",
        minimum="1",
        maximum="10000",
    )
    assert kinds["sma_cross"].origin == "built-in"


async def test_a_strategy_comes_back_with_all_its_parameters(stub: Any) -> None:
    made = await ask(stub, "CreateStrategy", **STRATEGY, parameters={"fast": " 5 ", "quantity": "7.50"})
    assert (made.strategy_id, made.display_name, made.principal) == ("sma_cross-2", "sma_cross-2", "local")
    assert made.parameters["fast"] == "5"
    assert made.parameters["quantity"] == "7.50"
    assert made.parameters["slow"] == "30"
    assert await ask(stub, "GetStrategy", strategy_id=made.strategy_id) == made


async def test_a_request_id_makes_one_thing_only(stub: Any) -> None:
    wanted = {**STRATEGY, "request_id": UUID.format(1)}
    first = await ask(stub, "CreateStrategy", **wanted)
    assert await ask(stub, "CreateStrategy", **wanted) == first
    for other in ({"symbols": ["B"]}, {"strategy_id": "another"}, {"parameters": {"fast": "9"}}):
        with pytest.raises(ApiError) as refused:
            await ask(stub, "CreateStrategy", **{**wanted, **other})
        assert refused.value.reason == "REQUEST_ID_REUSED"
        assert refused.value.metadata == {"strategy_id": first.strategy_id}
    deployment = {"strategy_id": "s0", "portfolio_id": "p2", "request_id": UUID.format(2)}
    deployed = await ask(stub, "DeployStrategy", **deployment)
    assert await ask(stub, "DeployStrategy", **deployment) == deployed
    with pytest.raises(ApiError) as refused:
        await ask(stub, "DeployStrategy", **{**deployment, "portfolio_id": "p1"})
    assert refused.value.metadata == {"deployment_id": deployed.deployment_id}


async def test_lists_are_filtered_and_come_in_pages(stub: Any) -> None:
    for n in range(1, 5):
        await create(stub, f"s{n}", "sma_cross")
        await deploy(stub, f"s{n % 2}", "p2")
    assert await pages(stub, "ListStrategies", "strategies", "strategy_id") == [f"s{n}" for n in range(5)]
    of_s1 = await pages(stub, "ListDeployments", "deployments", "deployment_id", strategy_id="s1")
    assert of_s1 == ["s1-1", "s1-2"]
    all_of_it = await pages(stub, "ListDeployments", "deployments", "deployment_id", environment_id=ENVIRONMENT)
    assert all_of_it == ["d0", "s1-1", "s0-2", "s1-2", "s0-3"]
    with pytest.raises(ApiError) as unknown:
        await ask(stub, "ListDeployments", environment_id="another")
    assert unknown.value.reason == "ENVIRONMENT_NOT_FOUND"
    token = (await ask(stub, "ListStrategies", page_size=1)).next_page_token
    for method, fields in (("ListDeployments", {}), ("ListSignals", {}), ("ListStrategyKinds", {})):
        with pytest.raises(ApiError) as refused:
            await ask(stub, method, page_token=token, **fields)
        assert refused.value.reason == "PAGE_TOKEN_INVALID"


async def pages(stub: Any, method: str, field: str, key: str, **fields: Any) -> list[str]:
    """The keys of a whole list, two a page."""
    found: list[str] = []
    token = ""
    while True:
        page = await ask(stub, method, page_size=2, page_token=token, **fields)
        assert len(getattr(page, field)) <= 2
        found += [str(getattr(each, key)) for each in getattr(page, field)]
        token = page.next_page_token
        if not token:
            return found


async def test_signals_are_listed_and_streamed_alike_and_a_stream_resumes_where_it_broke(tmp_path: Path) -> None:
    async with served(tmp_path) as (stub, toy):
        assert not (await ask(stub, "ListSignals")).signals
        await deploy_both(stub)
        live = asyncio.create_task(read(stub, 10, environment_id=ENVIRONMENT))
        await asyncio.sleep(0.1)
        await toy.run(200)
        listed = await signals_of(stub)
        assert len(listed) > 12
        assert await ask(stub, "ListSignals") == strategy_service_pb2.ListSignalsResponse(signals=listed)
        messages = await live
        streamed = [signal for message in messages for signal in message.signals.signals]
        assert streamed == listed[: len(streamed)]
        again = {"environment_id": ENVIRONMENT, "resume_token": messages[-1].resume_token}
        resumed = await read(stub, len(listed) - len(streamed), **again)
        assert [signal for message in resumed for signal in message.signals.signals] == listed[len(streamed) :]
        assert resumed[0].previous_sequence == messages[-1].sequence or not resumed[0].HasField("signals")
        past = await read(stub, 5, after_sequence=3)
        assert past[-1].signals.signals[-5:][0].sequence > 3
        mine = [each for each in listed if each.deployment_id == "d2"]
        own = await read(stub, len(mine), deployment_id="d2", after_sequence=0)
        assert [signal for message in own for signal in message.signals.signals] == mine
        beat = await quiet(stub, deployment_id="d1", after_sequence=str(mine[-1].sequence - 1))
        beaten = await quiet(stub, deployment_id="d1", resume_token=beat.resume_token)
        assert beaten.previous_sequence == beat.sequence
        assert (await ask(stub, "ListSignals", deployment_id="d2", symbol="B")).signals == [
            each for each in mine if each.symbol == "B"
        ]
        for each in (listed[0], listed[-1]):
            assert (await ask(stub, "ListSignals", signal_id=each.signal_id)).signals == [each]
        for name, fields in (
            ("DEPLOYMENT", {"deployment_id": "nobody"}),
            ("DEPLOYMENT", {"deployment_id": "nobody", "environment_id": ENVIRONMENT}),
            ("DEPLOYMENT", {"deployment_id": "d2", "environment_id": "another"}),
            ("ENVIRONMENT", {"environment_id": "another"}),
        ):
            for call in (ask(stub, "ListSignals", **fields), read(stub, 1, **fields)):
                with pytest.raises(ApiError) as unknown:
                    await call
                assert unknown.value.reason == f"{name}_NOT_FOUND"
        for fields, reason in (
            ({"resume_token": "x"}, "RESUME_TOKEN_INVALID"),
            (again | {"after_sequence": "1"}, "INVALID_ARGUMENT"),
            (again | {"deployment_id": "d2"}, "RESUME_TOKEN_FILTER_MISMATCH"),
            ({"environment_id": "another"}, "ENVIRONMENT_NOT_FOUND"),
        ):
            with pytest.raises(ApiError) as refused:
                await read(stub, 1, **fields)
            assert (refused.value.code.name[:5], refused.value.reason) == (
                "NOT_F" if reason.endswith("FOUND") else "INVAL",
                reason,
            )


async def test_a_stream_heartbeats_resets_and_closes(tmp_path: Path) -> None:
    async with served(tmp_path) as (stub, toy):
        await deploy_both(stub)
        await toy.run(100)
        head = len(await signals_of(stub))
        first = await anext(aiter(ask(stub, "StreamSignals")))
        assert first.heartbeat.scanned_sequence == head
        assert (first.partition, first.sequence, first.previous_sequence) == (ENVIRONMENT, head, head)
        ahead = await anext(aiter(ask(stub, "StreamSignals", after_sequence=str(head + 5))))
        assert ahead.reset.reason == stream_pb2.RESET_REASON_TOKEN_EXPIRED
        assert ahead.sequence == head
        token = first.resume_token
    async with served(tmp_path / "anew") as (stub, toy):
        await deploy_both(stub)
        await toy.run(100)
        stream = aiter(ask(stub, "StreamSignals", resume_token=token))
        assert (await anext(stream)).HasField("reset")
        await anext(stream)
        closing = asyncio.create_task(last(stream))
    message, error = await closing
    assert message.closed.status.code == grpc.StatusCode.UNAVAILABLE.value[0]
    assert error.reason == "SERVICE_UNAVAILABLE"


async def read(stub: Any, count: int, **fields: Any) -> list[Any]:
    """Messages of a stream until they have brought so many signals."""
    found: list[Any] = []
    async with asyncio.timeout(30):
        async for message in ask(stub, "StreamSignals", **fields):
            found.append(message)
            if sum(len(each.signals.signals) for each in found) >= count:
                break
    sequences = [message.sequence for message in found]
    assert [message.previous_sequence for message in found[1:]] == sequences[:-1]
    return found


async def quiet(stub: Any, **fields: Any) -> Any:
    """The first heartbeat of a stream."""
    async with asyncio.timeout(30):
        async for message in ask(stub, "StreamSignals", **fields):
            if message.HasField("heartbeat"):
                return message
    pytest.fail("the stream ended")


async def last(stream: Any) -> tuple[Any, ApiError]:
    """The last message of a stream, and what it ended with."""
    message = None
    try:
        while True:
            message = await anext(stream)
    except ApiError as error:
        return message, error
