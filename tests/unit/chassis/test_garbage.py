"""When the garbage collector looks for cycles."""

import gc
import weakref

import pytest

from services.chassis.garbage import rare_collections, settle


def before_older() -> int:
    """How many objects are made before any but the youngest are looked through."""
    youngest, older, _ = gc.get_threshold()
    return youngest * older


def test_collections_are_rare_meanwhile_and_as_before_afterwards_even_after_a_failure() -> None:
    before, usual = gc.get_threshold(), before_older()
    with rare_collections():
        assert gc.isenabled()
        assert before_older() > 10 * usual
    with pytest.raises(ZeroDivisionError), rare_collections():
        _ = 1 / 0
    assert gc.get_threshold() == before


def test_a_service_that_has_settled_still_finds_what_is_garbage_and_leaves_alone_what_it_began_with() -> None:
    class Knot:
        """Refers to itself."""

        def __init__(self) -> None:
            self.self = self

    before = gc.get_threshold()
    try:
        settle()
        begun, knots = gc.get_freeze_count(), [weakref.ref(Knot()) for _ in range(1_000)]
        filled = [[number] for number in range(20_000)]
        assert begun > 10_000
        assert filled
        assert all(knot() is None for knot in knots)
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
