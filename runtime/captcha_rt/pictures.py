"""Folders of pictures."""

from pathlib import Path

from captcha_rt.errors import FolderError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"})


def name_below(path: Path, folder: Path) -> str:
    """A picture's name from the folder of its set on: `images/1.png`."""
    return path.relative_to(folder).as_posix()


def find_pictures(folder: Path) -> list[Path]:
    """The picture files of a folder, by suffix, sorted by name; sub-folders are not entered.

    Raises:
        FolderError: If the folder is none, can't be read, or holds no picture file.
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
