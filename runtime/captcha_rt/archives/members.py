"""Reads the files in an archive, one after the other.

What an archive says of itself is not believed: no read is longer than a chunk, and what comes out
of a tar file is counted. (Of a zip file, no more than the sizes in its list comes out.)
"""

import errno
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Final, NamedTuple

from captcha_rt.errors import ArchiveError

MAX_FILES: Final = 200_000
"""The largest number of entries of an archive."""

MAX_BYTES: Final = 4 * 2**30
"""The largest number of bytes that come out of an archive."""

LINK: Final = "without content (a link)"
DEVICE: Final = "without content (a device or pipe)"

_CHUNK: Final = 2**20
_MAX_READ: Final = 16 * _CHUNK  # tarfile reads a header at once
_MAGIC: Final = {
    b"PK\3\4": "zip",
    b"PK\5\6": "zip",  # an empty one
    b"\x1f\x8b\x08": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "lzma",
    b"Rar!\x1a\x07": "RAR",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x28\xb5\x2f\xfd": "Zstandard",
}
_ENCRYPTED: Final = 0x1
_UTF_8: Final = 0x800
_UNIX: Final = 3
_DOS: Final = (0, 10, 11)  # also Windows: the separator may be a backslash
_DAMAGE: Final = (
    *(OSError, ValueError, EOFError, LookupError, ArithmeticError, RuntimeError, MemoryError),
    *(struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError),
)
"""What `zipfile` and `tarfile` raise on damaged files."""


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        name: The name with slashes, as the archive has it.
        passed_over: Why the file has no content of its own: `LINK` or `DEVICE`; otherwise empty.
        content: The content in chunks, to be read before the next member is asked for.
        guessed: Whether the archive doesn't say in which encoding the name is.
    """

    name: str
    passed_over: str
    content: Iterator[bytes]
    guessed: bool = False


def archive_format(path: Path) -> str | None:
    """Finds the format of an archive by its first bytes.

    Returns:
        `zip`, `tar`, or the module that decompresses a tar; RAR, 7z or Zstandard, which are not
        read; None if the path is no file that can be read, or a file of another kind.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            head = file.read(tarfile.BLOCKSIZE)
    except OSError:
        return None
    try:  # a tar has no magic number in its oldest form, but a checksum
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    return "tar"


def read_members(path: Path, kind: str) -> Iterator[Member]:
    """Reads the files of an archive; folders are left out.

    Args:
        path: The archive.
        kind: Its format, as `archive_format` returns it.

    Raises:
        ArchiveError: If the archive is damaged, encrypted or too large, or isn't read.
        OSError: If the archive can't be read.
    """
    if kind == "zip":
        yield from _read_zip(path)
    elif kind in ("tar", "gzip", "bz2", "lzma"):
        yield from _read_tar(path, kind)
    else:
        raise ArchiveError(f"{path} is a {kind} file, which is not read: {_BY_HAND}")


_BY_HAND: Final = "unpack it, and give the folder"


def too_large(path: Path, what: str) -> ArchiveError:
    """The error for an archive that is over a limit."""
    return ArchiveError(f"{path} holds more than {what}: {_BY_HAND}")


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turns what the libraries raise on damaged archives into one error."""
    try:
        yield
    except ArchiveError:
        raise
    except NotImplementedError as error:
        raise ArchiveError(f"can't read {path} ({error}): {_BY_HAND}") from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = str(error) or type(error).__name__
        raise ArchiveError(f"{path} is damaged, or no archive of files: {reason}") from error


def _read_zip(path: Path) -> Iterator[Member]:
    with _damage(path), zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > MAX_FILES:
            raise too_large(path, f"{MAX_FILES} files")
        if sum(entry.file_size for entry in entries) > MAX_BYTES:
            raise too_large(path, f"{MAX_BYTES >> 30} GB")
        if any(entry.filename == "[Content_Types].xml" for entry in entries):
            raise ArchiveError(
                f"{path} is a spreadsheet or another document: save its table as CSV in UTF-8"
            )
        for entry in entries:
            name, guessed = _zip_name(entry)
            if name.endswith("/"):
                continue
            mode = entry.external_attr >> 16 if entry.create_system == _UNIX else 0
            yield Member(name, _passed_over(mode), _unzip(path, archive, entry), guessed)


def _zip_name(entry: zipfile.ZipInfo) -> tuple[str, bool]:
    """An entry's name, and whether its encoding is guessed.

    Without the flag for UTF-8, `zipfile` takes a name for code page 437, as the format says. But
    macOS, among others, writes UTF-8 and sets no flag. A name in another encoding is hardly ever
    valid UTF-8.
    """
    name, guessed = entry.filename, False
    if not entry.flag_bits & _UTF_8 and not name.isascii():
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            guessed = True
    return (name.replace("\\", "/") if entry.create_system in _DOS else name), guessed


def _passed_over(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return LINK
    return "" if stat.S_IFMT(mode) in (0, stat.S_IFREG) else DEVICE


def _unzip(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    if entry.flag_bits & _ENCRYPTED:
        raise ArchiveError(f"{path} is encrypted: unpack it with its password, and give the folder")
    with _damage(path), archive.open(entry) as content:
        while chunk := content.read(_CHUNK):
            yield chunk


class _Bounded:
    """The bytes of a tar file, no more than the limit: a small file may decompress without end."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        self._check(self._file.tell() + size - _CHUNK)  # the last read may reach past the end
        return self._file.read(size)

    def seek(self, position: int) -> int:
        self._check(position)
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()

    def _check(self, position: int) -> None:
        if position > MAX_BYTES:
            raise too_large(self._path, f"{MAX_BYTES >> 30} GB")


def _read_tar(path: Path, kind: str) -> Iterator[Member]:
    opened = path.open("rb") if kind == "tar" else import_module(kind).open(path, "rb")
    with _damage(path), opened as file:
        bounded = _Bounded(path, file)
        with tarfile.open(fileobj=bounded, mode="r:") as archive:  # type: ignore[call-overload]
            for count, entry in enumerate(archive, 1):
                if count > MAX_FILES:
                    raise too_large(path, f"{MAX_FILES} files")
                if not entry.isdir():
                    kept = "" if entry.isreg() else LINK if _is_link(entry) else DEVICE
                    yield Member(entry.name, kept, _untar(path, archive, entry))
            # `tarfile` takes a damaged header, or the end of the file, for the end of the archive.
            bounded.seek(archive.offset)
            if bounded.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("cut off, or a damaged header")
        while bounded.read(_CHUNK):  # checksums of compressed data are at their end
            pass


def _is_link(entry: tarfile.TarInfo) -> bool:
    return entry.issym() or entry.islnk()


def _untar(path: Path, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Iterator[bytes]:
    with _damage(path):
        content = archive.extractfile(entry)
        while content is not None and (chunk := content.read(_CHUNK)):
            yield chunk
