"""Work for processes, some of it deadly. Processes import it, which they can't do with a test."""

import os
import signal
import time


def double(items: list[int]) -> list[int]:
    """Answers each number with its double; 13 ends the process, 7 raises an error."""
    for item in items:
        if item == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        if item == 7:
            raise ZeroDivisionError("seven")
    return [2 * item for item in items]


def slow(items: list[int]) -> list[int]:
    """The process that answered, for each number."""
    time.sleep(0.01 * len(items))
    return [os.getpid()] * len(items)


def die(items: list[int]) -> list[int]:
    """Ends the process."""
    os._exit(len(items) and 5)


class NeverThere:
    """Ends a process that unpickles it."""

    def __reduce__(self):
        return os._exit, (3,)

    def __call__(self, items: list[int]) -> list[int]:
        """Answers with what it gets."""
        return items


class Unreadable:
    """Can be pickled, but not unpickled."""

    def __reduce__(self):
        return double, ([7],)


class Reads:
    """Answers each picture with its name; the name 13 ends the process."""

    def __init__(self, solver: object) -> None:
        """With any solver."""

    def __call__(self, sources: list[tuple[str, object]]) -> list[tuple[str, tuple[str, ...]]]:
        """A line for each picture, and no message."""
        if any(name == "13" for name, _ in sources):
            os.kill(os.getpid(), signal.SIGKILL)
        return [(f'{{"path": "{name}"}}\n', ()) for name, _ in sources]
