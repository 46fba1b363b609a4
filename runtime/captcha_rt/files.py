"""Writes files so that no reader ever sees half of one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Writes a file under another name, and renames it at the end.

    If the process is killed while it writes, or raises an error, the file at `path` stays as it
    was.

    Args:
        path: The file to write, or a symbolic link to it. The folder must exist.

    Yields:
        The path to write to, in the file's folder and with the file's suffixes.
    """
    path = path.resolve()
    # Always the same name, so that the next process overwrites what a killed process left.
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
