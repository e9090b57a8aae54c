"""What a coordinator asks before and after a grant is durable, and what it makes of a venue that is ahead of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from services.domain.tape import Tape
from services.domain.timeline import Timeline, Wake
from services.marketdata.environment import Claim, Control, Enrolment, Plan, Position, State, Stored
from services.marketdata.replay.coordinator import Coordinator
from services.marketdata.replay.participants import PORTFOLIO, RISK, VENUE, Decide, Grant, Link, Role
from services.wire.cycle import Fold
from tests.unit.domain.markets import splits
from tests.unit.marketdata.feeds import tape_of

PLAN = Plan("r", 1, "", "d", ("S",), None, None, "", 0, 0, 0, "", "", "local", 0)
SEAT = Claim("s", "digest")
SILENCE_SECONDS = 0.3
EVERY_BAR = Wake(bars=frozenset({("S", "1d")}))


class SlowStore:
    """Keeps what is put only when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[asyncio.Future[None], Sequence[Any], Callable[[], None] | None]] = []
        self.kept: list[Any] = []

    def put(self, plan: Plan, parts: Sequence[Any], then: Callable[[], None] | None = None) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((done, parts, then))
        return done

    def keep(self) -> None:
        """What was put is durable now."""
        waiting, self.waiting = self.waiting, []
        for done, parts, then in waiting:
            self.kept += parts
            if then is not None:
                then()
            done.set_result(None)

    @property
    def position(self) -> Position:
        """The last one kept."""
        return [each for each in self.kept if isinstance(each, Position)][-1]


class Side:
    """The participants' streams and what was sent on them."""

    def __init__(self, coordinator: Coordinator, enrolled: Sequence[str], announced: list[tuple[str, ...]]) -> None:
        self.coordinator = coordinator
        self.enrolled = enrolled
        self.announced = announced
        self.links = {
            name: Link(Role.VENUE if name == VENUE else Role.BOOKS, name) for name in (VENUE, PORTFOLIO, RISK)
        }
        self.strategy = Link(Role.STRATEGY, "strategy")

    def join(self, cycle: int = 0, at: int = 0, *, decided: int = 3) -> None:
        """All come; the venue has finished this cycle, there, and the strategy has decided in that one."""
        self.coordinator.join(self.links[VENUE], cycle, at)
        self.coordinator.join(self.links[PORTFOLIO], 0, 0)
        self.coordinator.join(self.links[RISK], 0, 0)
        for deployment_id in self.enrolled:
            self.coordinator.enrol(self.strategy, Claim(deployment_id, SEAT.seat_digest), EVERY_BAR, decided)

    async def sent(self, name: str, kind: type) -> Any:
        """The last message of a kind that is queued for somebody; None where there is none."""
        await asyncio.sleep(0.01)
        link, found = self.links.get(name, self.strategy), None
        while link._messages:
            message = link._messages.popleft()
            found = message if isinstance(message, kind) else found
        return found


@contextlib.asynccontextmanager
async def coordinated(store: SlowStore, position: Position, tape: Tape, *enrolled: str) -> AsyncIterator[Side]:
    names = enrolled or (SEAT.deployment_id,)
    plan = Plan("r", 1, "", "d", ("S",), None, None, "", 0, len(tape), 0, "", "", "local", 0)
    enrolments = tuple(Enrolment(name, n, 0, SEAT.seat_digest) for n, name in enumerate(names, 1))
    stored = Stored(plan, Control(State.RUNNING), position, enrolments)
    announced: list[tuple[str, ...]] = []
    made = Coordinator(
        stored,
        Timeline(tape),
        store,
        announce=lambda view, links: announced.append(view.blocked_on),
        publish=lambda position: None,
        grant_records=1000,
        silence_seconds=SILENCE_SECONDS,
    )
    running = asyncio.create_task(made.run())
    try:
        yield Side(made, names, announced)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_nobody_but_the_venue_hears_of_a_cycle_before_its_grant_is_durable() -> None:
    store = SlowStore()
    async with coordinated(store, Position(cycle=3, tape_sequence=4), tape_of()) as side:
        side.join()
        # Everybody who comes back is asked again for the last one.
        assert await side.sent(VENUE, Grant) == Grant("r", 3, 4, final=False)
        side.coordinator.reached(side.links[VENUE], 3, 4, 0)
        for name in (PORTFOLIO, RISK):
            assert await side.sent(name, Fold) == Fold("r", 3, 4, 0, 0)
            side.coordinator.applied(side.links[name], 3, 0)
        grant = await side.sent(VENUE, Grant)
        assert grant.cycle == 4
        side.coordinator.reached(side.links[VENUE], 4, grant.through, 0)
        assert store.waiting
        assert await side.sent(PORTFOLIO, Fold) is None
        store.keep()
        fold = await side.sent(PORTFOLIO, Fold)
        assert (fold.cycle, fold.tape_sequence) == (4, grant.through)
        assert store.position.granted_through == grant.through


async def test_a_venue_that_is_ahead_goes_on_with_what_it_was_granted() -> None:
    store = SlowStore()
    # Cycle 4 was granted up to 5 and finished, cycle 5 granted and reached 8; the end of 4 was never stored.
    before = Position(cycle=3, tape_sequence=4, granted_through=5)
    async with coordinated(store, before, tape_of()) as side:
        side.join(cycle=5, at=8, decided=4)
        grant = await side.sent(VENUE, Grant)
        assert (grant.cycle, grant.through) == (5, 8)
        side.coordinator.reached(side.links[VENUE], 5, 8, 2)
        assert await side.sent(PORTFOLIO, Fold) is None
        store.keep()
        assert store.position == Position(cycle=4, tape_sequence=4, granted_through=8)
        assert await side.sent(PORTFOLIO, Fold) == Fold("r", 5, 8, 2, 0)
        side.coordinator.applied(side.links[PORTFOLIO], 5, 6)
        assert await side.sent(RISK, Fold) == Fold("r", 5, 8, 2, 6)
        side.coordinator.applied(side.links[RISK], 5, 0)
        assert await side.sent("strategy", Decide) == Decide("r", 5, 8, 2, ("s",))


async def test_books_fold_side_by_side_where_nothing_can_be_entered() -> None:
    # The split of day 3 is at the open of it.
    tape = tape_of(splits("S", {3: (2, 1)}))
    split = Timeline(tape).next_split(0)
    for through, head, together in ((split - 1, 7, True), (split - 1, 8, False), (split, 7, False)):
        store = SlowStore()
        before = Position(cycle=3, tape_sequence=split - 2, order_head=7, ledger_head=9, granted_through=through)
        async with coordinated(store, before, tape) as side:
            side.join()
            side.coordinator.reached(side.links[VENUE], 4, through, head)
            assert await side.sent(VENUE, Grant) is not None
            side.coordinator.reached(side.links[VENUE], 4, through, head)
            assert await side.sent(PORTFOLIO, Fold) is not None
            at_once = await side.sent(RISK, Fold)
            assert at_once == (Fold("r", 4, through, head, 9) if together else None)
            side.coordinator.applied(side.links[PORTFOLIO], 4, 12)
            if not together:
                assert await side.sent(RISK, Fold) == Fold("r", 4, through, head, 12)


async def test_rule_33_who_does_not_answer_for_long_is_named_and_waited_for_all_the_same() -> None:
    store = SlowStore()
    before = Position(cycle=3, tape_sequence=4, granted_through=6)
    async with coordinated(store, before, tape_of(), "s", "t", "u") as side:
        coordinator, told = side.coordinator, side.announced

        def stands() -> tuple[State, tuple[str, ...]]:
            return coordinator.view().state, coordinator.view().blocked_on

        async def silence_of(name: str) -> None:
            assert stands() == (State.RUNNING, ())
            async with asyncio.timeout(10):
                while told[-1:] != [(name,)]:  # noqa: ASYNC110 nothing else happens
                    await asyncio.sleep(0.01)
            assert stands() == (State.RUNNING, (name,))

        side.join()
        side.coordinator.reached(side.links[VENUE], 4, 6, 0)
        await side.sent(VENUE, Grant)
        await silence_of("order")
        coordinator.reached(side.links[VENUE], 4, 6, 2)
        assert await side.sent(PORTFOLIO, Fold) is not None
        await silence_of("portfolio")
        # One who is missing goes before: then it is BLOCKED, and names that one.
        coordinator.lost(side.links[RISK])
        assert stands() == (State.BLOCKED, ("risk",))
        side.links[RISK] = Link(Role.BOOKS, RISK)
        coordinator.join(side.links[RISK], 0, 0)
        coordinator.applied(side.links[PORTFOLIO], 4, 6)
        assert await side.sent(RISK, Fold) is not None
        coordinator.applied(side.links[RISK], 4, 0)
        assert (await side.sent("strategy", Decide)).deployment_ids == ("s", "t", "u")
        await silence_of("s")
        # What one of them answers alone counts, and the next one's turn begins with it.
        coordinator.done(side.strategy, 4, {"s": EVERY_BAR})
        assert await side.sent("strategy", Decide) is None
        await silence_of("t")
        coordinator.done(side.strategy, 4, {"t": EVERY_BAR, "u": EVERY_BAR})
        assert (await side.sent(VENUE, Grant)).cycle == 5
        assert stands() == (State.RUNNING, ())
        # Everybody was told of each, and that it was over.
        changes = [names for names in told if names != ("risk",)]
        assert changes == [(), ("order",), (), ("portfolio",), (), ("s",), (), ("t",), ()]
