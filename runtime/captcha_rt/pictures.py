"""Finds picture files: those in a folder, and those that a path on the command line stands for."""

import glob
import os
import sys
from pathlib import Path
from typing import Final

from captcha_rt.errors import CaptchaRTError, FolderError

SUFFIXES: Final = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"})
"""The suffixes of picture files, in lower case."""


def name_below(path: Path, folder: Path) -> str:
    """Returns a picture's path relative to a folder, with slashes: `images/1.png`."""
    return path.relative_to(folder).as_posix()


def find_pictures(folder: Path) -> list[Path]:
    """Finds the picture files of a folder by their suffixes. Sub-folders are not searched.

    Args:
        folder: The folder.

    Returns:
        The paths, sorted by name; at least one.

    Raises:
        FolderError: If the folder doesn't exist, can't be read, or holds no picture file.
    """
    if not folder.is_dir():
        raise FolderError(f"not a folder: {folder}")
    try:
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    except OSError as error:
        raise FolderError(f"can't read the folder {folder}: {error.strerror}") from error
    if not paths:
        raise FolderError(f"no picture files ({', '.join(sorted(SUFFIXES))}) in {folder}")
    return paths


def expand_path(path: str) -> list[tuple[str, Path | bytes | CaptchaRTError]]:
    """Finds the pictures that a path stands for: a file, a folder, a glob, or `-` for stdin.

    Args:
        path: The path of a file, which need not exist; a folder; a glob; or `-`.

    Returns:
        One pair per picture, at least one: the name to show, and the path or the bytes from stdin.
        If the path stands for no picture, the second value is the error that says why.
    """
    if path == "-":
        return [("-", sys.stdin.buffer.read())]
    if not path:  # an empty shell variable; it doesn't mean the working folder
        return [(path, FolderError("an empty path"))]
    # The functions of os.path return False where a name is too long; Path's methods raise.
    if os.path.isdir(path):  # noqa: PTH112
        try:
            return [(str(found), found) for found in find_pictures(Path(path))]
        except FolderError as error:
            return [(path, error)]
    if glob.has_magic(path) and not os.path.exists(path):  # noqa: PTH110
        matches = sorted(m for m in glob.glob(path, recursive=True) if os.path.isfile(m))  # noqa: PTH113, PTH207
        return [(m, Path(m)) for m in matches] or [(path, FolderError(f"no file matches {path}"))]
    return [(path, Path(path))]
