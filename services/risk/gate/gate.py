"""One environment's gate as the order service meets it: epochs, batches, verdicts, kill switches (rules 3 to 5)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from decimal import Decimal

from services.chassis.errors import ApiError
from services.chassis.failpoints import failpoint
from services.domain.orders.order import OrderState
from services.domain.risk.exposure import Exposure
from services.domain.risk.gate import Verdict
from services.domain.risk.limits import make_limit
from services.domain.risk.preview import Preview, preview
from services.domain.risk.valued import Usage
from services.risk.gate.folding import WARNING_SHARE, Folding, NumberedEvent, Scene
from services.risk.gate.parts import Part
from services.risk.gate.session import Batch, Ready, Session, Verdicts
from services.risk.records import GUARD, Happening, KillRecord, LimitRecord

# Longest wait of a limit's change for an order service that is away: it dials again within a second.
MEETING_SECONDS = 2.0

StoreEpoch = Callable[[str, int, str], Awaitable[None]]


class EnvironmentGate:
    """One environment's gate: what it knows is its `folding`'s, who may ask and what is answered is decided here."""

    def __init__(
        self,
        environment_id: str,
        *,
        owner: str,
        patience: float,
        store_epoch: StoreEpoch,
        epoch: int = 0,
        part: Part | None = None,
        warning_share: Decimal = WARNING_SHARE,
    ) -> None:
        """A new gate, or the one that `part` holds all of.

        Args:
            owner: whose environment it is.
            patience: seconds a batch may wait for what it names.
            store_epoch: makes an environment's epoch durable.
            epoch: the last one.
            warning_share: of a bound; a figure beyond it is near.
        """
        self.folding = Folding(environment_id, part, warning_share)
        self.owner = owner
        self.epoch = epoch
        self._patience = patience
        self._store_epoch = store_epoch
        self._engaged: dict[tuple[str, str], KillRecord] = {}
        self._guards: dict[str, LimitRecord] = {}
        self._session: Session | None = None
        self._checked: dict[int, list[str]] = {}
        self.changing = asyncio.Lock()
        self._between_orders = asyncio.Lock()
        self._met = not epoch

    @property
    def environment_id(self) -> str:
        """Whose gate it is."""
        return self.folding.environment_id

    @property
    def position(self) -> int:
        """The tape position of the last fold or batch."""
        return self.folding.position

    @property
    def market_time(self) -> int:
        """The market time of that, ns; 0 before the tape is here."""
        return self.folding.market_time(self.folding.position)

    @property
    def order_head(self) -> int:
        """The last order event that counts."""
        return self.folding.cursor.order_sequence

    @property
    def last_checked(self) -> str:
        """The last order that was checked, but those whose checks came to nothing; empty before the first."""
        checked = (order_ids[-1] for order_ids in self._checked.values() if order_ids)
        return max(self.folding.newest, *checked, "", key=_number)

    @property
    def ended(self) -> bool:
        """Whether the environment has, and all of it counts."""
        return self.folding.cursor.ended

    def finish(self) -> None:
        """The environment has ended and everything counts."""
        self.folding.finish()
        self.close(_completed())

    async def connect(self, epoch: int, order_head: int) -> Session:
        """Begin a new epoch: count up to the caller's head, then drop what was reserved for orders that never were.

        Raises:
            ApiError: ABORTED `BASIS_STALE`, the epoch is not above the last; FAILED_PRECONDITION
                `ENVIRONMENT_COMPLETED`.
        """
        if self.ended:
            raise _completed()
        if epoch <= self.epoch:
            raise _stale(f"Epoch {epoch} is not above {self.epoch}.")
        folding = self.folding
        self.close(_stale(f"Epoch {epoch} has begun."))
        self.epoch, self._session = epoch, None
        folding.hold(order_head)
        folding.notify()
        try:
            await self._store_epoch(self.environment_id, epoch, self.owner)
            await folding.until(lambda: self.ended or self.epoch != epoch or folding.knows(order_head, 0))
            if self.ended:
                raise _completed()
            if self.epoch != epoch:
                raise _stale(f"Epoch {self.epoch} has begun.")
            folding.gate.drop_unconfirmed()
            self._checked.clear()
            self._met = True
            self._session = session = Session(epoch)
            session.put(Ready(epoch, self.engaged(), list(self._guards.values())))
            return session
        finally:
            if self.epoch == epoch:
                folding.release()

    @asynccontextmanager
    async def between_orders(self) -> AsyncIterator[None]:
        """Lets no order be checked, once it is known of all before whether their checks count.

        One that came to nothing gives its number to the next, which meets whatever changes here. The next batch or
        connection tells it, the events tell the others. Where nobody comes to tell, all checks are taken to count.
        """
        folding = self.folding
        async with self._between_orders:
            with suppress(TimeoutError):
                async with asyncio.timeout(MEETING_SECONDS):
                    await folding.until(lambda: self.ended or (self._met and self.last_checked == folding.newest))
            yield

    async def check(self, session: Session, batch: Batch) -> None:
        """Answer a batch on its session, from exactly the events it names.

        Raises:
            ApiError: UNAVAILABLE `RISK_UNAVAILABLE`, they did not arrive in time; ABORTED `BASIS_STALE`, the session is
                over; INVALID_ARGUMENT, an order that is open already or whose symbol is not on the tape, or a gap
                between the events it brings.
        """
        try:
            if self._session is session:
                self.folding.hold(batch.order_head)
                self._take(batch.order_events)
            if not self.folding.knows(batch.order_head, batch.ledger_sequence):
                await self._wait_for(session, batch)
            if self._session is session:
                self._void(batch.standing)
            async with self._between_orders, self.changing:
                scene = self.folding.scene
            if self._session is not session or scene is None:
                raise _stale("Another epoch has begun.")
            verdicts = self._decide(batch, scene)
            self._checked[batch.batch_id] = [each.order_id for each in verdicts]
            failpoint("risk.after_verdict")
            session.put(Verdicts(batch.batch_id, verdicts, self._preview(batch, scene)))
        finally:
            if self._session is session:
                self.folding.release()

    def leave(self, session: Session) -> None:
        """The connection is gone."""
        if self._session is session:
            self._session = None
            self.folding.release()

    def close(self, error: ApiError) -> None:
        """End the connection, if there is one, with an error."""
        if self._session is not None:
            self._session.end(error)

    def take_part(self) -> tuple[Part | None, list[Happening]]:
        """What changed since the last time, and what is to be told of it."""
        return self.folding.take_part()

    def apply_limit(self, record: LimitRecord) -> None:
        """Set or delete a limit; it holds for the next check."""
        if record.deleted:
            self.folding.gate.delete_limit(record.name, *record.where)
            self.folding.watch.forget(record.name, record.where)
        elif record.name != GUARD:
            self.folding.gate.set_limit(make_limit(record.name, record.bound, *record.where, stored=True))

    def apply_guard(self, record: LimitRecord) -> None:
        """Set or delete a runaway guard, which is durable now: the order service holds to it."""
        if record.deleted:
            self._guards.pop(record.portfolio_id, None)
        else:
            self._guards[record.portfolio_id] = record
        if self._session is not None:
            self._session.put(record)

    def apply_kill_switch(self, record: KillRecord) -> None:
        """Engage or release, durable now, and tell the order service: after all verdicts so far, before all others."""
        key = (record.scope, record.target_id)
        if record.engaged:
            self._engaged[key] = record
            self.folding.gate.engage(record.kill_scope, record.allow_reducing, record.reason)
        else:
            self._engaged.pop(key, None)
            self.folding.gate.release(record.kill_scope)
        if self._session is not None:
            self._session.put(record)

    def engaged(self) -> list[KillRecord]:
        """The kill switches that are engaged, by scope and target."""
        return [self._engaged[key] for key in sorted(self._engaged)]

    def exposure(self, portfolio_id: str) -> tuple[Exposure, list[Usage]]:
        """A portfolio's figures at the last marks, and where those of the limits stand that count it.

        Raises:
            KeyError: there is no such portfolio.
        """
        self.folding.refresh()
        return self.folding.gate.exposure(portfolio_id), self.folding.gate.usages({portfolio_id})

    def reservation_count(self, portfolio_id: str) -> int:
        """How many orders of a portfolio hold a reservation."""
        return sum(claim.portfolio_id == portfolio_id for claim in self.folding.gate.claims.values())

    def _take(self, events: Sequence[NumberedEvent]) -> None:
        try:
            self.folding.take_events(events)
        except ValueError as error:
            raise ApiError.invalid_field("batch.order_events", str(error)) from None

    def _void(self, standing: Collection[int]) -> None:
        """Drops what older batches passed and no event has confirmed, but those that stand.

        The head names all that was committed else.
        """
        for number in self._checked.keys() - standing:
            self.folding.gate.drop_unconfirmed(self._checked.pop(number))
        self.folding.notify()

    async def _wait_for(self, session: Session, batch: Batch) -> None:
        folding, heads = self.folding, (batch.order_head, batch.ledger_sequence)
        try:
            async with asyncio.timeout(self._patience):
                await folding.until(lambda: self._session is not session or folding.knows(*heads))
        except TimeoutError:
            order_sequence, ledger_sequence = folding.cursor[:2]
            raise ApiError.unavailable(
                "RISK_UNAVAILABLE",
                f"Order event {batch.order_head} and ledger entry {batch.ledger_sequence} have not come in time.",
                metadata={"order_sequence": str(order_sequence), "ledger_sequence": str(ledger_sequence)},
            ) from None

    def _decide(self, batch: Batch, scene: Scene) -> list[Verdict]:
        symbols = {check.order.symbol for check in (*batch.checks, *batch.previews)}
        if strange := symbols - scene.instruments.keys():
            raise ApiError.invalid_field("batch.checks", f"name symbols that are not on the tape: {sorted(strange)}")
        self.folding.mark(batch.tape_sequence, symbols)
        self.folding.settle(batch.tape_sequence)
        gate = self.folding.gate
        verdicts = []
        for check in batch.checks:
            instrument = scene.instruments[check.order.symbol]
            try:
                new = check.order.state is OrderState.PENDING_NEW
                with check.span():
                    decide = gate.check if new else gate.check_replacement
                    verdicts.append(decide(check.order, instrument, check.reference_price, batch.time, slip=check.slip))
            except ValueError as error:
                raise ApiError.invalid_field("batch.checks", str(error)) from None
        return verdicts

    def _preview(self, batch: Batch, scene: Scene) -> list[Preview]:
        gate, of = self.folding.gate, scene.instruments
        return [
            preview(gate, each.order, of[each.order.symbol], each.reference_price, batch.time, slip=each.slip)
            for each in batch.previews
        ]


def _number(order_id: str) -> int:
    return int(order_id.rpartition("-")[2] or 0)


def _stale(message: str) -> ApiError:
    return ApiError.aborted("BASIS_STALE", message)


def _completed() -> ApiError:
    return ApiError.failed_precondition("ENVIRONMENT_COMPLETED", "The environment has ended.", kind="STATE")
