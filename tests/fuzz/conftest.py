"""What the fuzzers share: their time, their seeds, and their figures.

`pytest tests/fuzz` takes about a minute; `CAPTCHA_FUZZ_SECONDS=3600` gives them an hour, and
`CAPTCHA_FUZZ_SEED` other inputs. The tests share the time evenly. What they saw is printed by
`pytest -s`, and written as one JSON object to the file that `CAPTCHA_FUZZ_FIGURES` names.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SECONDS = float(os.environ.get("CAPTCHA_FUZZ_SECONDS", "60"))
SEED = int(os.environ.get("CAPTCHA_FUZZ_SEED", "0"))
_seen: dict[str, dict[str, Any]] = {}


class Budget:
    """The rounds of one fuzzer: each is a random generator of its own, until the time is over.

    Attributes:
        seconds: The time in seconds; the round that runs when it is over is the last one.
        count: The number of rounds so far.
    """

    def __init__(self, seconds: float) -> None:
        """A number of seconds from the first round on."""
        self.seconds = seconds
        self.count = 0

    def __iter__(self) -> Iterator[np.random.Generator]:
        end = time.monotonic() + self.seconds
        while self.count == 0 or time.monotonic() < end:
            self.count += 1
            yield np.random.default_rng([SEED, self.count])


@pytest.fixture
def budget(request) -> Budget:
    """This fuzzer's share of the time."""
    fuzzers = sum("budget" in getattr(item, "fixturenames", ()) for item in request.session.items)
    return Budget(SECONDS / fuzzers)


@pytest.fixture
def figures(request) -> Iterator[dict[str, Any]]:
    """What a fuzzer counts, by name; shown when it ends, also if it fails."""
    seen: dict[str, Any] = {}
    yield seen
    name = request.node.name.removeprefix("test_")
    print(f"\n{name}: {json.dumps(seen)}")  # noqa: T201
    _seen[name] = seen
    if path := os.environ.get("CAPTCHA_FUZZ_FIGURES"):
        Path(path).write_text(json.dumps(_seen, indent=2) + "\n", "utf-8")
