"""Whether the venue says what the slow model says, over any number of seeded tapes and orders.

And whether one that is restored after every step says it too.

    python -m tests.unit.domain.venue.compare_venues --orders 1000000 [--first-seed N]

It stops at the first difference, and names the seed.
"""

import argparse
import time
from collections.abc import Callable
from random import Random

from services.domain.filling import VenueSettings
from services.domain.tape import Tape
from services.domain.venue.matching import Venue
from tests.unit.domain.venue.matching_reference import (
    INSTRUMENTS,
    AnyVenue,
    Command,
    any_commands,
    any_settings,
    any_tape,
    drive,
    told,
)
from tests.unit.domain.venue.slow_venue import SlowVenue, merged


def drawn(seed: int) -> tuple[Tape, list[Command], VenueSettings]:
    """A tape, commands and settings by a seed: every other one crowded, with many orders at few prices."""
    rng = Random(seed)
    most, spread = (30, 4) if seed % 2 else (10, 20)
    tape = any_tape(rng, rng.randint(3, 25), spread)
    return tape, any_commands(rng, most, max(1, len(tape) * 3 // 4), spread), any_settings(rng)


def differ(tape: Tape, commands: list[Command], how: VenueSettings) -> bool:
    """Whether the venue and the slow model tell different stories."""
    ours, theirs = told(drive(Venue(INSTRUMENTS, how), tape, commands)), SlowVenue(tape, how).run(commands)
    icebergs = (order.display_quantity is not None for each in commands for order in each.sent)
    if any(icebergs) or any(each.terms.display_quantity is not None for each in commands):
        return merged(ours) != merged(theirs)
    return ours != theirs


def restored(tape: Tape, how: VenueSettings) -> Callable[[AnyVenue, int], AnyVenue]:
    """Puts a new venue in the place of one at a position, that knows of it what is stored."""

    def put(venue: AnyVenue, position: int) -> AnyVenue:
        assert isinstance(venue, Venue)
        fresh = Venue(INSTRUMENTS, how)
        fresh.prime(tape, position)
        fresh.restore(venue.open_orders(), venue.headroom, venue.positions, venue.collateral)
        for symbol in INSTRUMENTS:
            assert fresh.reference_price(symbol) == venue.reference_price(symbol)
        return fresh

    return put


def compare(first_seed: int, orders: int) -> tuple[int, int, int]:
    """Go through seeds from ``first_seed`` until ``orders`` orders were sent.

    Returns:
        How many tapes, orders and records that were.

    Raises:
        AssertionError: a seed's stories differ.
    """
    seed, sent, records = first_seed, 0, 0
    while sent < orders:
        tape, commands, how = drawn(seed)
        if differ(tape, commands, how):
            raise AssertionError(f"seed {seed}: the venue and the slow model differ")
        steps = drive(Venue(INSTRUMENTS, how), tape, commands, between=restored(tape, how))
        if steps != drive(Venue(INSTRUMENTS, how), tape, commands):
            raise AssertionError(f"seed {seed}: a venue that is restored differs")
        sent += sum(len(each.sent) for each in commands)
        records += len(tape)
        seed += 1
    return seed - first_seed, sent, records


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--orders", type=int, default=1_000_000)
    arguments.add_argument("--first-seed", type=int, default=1)
    chosen = arguments.parse_args()
    began = time.perf_counter()
    tapes, orders, records = compare(chosen.first_seed, chosen.orders)
    took = time.perf_counter() - began
    print(f"{tapes:,} tapes, {orders:,} orders, {records:,} records: no difference, in {took:,.0f} s")


if __name__ == "__main__":
    main()
