"""One process at a time for a folder: a lock that ends with its process, however that ends."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from captcha_rt_train.errors import TrainingError

LOCK: Final = "lock"
"""The name of the file that a process locks in a folder that is its own for a while."""

_HELD: Final = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextmanager
def alone_in(folder: Path, doing: str = "trained", option: str = "-o") -> Iterator[None]:
    """Keeps other processes out of a run's folder, which is made if needed.

    Args:
        folder: The folder.
        doing: What is being done in it.
        option: The option that names another folder.

    Raises:
        TrainingError: If another process is at work in the folder, or it can't be made.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"can't make the folder {folder}: {error.strerror}; choose another with {option}"
        ) from error
    path = folder / LOCK
    remedy = f"wait until it ends, or choose another folder with {option}"
    try:
        with lock(path, f"{folder} is being {doing} in", remedy):
            try:
                yield
            finally:
                with suppress(OSError):  # Windows keeps an open file
                    path.unlink()
    finally:
        if made:
            with suppress(OSError):  # what was trained lies there
                folder.rmdir()


def lock(path: Path, what: str, remedy: str) -> IO[bytes]:
    """Locks a file; the lock lasts until the file is closed or the process ends.

    Args:
        path: The file to lock, which is made if needed. It names the process.
        what: What another process does, as the error begins.
        remedy: What to do then.

    Returns:
        The open file.

    Raises:
        TrainingError: If another process holds the lock.
        OSError: If the file can't be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    file = os.fdopen(descriptor, "r+b")
    try:
        _acquire(descriptor)
    except OSError as error:
        if error.errno in _HELD:
            holder = _read(path)
            file.close()
            raise TrainingError(f"{what} already{holder}: {remedy}") from None
        # The file system has no locks. Then nothing keeps a second process away.
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    file.flush()
    return file


def _read(path: Path) -> str:
    """Which process holds the lock, in words; nothing if that is not known."""
    try:
        text = path.read_bytes().decode("ascii", "replace")
    except OSError:  # Windows refuses to read what is locked
        return ""
    return f" by process {text}" if text.isdecimal() else ""


def _acquire(descriptor: int) -> None:
    """Locks the open file, or raises OSError at once."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt  # type: ignore[import-not-found,unused-ignore]

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
