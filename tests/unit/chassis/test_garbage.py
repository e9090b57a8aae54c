"""When the garbage collector looks for cycles."""

import gc

import pytest

from services.chassis.garbage import rare_collections


def test_collections_are_rare_meanwhile_and_as_before_afterwards_even_after_a_failure() -> None:
    before, meanwhile = gc.get_threshold(), 0
    with rare_collections():
        assert gc.isenabled()
        meanwhile, _, _ = gc.get_threshold()
    assert meanwhile > 10 * before[0]
    with pytest.raises(ZeroDivisionError), rare_collections():
        _ = 1 / 0
    assert gc.get_threshold() == before
