"""A progress bar on stderr, for people only."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
Watch = Callable[[Iterator[Any], int], Iterator[Any]]
"""Wraps a walk over so many items, to show its progress."""


def track(items: Iterable[T], total: int, *, what: str, quiet: bool = False) -> Iterator[T]:
    """Yields the items, with a bar on stderr if that is a terminal and there are several.

    Args:
        items: Anything.
        total: How many there are.
        what: What is being done, for the bar.
        quiet: No bar.

    Yields:
        The items.
    """
    if quiet or total < 2 or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console  # 40 ms of import that most calls don't need
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    # Redirected, what is printed to stdout would come out on stderr: right only where both are
    # the terminal, and the lines have to go above the bar.
    redirect = sys.stdout.isatty()
    with Progress(*columns, console=console, transient=True, redirect_stdout=redirect) as bar:
        yield from bar.track(items, total=total, description=what)
