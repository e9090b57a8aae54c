"""When the garbage collector looks for cycles."""

import gc

import pytest

from services.chassis.garbage import rare_collections


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
