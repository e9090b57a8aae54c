"""`tickmesh explain`: an order's story, for a person."""

from __future__ import annotations

import asyncio
import sys

from services.chassis.settings import load
from services.console.layout import Trouble
from services.console.settings import ConsoleSettings


def explain(order_id: str) -> int:
    """Prints it.

    Raises:
        Trouble: there is no such order, or nobody who knows of it.
    """
    from services.chassis.errors import ApiError
    from services.console.story.clients import story

    try:
        lines = asyncio.run(story(load(ConsoleSettings), order_id))
    except ApiError as error:
        raise Trouble(error.message) from None
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0
