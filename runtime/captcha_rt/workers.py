"""Answers items in order: here, or in several processes, once that is worth while."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain, islice
from typing import Final, TypeAlias, TypeVar

from captcha_rt.errors import WorkerError

T = TypeVar("T")
R = TypeVar("R")
Work: TypeAlias = Callable[[list[T]], list[R]]
"""Answers a list of items with a list as long."""

Lost: TypeAlias = Callable[[T, WorkerError], R]
"""The answer to an item that ended two processes."""

MAX_WORKERS: Final = 1024
"""The largest number of processes: more than machines have cores."""

_ALONE_SECONDS: Final = 1.0  # a process takes 0.4 s of CPU to start


def answer(
    work: Work[T, R],
    items: Iterable[T],
    *,
    workers: int,
    chunk: int,
    patient: bool,
    lost: Lost[T, R],
) -> Generator[list[R], None, None]:
    """Answers items here, or in several processes.

    Args:
        work: Answers items. It is pickled for the other processes.
        items: The items. They may be endless.
        workers: The number of processes; 1 is this one.
        chunk: How many items are answered at once here. Other processes take at least `CHUNK`.
        patient: Whether to start here, and go on in the processes only if there is work for more
            than another second.
        lost: Makes the answer to an item that ended two processes.

    Yields:
        The answers in order, in lists, as they come.

    Raises:
        WorkerError: If processes can't be started, or die again and again.
        Exception: What `work` raises.
    """
    rest = iter(items)
    if workers > 1 and patient:
        count = yield from _answer_for_a_second(work, rest, chunk)
        ahead = list(islice(rest, count))
        rest = chain(ahead, rest)
        if len(ahead) < count:
            workers = 1
    if workers == 1:
        while some := list(islice(rest, chunk)):
            yield work(some)
        return
    from captcha_rt.pool import answer_in_pool  # multiprocessing, which most calls don't need

    yield from answer_in_pool(work, rest, workers=workers, chunk=chunk, lost=lost)


def _answer_for_a_second(
    work: Work[T, R], items: Iterator[T], chunk: int
) -> Generator[list[R], None, int]:
    """Answers items here, until that has taken a second and most of the time.

    Returns:
        The number of items.
    """
    worked, started, count = 0.0, time.perf_counter(), 0
    while worked < _ALONE_SECONDS or worked < (time.perf_counter() - started) / 2:
        some = list(islice(items, chunk))
        if not some:
            break
        before = time.perf_counter()
        answers = work(some)
        worked += time.perf_counter() - before
        count += len(some)
        yield answers
    return count
