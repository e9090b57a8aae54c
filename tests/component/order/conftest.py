"""The order service with a market around it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.component.order.support import Mesh, running


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    """The service in this process; the venue has joined and time stands still at the start."""
    async with running(tmp_path) as each:
        await each.market.joined()
        yield each
