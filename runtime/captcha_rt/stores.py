"""Pictures in stores that fsspec reads, such as S3: `s3://bucket/folder` (the extra `dask`)."""

from collections.abc import Iterator
from glob import has_magic
from pathlib import Path

import fsspec

from captcha_rt.errors import FolderError, ImageDecodeError, in_one_line
from captcha_rt.formats import SUFFIXES
from captcha_rt.image import MAX_BYTES


def is_url(name: str) -> bool:
    """Whether a name is the address of something in a store, not a path."""
    return "://" in name


def expand_url(url: str) -> Iterator[tuple[str, FolderError | None]]:
    """Finds the pictures that a URL stands for: a file, a folder or a glob in a store.

    Args:
        url: An address that fsspec knows, such as `s3://bucket/folder` or `gs://bucket/*.png`.

    Yields:
        A pair for each picture, sorted: its address, and None; if there is none, one pair with the
        error that says why. In a folder pictures are known by their suffixes. A store lists all
        names at once.
    """
    try:
        store, path = fsspec.url_to_fs(url)
        if has_magic(path) and not store.exists(path):
            found = [name for name in store.glob(path) if not store.isdir(name)]
        elif store.isdir(path):
            listed = store.ls(path, detail=True)
            found = [entry["name"] for entry in listed if entry["type"] == "file"]
            found = [name for name in found if _is_picture(name.rpartition("/")[2])]
        else:
            yield url, None
            return
    except Exception as error:  # noqa: BLE001  (each store has its own)
        yield url, FolderError(f"can't look through {url}: {in_one_line(error)}")
        return
    if not found:
        yield url, FolderError(f"no picture files at {url}")
    yield from ((store.unstrip_protocol(name), None) for name in sorted(found))


def fetch(url: str) -> bytes | ImageDecodeError:
    """The bytes of a picture in a store, or the error that prevents that."""
    try:
        with fsspec.open(url, "rb") as file:
            data: bytes = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return ImageDecodeError(f"no such file: {url}")
    except Exception as error:  # noqa: BLE001  (each store has its own)
        return ImageDecodeError(f"can't read {url}: {in_one_line(error)}")
    return data


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
