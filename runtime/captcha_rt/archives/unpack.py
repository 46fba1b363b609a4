"""Unpacks an archive into a folder of the user's cache.

An archive is unpacked as a whole or not at all. The folder's name ends with a hash of the archive,
so that an archive is unpacked only once, a run can be continued, and a changed archive gets a
folder of its own. What was not used for 30 days goes when another archive is unpacked.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from captcha_rt.errors import ArchiveError
from captcha_rt.pictures import begins_as_picture, count_in_words, list_visible

_FILES: Final = "pictures"  # the folder with the files, beside their list
_LIST: Final = "unpacked.json"
_PARTIAL: Final = ".partial-"
_STALE_SECONDS: Final = 3600
_UNUSED_SECONDS: Final = 30 * 24 * 3600
_MAX_DEPTH: Final = 32  # folders in folders


class Unpacked(NamedTuple):
    """Where the files of a folder or an archive are.

    Attributes:
        folder: The folder.
        note: One line that says what was unpacked, and where; empty if the path was no archive.
    """

    folder: Path
    note: str = ""


def is_archive(path: Path) -> bool:
    """Whether a path is a file that `unpack` unpacks, or names as an archive that it can't."""
    # `isfile` is False for a name that is too long.
    if not os.path.isfile(path) or begins_as_picture(path):  # noqa: PTH113
        return False
    from captcha_rt.archives.members import archive_format  # zipfile and tarfile: 20 ms

    return archive_format(path) is not None


def unpack(path: Path) -> Unpacked:
    """Unpacks an archive, unless that was done before.

    Passed over, and counted in the note: links, devices and pipes; hidden files; and `__MACOSX`,
    which macOS adds. A single folder at the top is looked through.

    Args:
        path: A folder, or a zip or tar file, which may be compressed by gzip, bzip2 or xz. The
            content decides, not the suffix.

    Returns:
        The folder with the files; for anything but an archive the path itself.

    Raises:
        ArchiveError: If the archive is damaged, encrypted, too large or in a format that is not
            read, if a name in it leads out of the folder, or if it can't be read or written.
    """
    if not is_archive(path):
        return Unpacked(path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        name = re.sub(r"\W+", "_", path.name.split(".")[0])[:40]
        folder = cache_folder() / "archives" / f"{name}-{digest}"
        notes = _notes_of(folder)
        if notes is None:
            notes = _unpack_into(folder, path)
        with suppress(OSError):
            os.utime(folder / _LIST)  # it is in use: see `_remove_unused`
        files = _look_through(folder / _FILES)
    except OSError as error:
        where = f" in {cache_folder()}" if error.filename != str(path) else ""
        raise ArchiveError(
            f"can't unpack {path}{where}: {error.strerror or error}; unpack it, and give the "
            "folder, or name another cache in CAPTCHA_RT_CACHE"
        ) from error
    return Unpacked(files, "; ".join((f"{path} is unpacked in {files}", *notes)))


def cache_folder() -> Path:
    """The folder for what can be made again: `CAPTCHA_RT_CACHE`, or the one of the system."""
    if own := os.environ.get("CAPTCHA_RT_CACHE"):
        return Path(own).absolute()
    home = Path(os.path.expanduser("~"))  # noqa: PTH111  (Path.home may raise an error)
    match sys.platform:
        case "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
        case "darwin":
            base = home / "Library" / "Caches"
        case _:
            base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base.absolute() / "captcha-rt"


def _notes_of(folder: Path) -> list[str] | None:
    """The notes on an unpacked archive; None if it is not unpacked, or files are gone."""
    try:
        listed = json.loads((folder / _LIST).read_text("utf-8"))
        whole = all(
            os.path.getsize(folder / _FILES / name) == size  # noqa: PTH202  (half of the time)
            for name, size in listed["sizes"].items()
        )
        return list(listed["notes"]) if whole else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _unpack_into(folder: Path, path: Path) -> list[str]:
    """Unpacks an archive, and puts the folder in its place when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder.parent)
    _remove_unused(folder)
    with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=folder.parent) as partial:
        new = Path(partial) / "new"
        files = new / _FILES
        files.mkdir(parents=True)
        sizes, notes = _write(path, files)
        (new / _LIST).write_text(json.dumps({"notes": notes, "sizes": sizes}), "utf-8")
        if folder.exists() and _notes_of(folder) is None:  # files of it are gone
            with suppress(OSError):  # another process was faster
                folder.rename(Path(partial) / "old")
        try:
            new.rename(folder)
        except OSError:
            if _notes_of(folder) is None:  # otherwise another process was faster
                raise
    return notes


def _write(path: Path, folder: Path) -> tuple[dict[str, int], list[str]]:
    """Writes the files; returns their sizes by name, and notes on the others."""
    from captcha_rt.archives.members import MAX_BYTES, archive_format, read_members, too_large

    sizes: dict[str, int] = {}
    passed_over: Counter[str] = Counter()
    guessed = written = 0
    for member in read_members(path, archive_format(path) or ""):
        parts = _parts(path, member.name)
        why = member.passed_over or _why_not(parts)
        if why:
            passed_over[why] += 1
            continue
        name = "/".join(parts)
        target = folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        if name in sizes:
            passed_over["replaced by a later one of the same name"] += 1
        elif target.exists():
            raise ArchiveError(f"{path} holds names that are one on this system, as {name!r}")
        with target.open("wb") as file:
            for chunk in member.content:
                written += file.write(chunk)
                if written > MAX_BYTES:
                    raise too_large(path, f"{MAX_BYTES >> 30} GB")
        sizes[name] = target.stat().st_size
        guessed += member.guessed
    notes = [f"passed over: {count_in_words(passed_over)}"] if passed_over else []
    if guessed:
        notes.append(f"{guessed} names in an unknown encoding, read as code page 437")
    return sizes, notes


def _parts(path: Path, name: str) -> list[str]:
    """The folders and the file of a name.

    Raises:
        ArchiveError: If the name leads out of the folder, or is none.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    outside = name.startswith("/") or ".." in parts or re.match("[A-Za-z]:[/\\\\]", name)
    # Windows takes a colon for a drive or a stream of a file, and a backslash for a slash.
    on_windows = os.name == "nt" and re.search("[:\\\\]", name)
    if outside or on_windows or not parts or "\0" in name or len(parts) > _MAX_DEPTH:
        raise ArchiveError(
            f"{path}: nothing is unpacked, since a file in it is named {name[:80]!r}; unpack it "
            "by another program, and give the folder"
        )
    return parts


def _why_not(parts: Iterable[str]) -> str:
    """Why a file is passed over by its name; empty if it isn't."""
    if "__MACOSX" in parts:
        return "of macOS"
    return "hidden" if any(part.startswith(".") for part in parts) else ""


def _look_through(folder: Path) -> Path:
    """The folder in which there is more than one other folder."""
    while True:
        inner = list_visible(folder)
        if len(inner) != 1 or not inner[0].is_dir():
            return folder
        folder = inner[0]


def _remove_stale(folder: Path) -> None:
    """Removes what killed processes left; none pauses for an hour while it unpacks."""
    for path in folder.glob(f"{_PARTIAL}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _remove_unused(folder: Path) -> None:
    """Removes the folders beside one that were not used for 30 days.

    A folder is renamed before its files go, so that it is never there in part.
    """
    for path in folder.parent.iterdir():
        with suppress(OSError):
            unused = time.time() - (path / _LIST).stat().st_mtime
            if path != folder and unused > _UNUSED_SECONDS:
                gone = path.rename(path.with_name(f"{_PARTIAL}{path.name}"))
                shutil.rmtree(gone, ignore_errors=True)
