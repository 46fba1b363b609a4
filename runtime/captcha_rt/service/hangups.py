"""SIGHUP, which loads the models again, has to wait until its handler is there.

Without a handler it ends a process. So it is blocked when the service begins, and when a process is
started. Then the system keeps it for the handler.
"""

import signal
from contextlib import suppress


def hold() -> None:
    """From now on SIGHUP waits, in this thread and in processes that it starts."""
    with suppress(AttributeError):  # Windows has no such signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def let_through() -> None:
    """From now on SIGHUP is handled, also one that came before."""
    with suppress(AttributeError):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
