"""What Ctrl-C does: a command is interrupted and can clean up; before and after, the program ends.

While modules are imported, an exception would be in good hands nowhere: extension modules turn it
into an ImportError, and TensorFlow ignores it. There is nothing to clean up either. So the program
ends at once then, too.

This is the first module that the command line imports, and it loads no `typing`: that takes 5 ms,
in which Ctrl-C would print a traceback.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False  # type checkers know the name

if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Final

INTERRUPTED: Final = 130
"""The exit code, 128 + SIGINT as shells have it."""


def end_at_once() -> None:
    """From now on, Ctrl-C ends the program without a word."""
    _replace((signal.default_int_handler, _interrupt), _end)


def raise_interrupts() -> None:
    """From now on, Ctrl-C raises KeyboardInterrupt, unless a module is being imported."""
    _replace((_end,), _interrupt)


def _replace(known: tuple[Any, ...], new: Any) -> None:  # noqa: ANN401  (handlers of any kind)
    """Sets the handler, unless the caller has set another, or ignores the signal as nohup does."""
    try:
        if signal.getsignal(signal.SIGINT) in known:
            signal.signal(signal.SIGINT, new)
    except ValueError:  # not in the main thread, which alone receives signals
        pass


def _end(*_: object) -> None:
    os._exit(INTERRUPTED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    caller = frame
    while caller is not None:
        if caller.f_code.co_filename.startswith("<frozen importlib"):
            _end()
        caller = caller.f_back
    signal.default_int_handler(number, frame)
