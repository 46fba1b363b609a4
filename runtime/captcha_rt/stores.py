"""Pictures and output in stores that fsspec knows, such as S3: `s3://bucket/folder`.

It comes with the extra `dask`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from glob import has_magic
from pathlib import Path
from typing import Final

import fsspec

from captcha_rt.errors import FolderError, ImageDecodeError, in_one_line
from captcha_rt.files import write_atomically
from captcha_rt.formats import SUFFIXES
from captcha_rt.image import MAX_BYTES

_OBJECT_STORES: Final = {"s3", "gs", "abfs", "oss", "oci", "tos", "hf"}
"""Stores, by fsspec's names, to which `makedirs` may mean a bucket, and the right to make one."""


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
            if not path.rpartition("/")[2].startswith("."):  # as in a glob of files
                found = [name for name in found if not name.rpartition("/")[2].startswith(".")]
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


class Parts:
    """The parts of an output, small files in a folder beside it: on this machine or in a store.

    A part appears whole or not at all. Whatever a store says is wrong is an OSError.
    """

    def __init__(self, output: str) -> None:
        """Takes the output's path or address; makes nothing yet.

        Raises:
            OSError: If fsspec doesn't know the store.
        """
        self._output = output
        self._local = not is_url(output)
        if self._local:  # a path may hold what means something in an address
            self._store, self._folder = fsspec.filesystem("file"), str(Path(output).absolute())
        else:
            with _errors_of(output):
                self._store, self._folder = fsspec.url_to_fs(output)
        self._folder += ".parts"

    def make(self) -> None:
        """Makes the folder; object stores have none."""
        if self._local:
            Path(self._folder).mkdir(exist_ok=True)
            return
        protocol = self._store.protocol
        names = {protocol} if isinstance(protocol, str) else {*protocol}
        if not names & _OBJECT_STORES:
            with _errors_of(self._output):
                self._store.makedirs(self._folder, exist_ok=True)

    def has(self, name: str) -> bool:
        """Whether there is a part."""
        with _errors_of(self._output):
            found: bool = self._store.exists(f"{self._folder}/{name}")
        return found

    def read(self, name: str) -> str:
        """Reads a part."""
        with _errors_of(self._output):
            data: bytes = self._store.cat_file(f"{self._folder}/{name}")
        return data.decode()

    def write(self, name: str, text: str) -> None:
        """Writes a part."""
        if self._local:
            with write_atomically(Path(self._folder, name)) as file:
                file.write_bytes(text.encode())
            return
        with _errors_of(self._output):
            self._store.pipe_file(f"{self._folder}/{name}", text.encode())

    def remove(self) -> None:
        """Removes all parts."""
        with _errors_of(self._output):
            if self._store.exists(self._folder):
                self._store.rm(self._folder, recursive=True)


@contextmanager
def output_file(output: str, folder: Path) -> Iterator[Path]:
    """A file to write, whose place is then that of the output.

    Args:
        output: A path, or an address in a store.
        folder: An empty folder, for what goes to a store.

    Raises:
        OSError: If it can't be written.
    """
    if not is_url(output):
        yield Path(output)
        return
    file = folder / output.rpartition("/")[2]
    yield file
    with _errors_of(output):
        store, path = fsspec.url_to_fs(output)
        store.put_file(os.fspath(file), path)


@contextmanager
def _errors_of(output: str) -> Iterator[None]:
    """Each store has errors of its own: turns them into an OSError that names the output."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise OSError(f"{output}: {in_one_line(error)}") from error


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
