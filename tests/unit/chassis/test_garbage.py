"""When the garbage collector looks for cycles."""

import gc

import pytest

from services.chassis.garbage import rare_collections


def test_collections_are_rare_meanwhile_and_as_before_afterwards_even_after_a_failure() -> None:
    before = gc.get_threshold()
    with pytest.raises(RuntimeError, match="in the middle"), rare_collections():
        assert gc.isenabled()
        assert gc.get_threshold()[0] > 10 * before[0]
        raise RuntimeError("in the middle")
    assert gc.get_threshold() == before
