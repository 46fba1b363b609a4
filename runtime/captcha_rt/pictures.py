"""Finds picture files: those in a folder, and those that a path on the command line stands for."""

import fnmatch
import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, Final

from captcha_rt.errors import CaptchaRTError, FolderError, ImageDecodeError
from captcha_rt.formats import HEAD_BYTES, SUFFIXES, picture_format
from captcha_rt.image import MAX_BYTES
from captcha_rt.sorting import sorted_texts

# Suffixes that pictures wrongly have, in lower case. Other suffixes count as part of the name:
# `3.14` may be the text of a picture without a suffix.
_WRONG_SUFFIXES: Final = frozenset(
    {
        *(".tif", ".tiff", ".avif", ".heic", ".ico", ".svg", ".pbm", ".pgm", ".ppm", ".pic"),
        *(".img", ".image", ".bin", ".dat", ".data", ".raw", ".tmp", ".txt", ".file", ".unknown"),
        *(".php", ".asp", ".aspx", ".ashx", ".jsp", ".cgi", ".do", ".action", ".htm", ".html"),
    }
)

NO_PICTURES: Final = "no picture files (PNG, JPEG, BMP, GIF or WebP) in"
_LOOKED_AT: Final = 10_000  # files below a folder without pictures, for the hint where some are

_SLASHES: Final = re.escape(os.sep + (os.altsep or ""))


def name_below(path: Path, folder: Path) -> str:
    """Returns a file's path relative to a folder, with slashes: `images/1.png`.

    A file that isn't below the folder keeps its path.
    """
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def stem_of(path: Path) -> str:
    """Returns a picture's name without its suffix, if the name has one: `3.14` keeps its dot."""
    return path.stem if path.suffix.lower() in SUFFIXES | _WRONG_SUFFIXES else path.name


def is_hidden(path: Path) -> bool:
    """Whether a name begins with a dot, as `._abcd.png`, which macOS writes beside `abcd.png`."""
    return path.name.startswith(".")


def is_picture(path: Path) -> bool:
    """Whether a file is a picture by its suffix, or by its first bytes if the suffix is unknown."""
    if not path.is_file():
        return False
    return path.suffix.lower() in SUFFIXES or begins_as_picture(path)


def begins_as_picture(path: Path) -> bool:
    """Whether a file is a picture by its first bytes; not if they can't be read."""
    try:
        with path.open("rb") as file:
            return picture_format(file.read(HEAD_BYTES)) is not None
    except OSError:
        return False


def list_visible(folder: Path) -> list[Path]:
    """Lists the files and folders in a folder that are not hidden, sorted.

    Raises:
        FolderError: If the folder can't be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not is_hidden(path))
    except OSError as error:
        raise FolderError(f"can't read the folder {folder}: {error.strerror}") from error


def stream_pictures(folder: Path) -> Iterator[Path]:
    """Finds the same files as `find_pictures`, in memory that doesn't grow with their number.

    Raises:
        FolderError: As for `find_pictures`, when the first path is taken.
    """
    names = sorted_texts(entry.name for entry in _entries(folder) if _is_picture(entry))
    name = None
    for name in names:
        yield folder / name
    if name is None:
        raise _no_pictures(folder)


def _no_pictures(folder: Path) -> FolderError:
    """The error for a folder without pictures, which names a folder below that has some."""
    files = islice(walk(folder), _LOOKED_AT)
    below = next((path.parent for path in files if is_picture(path) and _is_shown(path)), None)
    hint = "" if below is None else f"; there are some in {below}"
    return FolderError(f"{NO_PICTURES} {folder}{hint}")


def _is_shown(path: Path) -> bool:
    """Whether a file is neither hidden nor in `__MACOSX`, which macOS adds to archives."""
    return not is_hidden(path) and "__MACOSX" not in path.parts


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The files and folders in a folder, in no order."""
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise FolderError(f"can't read the folder {folder}: {error.strerror}") from error


def _is_picture(entry: os.DirEntry[str]) -> bool:
    """As `is_picture`; what the system has told of a file isn't asked again."""
    if entry.name.startswith("."):
        return False
    if os.path.splitext(entry.name)[1].lower() not in SUFFIXES:  # noqa: PTH122
        return is_picture(Path(entry))
    return _is(entry, os.DirEntry.is_file)


def _is(entry: os.DirEntry[str], kind: Callable[[os.DirEntry[str]], bool]) -> bool:
    """Whether something is a file, or a folder; not if it can't be looked at."""
    try:
        return kind(entry)
    except OSError:
        return False


def find_pictures(folder: Path) -> list[Path]:
    """Finds the picture files of a folder. Hidden files are none; sub-folders are not searched.

    Args:
        folder: The folder.

    Returns:
        The paths, sorted by name; at least one.

    Raises:
        FolderError: If the folder doesn't exist, can't be read, or holds no picture file.
    """
    if not folder.is_dir():
        raise FolderError(f"not a folder: {folder}")
    paths = [path for path in list_visible(folder) if is_picture(path)]
    if not paths:
        raise _no_pictures(folder)
    return paths


def walk(folder: Path) -> Iterator[Path]:
    """Finds all files of a folder and below, sorted; hidden folders are not entered.

    Links to folders are followed, but each folder is entered only once. The memory doesn't grow
    with the number of files.
    """
    for parent, entries in groupby(_files_below(folder), itemgetter(0)):
        yield from (Path(parent, name) for name in sorted_texts(entry.name for _, entry in entries))


def _files_below(folder: Path) -> Iterator[tuple[Path, os.DirEntry[str]]]:
    """The files of a folder and below, each with its folder: the folders sorted, the files not."""
    entered: set[tuple[int, int]] = set()
    left = [folder]
    while left:
        parent = left.pop()
        try:
            status = parent.stat()
        except OSError:  # removed since
            continue
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        inner = []
        with suppress(FolderError):
            for entry in _entries(parent):
                if not _is(entry, os.DirEntry.is_dir):
                    yield parent, entry
                elif not entry.name.startswith("."):
                    inner.append(entry.name)
        left += [parent / name for name in sorted(inner, reverse=True)]


def describe_passed_over(files: Iterable[Path], used: Collection[Path], folder: Path) -> str:
    """Counts the files that were not used, in one line.

    Args:
        files: All files of the folder and below.
        used: The files that were used.
        folder: The folder.

    Returns:
        The line, such as `passed over: 3 hidden, 2 .txt files, 14 files in sub-folders`; empty if
        all files were used.
    """
    here = {folder, *(path.parent for path in used)}
    left = (path for path in files if path not in used)
    return _in_words(_kind(path.name, here=path.parent in here) for path in left)


def describe_not_streamed(folder: Path, used: Collection[Path] = ()) -> str:
    """Says in the same words which files of a folder and below `stream_pictures` doesn't find.

    Args:
        folder: The folder.
        used: Other files that were used.
    """
    parents = {path.parent for path in used}
    return _in_words(
        _kind(entry.name, here=parent is folder or parent in parents)
        for parent, entry in _files_below(folder)
        if not (parent is folder and _is_picture(entry))
        and not (parent in parents and parent / entry.name in used)
    )


def _kind(name: str, *, here: bool) -> str:
    """What a file is counted as that was not used."""
    if name.startswith("."):
        return "hidden"
    return (Path(name).suffix.lower() or "without a suffix") if here else "in sub-folders"


def _in_words(kinds: Iterable[str]) -> str:
    counts = Counter(dict(sorted(Counter(kinds).items())))  # the order of files says nothing
    return f"passed over: {count_in_words(counts)}" if counts else ""


def count_in_words(counts: Counter[str]) -> str:
    """Says how many files there are of each kind, the most frequent first.

    A kind that is a suffix, or `hidden`, stands before the noun: `2 .txt files, 1 file in x`.
    """
    words = []
    for kind, count in counts.most_common():
        noun = "file" if count == 1 else "files"
        before = kind == "hidden" or kind.startswith(".")
        words.append(f"{count} {kind} {noun}" if before else f"{count} {noun} {kind}")
    return ", ".join(words)


def expand_path(path: str) -> Iterator[tuple[str, Path | bytes | CaptchaRTError]]:
    """Finds the pictures that a path stands for: a file, a folder, a glob, or `-` for stdin.

    Args:
        path: The path of a file, which need not exist; a folder; a glob; or `-`.

    Yields:
        One pair per picture, at least one: the name to show, and the path or the bytes from stdin.
        If the path stands for no picture, the second value is the error that says why. The memory
        doesn't grow with the number of pictures.
    """
    if path == "-":
        yield "-", read_stdin()
    elif not path:  # an empty shell variable; it doesn't mean the working folder
        yield path, FolderError("an empty path")
    # The functions of os.path return False where a name is too long; Path's methods raise.
    elif os.path.isdir(path):  # noqa: PTH112
        try:
            for found in stream_pictures(Path(path)):
                yield str(found), found
        except FolderError as error:
            yield path, error
    elif glob.has_magic(path) and not os.path.exists(path):  # noqa: PTH110
        files = (name for name in _expand_glob(path) if os.path.isfile(name))  # noqa: PTH113
        match = None
        for match, _ in groupby(sorted_texts(files)):  # several ways may lead to a file
            yield match, Path(match)
        if match is None:
            yield path, FolderError(f"no file matches {path}")
    else:
        yield path, Path(path)


def read_list(path: str) -> Iterator[str]:
    """Reads the paths of files from a list, as they are needed.

    Args:
        path: The path of a text file, or `-` for standard input. A line is a path, as it stands;
            empty lines are passed over.

    Yields:
        The paths.

    Raises:
        OSError: If the file can't be read.
    """
    with _open_stdin() if path == "-" else Path(path).open("rb") as lines:
        for line in lines:
            if name := os.fsdecode(line.rstrip(b"\r\n")):
                yield name


def count_files(path: str) -> int:
    """Estimates how many pictures `expand_path` finds, but opens no file and leaves stdin alone."""
    try:
        with os.scandir(path) as entries:
            return sum(1 for _ in entries)
    except OSError:  # no folder, or `expand_path` says what is wrong
        pass
    is_glob = glob.has_magic(path) and not os.path.lexists(path)
    return max(1, sum(1 for _ in _expand_glob(path))) if is_glob else 1


def read_stdin() -> bytes | ImageDecodeError:
    """Reads a picture from standard input, which may be endless: one byte too many is enough.

    Returns:
        The bytes, or the error that says why there are none.
    """
    try:
        with _open_stdin() as stream:
            return stream.read(MAX_BYTES + 1) or b""  # None where it doesn't block
    except OSError as error:
        return ImageDecodeError(f"can't read standard input: {error.strerror}")


def _open_stdin() -> BinaryIO:
    """Standard input, to be read in any thread.

    Python fails to exit while a thread waits for `sys.stdin` itself.
    """
    return open(sys.stdin.fileno(), "rb", closefd=False)


def _expand_glob(pattern: str) -> Iterator[str]:
    """Finds what a glob matches, in no order, and some of it several times.

    As in shells, `**` stands for folders at any depth, but doesn't go through links to folders.
    Python's `glob` does: two links in a folder that lead back to it are 2^40 paths.
    """
    head, *tail = re.split(rf"(?<![^{_SLASHES}])(?:\*\*(?:[{_SLASHES}]+|$))+", pattern, maxsplit=1)
    if not tail:
        yield from _match(pattern)
        return
    for top in glob.iglob(head) if head else ("",):  # noqa: PTH207
        for folder, inner, _ in os.walk(top or "."):
            inner[:] = [name for name in inner if not name.startswith(".")]
            below = os.path.join(folder, "")[0 if top else 2 :]  # noqa: PTH118  (no "./")
            yield from _expand_glob(glob.escape(below) + (tail[0] or "*"))


def _match(pattern: str) -> Iterator[str]:
    """Finds what a glob without `**` matches; unlike Python's `glob`, lists no folder in memory."""
    head, name = os.path.split(pattern)
    if not glob.has_magic(name):
        yield from glob.iglob(pattern)  # noqa: PTH207
        return
    fits = re.compile(fnmatch.translate(os.path.normcase(name))).match
    hidden = name.startswith(".")
    for folder in glob.iglob(head) if head else ("",):  # noqa: PTH207
        with suppress(OSError), os.scandir(folder or ".") as entries:
            for entry in entries:
                if fits(os.path.normcase(entry.name)) and entry.name.startswith(".") <= hidden:
                    yield os.path.join(folder, entry.name)  # noqa: PTH118
