"""The cycle of a replay (behaviour rules 31 to 34), spoken by participants over the real protocol."""

import asyncio
import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from tickmesh.marketdata.v1 import environment_pb2, tape_service_pb2

from services.chassis.errors import ApiError
from services.domain.tape import Kind
from tests.component.marketdata.support import (
    Client,
    Peer,
    Request,
    StrategyPeer,
    Wire,
    client_of,
    copied,
    inner_of,
    running,
    seat,
)

SHORT = {"symbols": ["AAPL"], "start_time": {"seconds": 1356998400}}  # 2013: 40 sessions, 120 records


def cycles(peer: Peer, kind: str) -> list[int]:
    return [each.cycle for each in peer.heard(kind)]


async def kinds_of(client: Client, environment_id: str) -> list[int]:
    """The kind of each record of a tape, by position; element 0 is none."""
    kinds, sources = [0], []
    async for chunk in client.tapes.ReadTape(tape_service_pb2.ReadTapeRequest(environment_id=environment_id)):
        sources = sources or [each.kind for each in chunk.sources]
        kinds += [sources[i] for i in chunk.source]
    return kinds


def leaving(environment_id: str, deployment_id: str) -> Request:
    leave = Wire.Leave(environment_id=environment_id, deployment_id=deployment_id)
    leave.seat_token = f"seat-of-{deployment_id}"
    return Request(leave=leave)


async def test_rule_31_the_tape_is_merged_once_and_gapless(client: Client) -> None:
    made = await client.create(symbols=["AAPL", "MSFT"])
    request = tape_service_pb2.ReadTapeRequest(environment_id=made.environment_id)
    chunks = [chunk async for chunk in client.tapes.ReadTape(request)]
    assert [chunk.first_sequence for chunk in chunks] == list(range(1, made.end_sequence + 1, 4096))
    assert sum(len(chunk.time) for chunk in chunks) == made.end_sequence == chunks[-1].end_sequence
    assert all(5 * len(chunk.time) == len(chunk.values) == 5 * len(chunk.source) for chunk in chunks)
    times = [time for chunk in chunks for time in chunk.time]
    assert times == sorted(times)
    assert {(each.kind, each.symbol) for each in chunks[0].sources} == {
        (Kind.CLOCK, "XNYS"),
        (Kind.SPLIT, "AAPL"),
        (Kind.SPLIT, "MSFT"),
        (Kind.BAR, "AAPL"),
        (Kind.BAR, "MSFT"),
    }
    rest = client.tapes.ReadTape(
        tape_service_pb2.ReadTapeRequest(environment_id=made.environment_id, after_sequence=made.end_sequence - 2)
    )
    assert [(chunk.first_sequence, len(chunk.time)) async for chunk in rest] == [(made.end_sequence - 1, 2)]


async def test_rule_32_a_replay_without_strategies_runs_to_its_end(client: Client) -> None:
    made = await client.create(**SHORT, warm_up_sessions=5)
    assert (made.state, made.start_sequence) == (environment_pb2.ENVIRONMENT_STATE_CREATED, 15)
    assert (made.tape_sequence, made.cycle) == (15, 0)
    async with inner_of(client, made.environment_id) as inner:
        await _until(lambda: inner.venue.heard("idle"))
        await client.move("Start", made.environment_id)
        ended = await client.until_state(made.environment_id, "COMPLETED")
        assert (ended.tape_sequence, ended.market_time.seconds) == (made.end_sequence, 1362171600)
        # Who unblocks it in mid-cycle may make it repeat a grant.
        grants = list(dict.fromkeys((each.cycle, each.through, each.final) for each in inner.venue.heard("grant")))
        assert grants == [(0, 15, False), (1, made.end_sequence, False), (2, made.end_sequence, True)]
        for books in (inner.portfolio, inner.risk):
            folds = list(dict.fromkeys((each.cycle, each.tape_sequence) for each in books.heard("fold")))
            assert folds == [(cycle, through) for cycle, through, _ in grants]
        states = [each.environment.state for each in inner.risk.heard("announced")]
        assert states[-1] == environment_pb2.ENVIRONMENT_STATE_COMPLETED
        assert {each.state for each in inner.venue.heard("idle")} >= {environment_pb2.ENVIRONMENT_STATE_CREATED}


async def test_rule_32_books_fold_portfolio_first_and_risk_hears_of_its_entries(client: Client) -> None:
    made = await client.create(**SHORT)
    async with inner_of(client, made.environment_id, stops=(7, 30)) as inner:
        inner.portfolio.holds.add(("fold", 1))
        await client.move("Start", made.environment_id)
        await _until(lambda: cycles(inner.portfolio, "fold")[-1:] == [1])
        assert cycles(inner.risk, "fold") == [0]
        inner.portfolio.released.set()
        await client.until_state(made.environment_id, "COMPLETED")
        reached = [(each.cycle, each.tape_sequence, each.order_head) for each in inner.portfolio.heard("fold")]
        assert reached[:4] == [(0, 0, 0), (1, 7, 1), (2, 30, 2), (3, made.end_sequence, 2)]
        assert [each.ledger_head for each in inner.risk.heard("fold")][:4] == [0, 2, 4, 4]
        assert {each.ledger_head for each in inner.portfolio.heard("fold")} == {0}


async def test_rule_32_a_cycle_ends_where_a_strategy_wakes_and_they_decide_by_number(client: Client) -> None:
    made = await client.create(**SHORT)
    async with inner_of(client, made.environment_id):
        first, second = (StrategyPeer(client, made.environment_id, *names) for names in (("b", "a"), ("c",)))
        first.up()
        await _until(lambda: len(first.heard("welcome")) == 2)
        second.up()
        await _until(lambda: second.heard("welcome"))
        welcomes = [*first.heard("welcome"), *second.heard("welcome")]
        assert [(each.deployment_id, each.deployment_number) for each in welcomes] == [("b", 1), ("a", 2), ("c", 3)]
        assert {each.start_sequence for each in welcomes} == {0}
        await client.move("Start", made.environment_id)
        await client.until_state(made.environment_id, "COMPLETED")
        kinds = await kinds_of(client, made.environment_id)
        bars = [sequence for sequence, kind in enumerate(kinds) if kind == Kind.BAR]
        assert {names for _, _, names in first.decided} == {("b", "a")}
        # The first cycle has no record: nobody had said what it waits for. The last one ends with the tape.
        assert [sequence for _, sequence, _ in first.decided] == [0, *bars, made.end_sequence]
        assert [each[:2] for each in second.decided] == [each[:2] for each in first.decided]
        assert {each.environment.state for each in second.heard("announced")} >= {
            environment_pb2.ENVIRONMENT_STATE_COMPLETED
        }
        for peer in (first, second):
            await peer.down()


async def test_a_wake_said_at_joining_needs_no_empty_cycle(client: Client) -> None:
    made = await client.create(**SHORT)
    async with inner_of(client, made.environment_id) as inner:
        strategy = StrategyPeer(client, made.environment_id, "d")
        joins = strategy.joins()
        joins[0].join.next_wake.CopyFrom(Wire.NextWake(tape_sequence=50))
        strategy.joins = lambda: joins  # type: ignore[method-assign]
        strategy.up()
        await _until(lambda: strategy.heard("welcome"))
        await client.move("Start", made.environment_id)
        await client.until_state(made.environment_id, "COMPLETED")
        assert strategy.decided[0][:2] == (1, 50)
        assert inner.venue.heard("grant")[1].through == 50
        await strategy.down()


async def test_a_strategy_that_leaves_is_not_waited_for(client: Client) -> None:
    made = await client.create(**SHORT)
    async with inner_of(client, made.environment_id):
        strategy = StrategyPeer(client, made.environment_id, "goes", "stays")
        strategy.holds.add(("decide", 3))
        strategy.up()
        await _until(lambda: len(strategy.heard("welcome")) == 2)
        await client.move("Start", made.environment_id)
        await _until(lambda: cycles(strategy, "decide")[-1:] == [3])
        assert await strategy.leave("goes") is grpc.aio.EOF
        strategy.released.set()
        await client.until_state(made.environment_id, "COMPLETED")
        assert {names for cycle, _, names in strategy.decided if cycle > 3} == {("stays",)}
        late = StrategyPeer(client, made.environment_id, "goes", "late")
        late.up()
        await _until(lambda: late.heard("announced"))
        assert not late.heard("decide")
        await late.down()
        await strategy.down()


async def test_rule_33_a_seat_is_its_holders_alone(client: Client) -> None:
    made = await client.create(**SHORT)
    async with inner_of(client, made.environment_id) as inner:
        strategy = StrategyPeer(client, made.environment_id, "held", "goes")
        strategy.holds.add(("decide", 3))
        strategy.up()
        await _until(lambda: len(strategy.heard("welcome")) == 2)
        await client.move("Start", made.environment_id)
        await _until(lambda: cycles(strategy, "decide")[-1:] == [3])
        refused = (await strategy.leave("held", "guessed")).refused
        assert (refused.environment_id, refused.deployment_id) == (made.environment_id, "held")
        assert ApiError.from_status(refused.error).reason == "SEAT_TOKEN_INVALID"
        # A stream goes on with its own deployments, whatever one of them is refused.
        thief = client.replay.JoinReplay()
        await thief.write(Request(hello=Wire.Hello(role=Wire.PARTICIPANT_ROLE_STRATEGY, participant="thief")))
        await thief.write(Request(join=seat(made.environment_id, "held", "guessed")))
        assert ApiError.from_status((await thief.read()).refused.error).code.name == "PERMISSION_DENIED"
        await thief.write(Request(join=seat(made.environment_id, "goes")))
        assert (await thief.read()).welcome.deployment_number == 2
        await thief.write(leaving(made.environment_id, "goes"))
        await thief.write(Request(join=seat(made.environment_id, "other")))
        strategy.released.set()
        while (told := await thief.read()).WhichOneof("message") != "welcome":
            pass
        assert told.welcome.deployment_id == "other"
        await thief.write(leaving(made.environment_id, "other"))
        await client.until_state(made.environment_id, "COMPLETED")
        assert {"held"} == {name for cycle, _, names in strategy.decided for name in names if cycle > 3}
        rolls = [[each.deployment_id for each in roll.deployments] for roll in inner.venue.heard("roll")]
        assert rolls[0] == []
        assert ["held", "goes"] in rolls
        assert rolls[-1] == ["held"]
        thief.cancel()
        await strategy.down()


@pytest.mark.parametrize("who", ["venue", "risk"])
async def test_rule_33_the_venue_and_risk_that_come_back_are_told_who_takes_part(client: Client, who: str) -> None:
    made = await client.create(**SHORT)
    async with inner_of(client, made.environment_id) as inner:
        strategy = StrategyPeer(client, made.environment_id, "d")
        strategy.joins = lambda: [  # type: ignore[method-assign]
            Request(join=seat(made.environment_id, "d", strategy_id="trend", portfolio_id="main"))
        ]
        strategy.up()
        await _until(lambda: strategy.heard("welcome"))
        peer = getattr(inner, who)
        await _until(lambda: peer.heard("roll")[-1].deployments)
        told = len(peer.heard("roll"))
        await peer.down()
        peer.up()
        await _until(lambda: len(peer.heard("roll")) > told)
        (entry,) = peer.heard("roll")[-1].deployments
        assert not inner.portfolio.heard("roll")
        digest = hashlib.sha256(b"seat-of-d").hexdigest()
        assert entry == Wire.Enrolled(
            deployment_id="d", deployment_number=1, strategy_id="trend", portfolio_id="main", seat_digest=digest
        )
        await strategy.down()


async def test_rule_33_a_deployment_that_has_left_has_no_seat(client: Client) -> None:
    made = await client.create(**SHORT)
    async with inner_of(client, made.environment_id) as inner:
        strategy = StrategyPeer(client, made.environment_id, "goes")
        strategy.up()
        await _until(lambda: strategy.heard("welcome"))
        assert await strategy.leave("goes") is grpc.aio.EOF
        await _until(lambda: not inner.venue.heard("roll")[-1].deployments)
        await strategy.down()
        strategy.up()
        await _until(lambda: strategy.heard("refused"))
        assert ApiError.from_status(strategy.heard("refused")[0].error).reason == "DEPLOYMENT_ENDED"
        await strategy.down()


async def test_rule_33_a_missing_participant_blocks_and_is_named(client: Client) -> None:
    made = await client.create(**SHORT)
    environment_id = made.environment_id
    started = await client.move("Start", environment_id)
    assert started.state == environment_pb2.ENVIRONMENT_STATE_BLOCKED
    assert list(started.blocked_on) == ["order", "portfolio", "risk"]
    # Nobody has primed it yet: time stands.
    paused = await client.move("Pause", environment_id)
    assert (paused.state, list(paused.blocked_on)) == (environment_pb2.ENVIRONMENT_STATE_PAUSED, [])
    await client.move("Resume", environment_id)
    async with inner_of(client, environment_id, held_grant=1) as inner:
        strategy = StrategyPeer(client, environment_id, "d")
        await _until(lambda: cycles(inner.venue, "grant")[-1:] == [1])
        strategy.up()
        await asyncio.sleep(0.05)
        assert not strategy.heard("welcome")  # it is taken in at the next boundary
        await inner.risk.down()
        blocked = await client.until_state(environment_id, "BLOCKED")
        assert list(blocked.blocked_on) == ["risk"]
        await _until(lambda: inner.portfolio.heard("idle")[-1:])
        await _until(lambda: inner.portfolio.heard("idle")[-1].state == environment_pb2.ENVIRONMENT_STATE_BLOCKED)
        inner.risk.told.clear()
        inner.risk.up()
        inner.venue.released.set()
        await client.until_state(environment_id, "COMPLETED")
        await strategy.down()


async def test_rule_33_who_is_there_but_silent_is_named_while_it_is_waited_for(template: Path, tmp_path: Path) -> None:
    directory = copied(template, tmp_path / "data")
    with running(directory, TICKMESH_MARKETDATA_SILENCE_SECONDS="0.3") as service:
        async with client_of(service) as client:
            made = await client.create(**SHORT)
            environment_id = made.environment_id
            async with inner_of(client, environment_id) as inner:
                strategy = StrategyPeer(client, environment_id, "d")
                strategy.up()
                await _until(lambda: strategy.heard("welcome"))
                strategy.holds.add(("decide", 4))
                await client.move("Start", environment_id)
                silent = await client.until(environment_id, lambda each: bool(each.blocked_on))
                assert (silent.state, list(silent.blocked_on)) == (environment_pb2.ENVIRONMENT_STATE_RUNNING, ["d"])
                assert silent.cycle == 3
                # Nobody was told to stand still: strategies and their orders are served.
                stood = [each.state for each in inner.venue.heard("idle")]
                assert environment_pb2.ENVIRONMENT_STATE_BLOCKED not in stood
                await _until(lambda: list(inner.risk.heard("announced")[-1].environment.blocked_on) == ["d"])
                strategy.released.set()
                ended = await client.until_state(environment_id, "COMPLETED")
                assert not ended.blocked_on
                await strategy.down()
        assert "a participant does not answer" in service.log


@pytest.mark.parametrize("name", ["venue", "portfolio", "risk"])
async def test_rule_33_who_rejoins_gets_the_cycle_again(client: Client, name: str) -> None:
    made = await client.create(**SHORT)
    async with inner_of(client, made.environment_id, stops=(9,)) as inner:
        strategy = StrategyPeer(client, made.environment_id, "d")
        strategy.up()
        await _until(lambda: strategy.heard("welcome"))
        strategy.holds.add(("decide", 4))
        await client.move("Start", made.environment_id)
        await _until(lambda: cycles(strategy, "decide")[-1:] == [4])
        peer = getattr(inner, name)
        reached = inner.venue.heard("grant")[-1].through
        await peer.down()
        await client.until_state(made.environment_id, "BLOCKED")
        peer.told.clear()
        peer.up()
        kind = "grant" if name == "venue" else "fold"
        await _until(lambda: cycles(peer, kind))
        again = peer.heard(kind)[0]
        assert again.cycle == 4
        assert (again.through if kind == "grant" else again.tape_sequence) == reached
        await client.until_state(made.environment_id, "RUNNING")
        if name != "venue":
            # It was told to stand; the same grant lets it serve strategies again.
            await _until(lambda: [each.cycle for each in inner.venue.heard("grant")][-2:] == [4, 4])
        strategy.released.set()
        await client.until_state(made.environment_id, "COMPLETED")
        await strategy.down()


async def test_rule_33_a_strategy_that_rejoins_decides_again_or_has_decided(client: Client) -> None:
    made = await client.create(**SHORT)
    async with inner_of(client, made.environment_id) as inner:
        strategy = StrategyPeer(client, made.environment_id, "d")
        strategy.up()
        await _until(lambda: strategy.heard("welcome"))
        strategy.holds.add(("decide", 4))
        await client.move("Start", made.environment_id)
        await _until(lambda: cycles(strategy, "decide")[-1:] == [4])
        await strategy.down()
        blocked = await client.until_state(made.environment_id, "BLOCKED")
        assert list(blocked.blocked_on) == ["d"]
        await _until(lambda: inner.venue.heard("idle")[-1].state == environment_pb2.ENVIRONMENT_STATE_BLOCKED)
        strategy.holds.clear()
        strategy.up()
        await client.until_state(made.environment_id, "COMPLETED")
        assert [each[0] for each in strategy.decided] == list(range(1, len(strategy.decided) + 1))
        welcomes = {(each.deployment_number, each.start_sequence) for each in strategy.heard("welcome")}
        assert welcomes == {(1, 0)}
        await strategy.down()


async def test_pause_returns_when_time_stands_and_resume_goes_on(client: Client) -> None:
    made = await client.create()
    environment_id = made.environment_id
    async with inner_of(client, environment_id) as inner:
        strategy = StrategyPeer(client, environment_id, "d")
        strategy.up()
        await _until(lambda: strategy.heard("welcome"))
        await client.move("Start", environment_id)
        await client.until(environment_id, lambda each: each.cycle > 5)
        paused = await client.move("Pause", environment_id)
        assert paused.state == environment_pb2.ENVIRONMENT_STATE_PAUSED
        await asyncio.sleep(0.1)
        assert (await client.get(environment_id)) == paused
        await _until(lambda: inner.venue.heard("idle")[-1].state == environment_pb2.ENVIRONMENT_STATE_PAUSED)
        assert inner.venue.heard("idle")[-1].tape_sequence == paused.tape_sequence
        late = StrategyPeer(client, environment_id, "late")
        late.up()
        await _until(lambda: late.heard("welcome"))
        assert late.heard("welcome")[0].start_sequence == paused.tape_sequence
        await client.move("Resume", environment_id)
        await client.until(environment_id, lambda each: each.cycle > paused.cycle + 3)
        stopped = await client.move("Stop", environment_id)
        assert stopped.state == environment_pb2.ENVIRONMENT_STATE_STOPPED
        last = inner.venue.heard("grant")[-1]
        assert last.final
        assert last.through == stopped.tape_sequence < made.end_sequence
        assert await client.move("Stop", environment_id) == stopped
        for verb in ("Start", "Pause", "Resume"):
            with pytest.raises(ApiError) as refused:
                await client.move(verb, environment_id)
            assert (refused.value.code.name, refused.value.reason) == ("FAILED_PRECONDITION", "ENVIRONMENT_COMPLETED")
        for peer in (strategy, late):
            await peer.down()


async def test_stop_does_not_wait_for_strategies_that_are_gone(client: Client) -> None:
    made = await client.create(**SHORT)
    async with inner_of(client, made.environment_id):
        strategy = StrategyPeer(client, made.environment_id, "d")
        strategy.up()
        await _until(lambda: strategy.heard("welcome"))
        strategy.holds.add(("decide", 2))
        await client.move("Start", made.environment_id)
        await _until(lambda: cycles(strategy, "decide")[-1:] == [2])
        await strategy.down()
        await client.until_state(made.environment_id, "BLOCKED")
        stopped = await client.move("Stop", made.environment_id)
        assert stopped.state == environment_pb2.ENVIRONMENT_STATE_STOPPED


async def test_a_stop_of_a_blocked_replay_ends_it_when_its_participants_are_back(client: Client) -> None:
    made = await client.create(**SHORT)
    stopping = await client.move("Stop", made.environment_id)
    assert stopping.state == environment_pb2.ENVIRONMENT_STATE_BLOCKED
    async with inner_of(client, made.environment_id):
        await client.until_state(made.environment_id, "STOPPED")


async def test_pace_by_sessions_and_a_change_of_it(client: Client) -> None:
    made = await client.create(**SHORT, pace={"sessions_per_second": 20})
    async with inner_of(client, made.environment_id) as inner:
        await client.until(made.environment_id, lambda _: bool(inner.risk.heard("fold")))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await client.move("Start", made.environment_id)
        await client.until(made.environment_id, lambda each: each.tape_sequence >= 30)
        assert loop.time() - begun > 0.4  # ten sessions
        idle = {each.state for each in inner.venue.heard("idle")}
        assert environment_pb2.ENVIRONMENT_STATE_RUNNING in idle
        request = {"environment_id": made.environment_id, "pace": {"sessions_per_second": 0.001}}
        from tickmesh.marketdata.v1 import environment_service_pb2

        changed = await client.environments.SetReplaySpeed(environment_service_pb2.SetReplaySpeedRequest(**request))
        assert changed.pace.sessions_per_second == 0.001
        position = (await client.get(made.environment_id)).tape_sequence
        await asyncio.sleep(0.3)
        assert (await client.get(made.environment_id)).tape_sequence <= position + 2
        full = environment_service_pb2.SetReplaySpeedRequest(environment_id=made.environment_id, pace={})
        await client.environments.SetReplaySpeed(full)
        await client.until_state(made.environment_id, "COMPLETED")


async def test_grants_are_bounded_so_that_public_streams_flow(client: Client) -> None:
    made = await client.create()
    async with inner_of(client, made.environment_id) as inner:
        await client.move("Start", made.environment_id)
        await client.until_state(made.environment_id, "COMPLETED")
        throughs = list(dict.fromkeys(each.through for each in inner.venue.heard("grant")))
        steps = [b - a for a, b in itertools.pairwise(throughs)]
        assert max(steps) == 8192
        # A split ends a cycle, whoever waits for what.
        kinds = await kinds_of(client, made.environment_id)
        assert {sequence for sequence, kind in enumerate(kinds) if kind == Kind.SPLIT} <= set(throughs)


@pytest.mark.parametrize(
    ("messages", "code", "reason"),
    [
        ([Request(join=Wire.Join(environment_id="x"))], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ([Request(hello=Wire.Hello(participant="x"))], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ([Request(hello=Wire.Hello(role=99, participant="x"))], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),  # type: ignore[arg-type]
        ([Request(hello=Wire.Hello(role=1, participant="risk"))], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),  # type: ignore[arg-type]
        ([Request(hello=Wire.Hello(role=2, participant="order"))], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),  # type: ignore[arg-type]
        (
            [
                Request(hello=Wire.Hello(role=3, participant="x")),  # type: ignore[arg-type]
                Request(join=seat("nowhere", "d")),
            ],
            "NOT_FOUND",
            "ENVIRONMENT_NOT_FOUND",
        ),
        (
            [
                Request(hello=Wire.Hello(role=3, participant="x")),  # type: ignore[arg-type]
                Request(reached=Wire.Reached(environment_id="nowhere")),
            ],
            "INVALID_ARGUMENT",
            "INVALID_ARGUMENT",
        ),
        ([Request()], "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        (
            [
                Request(hello=Wire.Hello(role=3, participant="x")),  # type: ignore[arg-type]
                Request(join=Wire.Join(environment_id="x", deployment_id="d", cycle=-1)),
            ],
            "INVALID_ARGUMENT",
            "INVALID_ARGUMENT",
        ),
        (
            [
                Request(hello=Wire.Hello(role=3, participant="x")),  # type: ignore[arg-type]
                Request(join=Wire.Join(environment_id="x", deployment_id="d", tape_sequence=-1)),
            ],
            "INVALID_ARGUMENT",
            "INVALID_ARGUMENT",
        ),
    ],
)
async def test_a_participant_that_speaks_wrongly_is_told_so(
    client: Client, messages: list[Request], code: str, reason: str
) -> None:
    call = client.replay.JoinReplay()
    for message in messages:
        await call.write(message)
    with pytest.raises(ApiError) as refused:
        await call.read()
    assert (refused.value.code.name, refused.value.reason) == (code, reason)


@pytest.mark.parametrize("role", [1, 2])
async def test_venue_and_books_and_tapes_are_not_open_at_the_edge(client: Client, role: int) -> None:
    edge = (("x-tickmesh-edge", "1"),)
    call = client.replay.JoinReplay(metadata=edge)
    await call.write(Request(hello=Wire.Hello(role=role, participant="order" if role == 1 else "risk")))  # type: ignore[arg-type]
    with pytest.raises(ApiError) as refused:
        await call.read()
    assert (refused.value.code.name, refused.value.reason) == ("PERMISSION_DENIED", "NOT_OPEN_AT_EDGE")
    made = await client.create(**SHORT)
    request = tape_service_pb2.ReadTapeRequest(environment_id=made.environment_id)
    with pytest.raises(ApiError, match="NOT_OPEN_AT_EDGE"):
        async for _ in client.tapes.ReadTape(request, metadata=edge):
            pass


async def test_strategies_may_join_at_the_edge(client: Client) -> None:
    made = await client.create(**SHORT)
    async with inner_of(client, made.environment_id):
        call = client.replay.JoinReplay(metadata=(("x-tickmesh-edge", "1"),))
        await call.write(Request(hello=Wire.Hello(role=Wire.PARTICIPANT_ROLE_STRATEGY, participant="outside")))
        await call.write(Request(join=seat(made.environment_id, "d")))
        assert (await call.read()).welcome.deployment_number == 1
        call.cancel()


async def test_two_environments_never_meet(client: Client) -> None:
    made = [await client.create(**SHORT) for _ in range(3)]
    names = [each.environment_id for each in made]
    async with inner_of(client, *names) as inner:
        inner.portfolio.holds.add(("fold", 1))
        for name in names:
            await client.move("Start", name)
        await _until(lambda: cycles(inner.portfolio, "fold").count(1) == 3)
        inner.portfolio.released.set()
        for name in names:
            await client.until_state(name, "COMPLETED")
        grants = inner.venue.heard("grant")
        by_name = [{(each.cycle, each.through) for each in grants if each.environment_id == name} for name in names]
        assert by_name[0] == by_name[1] == by_name[2]


async def _until(holds: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 it is another process
            await asyncio.sleep(0.005)
