"""Writes files and folders so that no reader ever sees half of one."""

import errno
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PARTIAL: Final = re.compile(r"\.partial-[0-9a-f]{16}(\..*)?")
_STALE_SECONDS: Final = 3600
_STANDARD: Final = {"/dev/stdout": 1, "/dev/stderr": 2}
_OPEN_FILE: Final = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,9})")


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Writes a file under another name, and renames it at the end.

    If the process is killed while it writes, or raises an error, the file at `path` stays as it
    was. Several processes may write the same file at once; the last one wins. A new file gets the
    permissions that the umask allows; a file that is replaced keeps its permissions and, where the
    process may give files away, its owner.

    What is no file can't be replaced: a pipe or a character device gets the bytes when they are
    complete. So does an open file that is named by its number, as `/dev/stdout` is: they come after
    what it holds already.

    Args:
        path: The file to write, or a symbolic link to it. The folder must exist.

    Yields:
        The path of an empty file to write to, with the last two suffixes of `path`.

    Raises:
        OSError: If the file can't be written, or `path` is a folder, a socket or a block device.
    """
    descriptor = _descriptor(path)
    before = _status(path)
    if before is not None and (descriptor is not None or not stat.S_ISREG(before.st_mode)):
        with _write_through(path, before.st_mode, descriptor) as whole:
            yield whole
        return
    target = Path(os.path.realpath(path))  # unlike Path.resolve, raises no error for a loop
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(target.parent))
    _remove_stale(target.parent)
    # A name that nobody can guess and plant a link at; `touch` doesn't follow links here either.
    partial = target.with_name(f".partial-{secrets.token_hex(8)}{''.join(target.suffixes[-2:])}")
    try:
        with _named(path):
            partial.touch(0o666 if before is None else 0o600, exist_ok=False)
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        if before is not None:
            if hasattr(os, "chown"):
                with suppress(PermissionError):
                    os.chown(partial, before.st_uid, before.st_gid)
            partial.chmod(stat.S_IMODE(before.st_mode))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def write_folder_atomically(path: Path) -> Iterator[Path]:
    """Makes a folder under another name, and renames it at the end.

    A folder that holds something stays: to replace it would take two steps, and a process that is
    killed between them would leave none.

    Args:
        path: The folder to make. The folder above must exist.

    Yields:
        The path of an empty folder to write into.

    Raises:
        FileExistsError: If there is something at `path` already, except for an empty folder.
        OSError: If the folder can't be made.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(target.parent))
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise FileExistsError(
            errno.EEXIST, "is there already: remove it, or name another folder", str(path)
        )
    _remove_stale(target.parent)
    partial = target.with_name(f".partial-{secrets.token_hex(8)}")
    with _named(path):
        partial.mkdir()
    try:
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                with file.open("r+b") as written:
                    os.fsync(written.fileno())
        if target.exists():
            target.rmdir()  # Windows doesn't replace even an empty folder
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Names the file that was asked for in an error, in place of the partial one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _status(path: Path) -> os.stat_result | None:
    """The status of what is at a path, or a link leads to; None if there is nothing."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _descriptor(path: Path) -> int | None:
    """The number of the open file that a path such as `/dev/stdout` or `/dev/fd/3` stands for."""
    found = _OPEN_FILE.fullmatch(os.fspath(path))
    return _STANDARD.get(os.fspath(path)) if found is None else int(found[1])


@contextmanager
def _write_through(path: Path, mode: int, descriptor: int | None) -> Iterator[Path]:
    """Writes a temporary file, and its bytes into a pipe, a device or an open file."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder: name a file in it", str(path))
    if descriptor is None and not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        raise OSError(errno.EINVAL, "is a socket or a block device: name a file", str(path))
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / path.name
        whole.touch()
        yield whole
        # An open file that is opened anew would be emptied, or written from its start on.
        to = path if descriptor is None else os.dup(descriptor)
        with whole.open("rb") as data, open(to, "wb") as out:  # noqa: PTH123
            shutil.copyfileobj(data, out)


def _remove_stale(folder: Path) -> None:
    """Removes what killed processes left in a folder.

    Whether the process that made a file still lives can't be asked: it may run in another container
    or on another machine. But none pauses so long while it writes.
    """
    with suppress(OSError):
        for name in filter(_PARTIAL.fullmatch, os.listdir(folder)):  # noqa: PTH208  (only names)
            with suppress(OSError):
                status = os.lstat(folder / name)
                if time.time() - status.st_mtime <= _STALE_SECONDS:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    shutil.rmtree(folder / name)
                else:
                    os.unlink(folder / name)  # noqa: PTH108
