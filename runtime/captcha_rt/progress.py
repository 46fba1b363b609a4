"""A progress bar on stderr, shown only to people."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
Watch = Callable[[Iterator[Any], int], Iterator[Any]]
"""A function that shows progress: it takes an iterator and the number of items, and yields them."""


def unwatched(items: Iterator[Any], total: int) -> Iterator[Any]:  # noqa: ARG001
    """Shows no progress: a `Watch` for callers that nobody looks at."""
    return items


def track(items: Iterable[T], total: int | None, *, what: str, quiet: bool = False) -> Iterator[T]:
    """Shows a progress bar while items are consumed.

    The bar is only shown if stderr is a terminal and there is more than one item.

    Args:
        items: The items.
        total: The number of items; None if it isn't known.
        what: What is being done, to be shown beside the bar.
        quiet: Whether to show no bar.

    Yields:
        The items.
    """
    if quiet or (total is not None and total < 2) or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console  # 40 ms of import that most calls don't need
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    # With a redirect, text that is printed to stdout goes to stderr, above the bar. That is only
    # right if both are the terminal.
    redirect = sys.stdout.isatty()
    with Progress(*columns, console=console, transient=True, redirect_stdout=redirect) as bar:
        yield from bar.track(items, total=total, description=what)
