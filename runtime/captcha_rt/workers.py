"""Answers items in order: here, or in several processes, once that is worth while."""

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import Final, TypeAlias, TypeVar

from captcha_rt.errors import WorkerError
from captcha_rt.feed import Feed

T = TypeVar("T")
R = TypeVar("R")
Work: TypeAlias = Callable[[list[T]], list[R]]
"""Answers a list of items with a list as long."""

Lost: TypeAlias = Callable[[T, WorkerError], R]
"""The answer to an item that ended two processes, or can't be sent to one."""

MAX_WORKERS: Final = 1024
"""The largest number of processes: more than machines have cores."""

CHUNK: Final = 64
"""The smallest number of items that another process gets at a time. The first process takes 5 µs of
CPU for the pipes of each picture so, and 23 with 8 at a time."""

_AHEAD: Final = 4  # chunks that wait here; with fewer, the feed's thread wakes too often

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

    Answers come as soon as they are ready, also while `items` pauses: it runs in a thread.

    Args:
        work: Answers items. It is pickled for the other processes.
        items: The items. They may be endless.
        workers: The number of processes; 1 is this one.
        chunk: How many items are answered at once here. Other processes take at least `CHUNK`.
        patient: Whether to start here, and go on in the processes only if there is work for more
            than another second.
        lost: Makes the answer to an item that ended two processes, or can't be pickled.

    Yields:
        The answers in order, in lists, as they come.

    Raises:
        WorkerError: If processes can't be started, or die again and again.
        Exception: What `work` raises; or `items`, when what came before is answered.
    """
    size = max(chunk, CHUNK)
    with closing(Feed(items, _AHEAD * size)) as feed:
        if workers > 1 and patient:
            yield from _answer_for_a_second(work, feed, chunk)
        if workers > 1 and not feed.ended:
            feed.allow(size)
            from captcha_rt.pool import answer_in_pool  # multiprocessing: most calls don't need it

            yield from answer_in_pool(work, feed, workers=workers, size=size, lost=lost)
        while some := feed.take(chunk):
            yield work(some)
        feed.raise_error()


def _answer_for_a_second(
    work: Work[T, R], feed: Feed[T], chunk: int
) -> Generator[list[R], None, None]:
    """Answers items here, until that has taken a second and most of the time, and as many wait."""
    worked, started, count, wanted = 0.0, time.perf_counter(), 0, 0
    while some := feed.take(chunk):
        before = time.perf_counter()
        answers = work(some)
        now = time.perf_counter()
        worked += now - before
        count += len(some)
        yield answers
        if not wanted and worked >= max(_ALONE_SECONDS, (now - started) / 2):
            wanted = count
            feed.allow(max(wanted, _AHEAD * CHUNK))
        if wanted and len(feed) >= wanted:
            return
