"""Finds picture files: those in a folder, and those that a path on the command line stands for."""

import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final

from captcha_rt.errors import CaptchaRTError, FolderError, ImageDecodeError
from captcha_rt.formats import HEAD_BYTES, SUFFIXES, picture_format
from captcha_rt.image import MAX_BYTES

# Suffixes that pictures wrongly have, in lower case. Other suffixes count as part of the name:
# `3.14` may be the text of a picture without a suffix.
_WRONG_SUFFIXES: Final = frozenset(
    {
        *(".tif", ".tiff", ".avif", ".heic", ".ico", ".svg", ".pbm", ".pgm", ".ppm", ".pic"),
        *(".img", ".image", ".bin", ".dat", ".data", ".raw", ".tmp", ".txt", ".file", ".unknown"),
        *(".php", ".asp", ".aspx", ".ashx", ".jsp", ".cgi", ".do", ".action", ".htm", ".html"),
    }
)

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
    if path.suffix.lower() in SUFFIXES:
        return True
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
        raise FolderError(f"no picture files (PNG, JPEG, BMP, GIF or WebP) in {folder}")
    return paths


def walk(folder: Path) -> Iterator[Path]:
    """Finds all files of a folder and below, sorted; hidden folders are not entered.

    Links to folders are followed, but each folder is entered only once.
    """
    entered: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        try:
            status = Path(parent).stat()
        except OSError:  # removed since
            continue
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names))


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
    counts: Counter[str] = Counter()
    for path in files:
        if path in used:
            continue
        if is_hidden(path):
            counts["hidden"] += 1
        elif path.parent not in here:
            counts["in sub-folders"] += 1
        else:
            counts[path.suffix.lower() or "without a suffix"] += 1
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


def expand_path(path: str) -> list[tuple[str, Path | bytes | CaptchaRTError]]:
    """Finds the pictures that a path stands for: a file, a folder, a glob, or `-` for stdin.

    Args:
        path: The path of a file, which need not exist; a folder; a glob; or `-`.

    Returns:
        One pair per picture, at least one: the name to show, and the path or the bytes from stdin.
        If the path stands for no picture, the second value is the error that says why.
    """
    if path == "-":
        return [("-", read_stdin())]
    if not path:  # an empty shell variable; it doesn't mean the working folder
        return [(path, FolderError("an empty path"))]
    # The functions of os.path return False where a name is too long; Path's methods raise.
    if os.path.isdir(path):  # noqa: PTH112
        try:
            return [(str(found), found) for found in find_pictures(Path(path))]
        except FolderError as error:
            return [(path, error)]
    if glob.has_magic(path) and not os.path.exists(path):  # noqa: PTH110
        matches = sorted(m for m in _expand_glob(path) if os.path.isfile(m))  # noqa: PTH113
        return [(m, Path(m)) for m in matches] or [(path, FolderError(f"no file matches {path}"))]
    return [(path, Path(path))]


def count_files(path: str) -> int:
    """Estimates how many pictures `expand_path` finds, but opens no file and leaves stdin alone.

    A glob that the shell has left as it is counts as one.
    """
    try:
        return len(os.listdir(path)) if os.path.isdir(path) else 1  # noqa: PTH112, PTH208
    except OSError:  # `expand_path` says what is wrong
        return 1


def read_stdin() -> bytes | ImageDecodeError:
    """Reads a picture from standard input, which may be endless: one byte too many is enough.

    Returns:
        The bytes, or the error that says why there are none.
    """
    try:
        return sys.stdin.buffer.read(MAX_BYTES + 1) or b""  # None where it doesn't block
    except OSError as error:
        return ImageDecodeError(f"can't read standard input: {error.strerror}")


def _expand_glob(pattern: str) -> set[str]:
    """Finds what a glob matches.

    As in shells, `**` stands for folders at any depth, but doesn't go through links to folders.
    Python's `glob` does: two links in a folder that lead back to it are 2^40 paths.
    """
    head, *tail = re.split(rf"(?<![^{_SLASHES}])(?:\*\*(?:[{_SLASHES}]+|$))+", pattern, maxsplit=1)
    if not tail:
        return {*glob.iglob(pattern)}  # noqa: PTH207
    found: set[str] = set()
    for top in glob.iglob(head) if head else ("",):  # noqa: PTH207
        for folder, inner, _ in os.walk(top or "."):
            inner[:] = [name for name in inner if not name.startswith(".")]
            below = os.path.join(folder, "")[0 if top else 2 :]  # noqa: PTH118  (no "./")
            found |= _expand_glob(glob.escape(below) + (tail[0] or "*"))
    return found
