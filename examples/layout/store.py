"""Collections of items in memory, in place of a database."""

from __future__ import annotations

from itertools import count
from typing import Any

__all__ = ["Item", "NoSuchItem", "Store"]

Item = dict[str, Any]


class NoSuchItem(LookupError):
    """There is no item with this number."""


class Store:
    """The items of one kind, such as books, by their numbers."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[int, Item] = {}
        self._numbers = count(1)

    def __len__(self) -> int:
        return len(self._items)

    def all(self) -> list[Item]:
        return list(self._items.values())

    def find(self, text: str) -> list[Item]:
        """Return the items that have a value that contains `text`, compared without case."""
        text = text.lower()
        return [item for item in self.all() if text in " ".join(map(str, item.values())).lower()]

    def add(self, values: Item) -> Item:
        number = next(self._numbers)
        item = self._items[number] = {**values, "id": number}
        return item

    def get(self, number: int) -> Item:
        try:
            return self._items[number]
        except KeyError:
            raise NoSuchItem(f"there is no {self.kind} {number}") from None

    def put(self, number: int, values: Item) -> Item:
        self.get(number)
        item = self._items[number] = {**values, "id": number}
        return item

    def remove(self, number: int) -> None:
        self.get(number)
        del self._items[number]
