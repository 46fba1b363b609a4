"""Whether a process still takes requests."""

from dataclasses import dataclass


@dataclass(slots=True)
class State:
    """Where a process is in its life.

    Attributes:
        draining: Whether it is about to end: it answers what comes, but says it isn't ready.
    """

    draining: bool = False
