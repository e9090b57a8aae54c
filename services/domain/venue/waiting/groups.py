"""Open orders by what they have in common, so that who asks about a few never looks at all."""

from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Groups(Generic[Key]):
    """The ids of open orders by a key; one that has none left is forgotten."""

    def __init__(self) -> None:
        self._ids: dict[Key, dict[str, None]] = {}

    def add(self, key: Key, order_id: str) -> None:
        """An order is one of these; it may be already."""
        if (ids := self._ids.get(key)) is None:
            self._ids[key] = {order_id: None}
        else:
            ids[order_id] = None

    def remove(self, key: Key, order_id: str) -> None:
        """An order ends."""
        ids = self._ids[key]
        del ids[order_id]
        if not ids:
            del self._ids[key]

    def of(self, key: Key) -> Collection[str]:
        """In no order that may be relied on."""
        return self._ids.get(key, ())
