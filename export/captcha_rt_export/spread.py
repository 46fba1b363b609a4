"""Some of many things, evenly spread."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many items, evenly spread over all of them: neighbours are often alike."""
    if len(items) <= most:
        return list(items)
    return [items[index * len(items) // most] for index in range(most)]
