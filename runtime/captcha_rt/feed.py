"""Takes items from an iterator in a thread, so that the caller can work while the next pauses."""

import signal
import sys
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_NONE: Final = sys.maxsize  # nobody waits
_FILL_SECONDS: Final = 0.05  # items that came wait no longer for those that come slowly
_LEAVE_SECONDS: Final = 0.1  # the thread isn't waited for any longer


class Feed(Generic[T]):
    """Items of an iterator, in order, of which some are taken ahead."""

    def __init__(self, items: Iterable[T], most: int) -> None:
        """Begins to take items.

        Args:
            items: The items. They may be endless, and pause for as long as they like.
            most: How many may wait here to be taken.
        """
        self._most = most
        self._wanted = _NONE  # so many are waited for
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._over = self._closed = False
        # A thread that waits for the next item can't be ended; a daemon doesn't keep Python alive.
        self._thread = threading.Thread(target=self._fill, args=(items,), name="feed", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """The number of items that wait."""
        return len(self._waiting)

    @property
    def ended(self) -> bool:
        """Whether all items were taken."""
        return self._over and not self._waiting

    def take(self, count: int, patience: float | None = None) -> list[T]:
        """Takes the next items: those that come within a moment of the first.

        Args:
            count: The number of items to take at most.
            patience: How many seconds to wait for the first one; None is as long as it takes.

        Returns:
            The items; none if there are no more, or none came in time.
        """
        with self._changed:
            self._wait_for(1, patience)
            if 0 < len(self._waiting) < count:
                self._changed.notify()
                self._wait_for(count, _FILL_SECONDS)
            some = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
            if len(self._waiting) <= self._most // 2:  # so the thread is woken seldom
                self._changed.notify()
        return some

    def allow(self, most: int) -> None:
        """Changes how many items may wait."""
        with self._changed:
            self._most = most
            self._changed.notify()

    def close(self) -> None:
        """Takes no more items. After this, the caller's iterator is free, unless it pauses."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        with suppress(RuntimeError):  # garbage is collected in this very thread
            self._thread.join(_LEAVE_SECONDS)

    def raise_error(self) -> None:
        """Raises what the iterator has raised, if it has."""
        if self._error is not None:
            raise self._error

    def _wait_for(self, count: int, seconds: float | None) -> None:
        self._wanted = count
        self._changed.wait_for(lambda: len(self._waiting) >= count or self._over, seconds)
        self._wanted = _NONE

    def _fill(self, items: Iterable[T]) -> None:
        """Runs in the thread."""
        if hasattr(signal, "pthread_sigmask"):  # not on Windows
            # Where the first thread blocks Ctrl-C for a moment, this one mustn't receive it.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for item in items:
                self._waiting.append(item)
                if len(self._waiting) >= min(self._wanted, self._most):  # the lock is seldom needed
                    with self._changed:
                        self._changed.notify()
                        while len(self._waiting) >= self._most and not self._closed:
                            self._changed.wait()
                if self._closed:
                    return
        except BaseException as error:  # noqa: BLE001  (it is raised where the items are taken)
            self._error = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify()
