"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to; at the end the file takes its place.

    A process killed in between leaves `path` as it was.

    Args:
        path: The file to write, or a link to it; its folder exists.

    Yields:
        The path to write to, with the same suffixes.
    """
    path = path.resolve()
    # The same name every time: what a killed process left is overwritten by the next.
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
