"""Decodes pictures: bytes, a path or an array becomes uint8 `(H, W, C)` with C = 1, 3 or 4.

OpenCV does the decoding. But OpenCV allocates whatever a header claims (1.7 GB for a PNG of
109 kB), opens some twenty formats, and prints complaints on the native stderr. So for each of five
formats a small function walks the file's structure first. The function checks that the file is
whole and not too large, and passes on only the parts that make pixels. These five functions make
this module longer than others.
"""

import os
import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import ImageDecodeError

__all__ = ["ImageSource", "decode_image"]

ImageSource: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[np.generic]
)
"""What `decode_image` takes: a path, the bytes of an image file, or an array of pixels."""

MAX_PIXELS = 4_000_000
MAX_SIDE = 32_767  # the limit of OpenCV's remap and warps (SHRT_MAX)
MAX_BYTES = 64 * 2**20  # twice an uncompressed 16-bit RGBA picture of MAX_PIXELS
_MAX_BLOCKS = 10_000  # chunks, segments or sub-blocks; to walk one takes up to 1 µs
_MAX_EXTENSIONS = 100  # before a GIF's first frame
_MAX_SCANS = 100  # of a JPEG; encoders write 10, and 1,000 scans of 14 bytes cost OpenCV 2.5 s
_MAX_GIF_DATA = 128 * 2**10  # OpenCV spends 15 µs per byte on a stream of clear codes

# Keeps the stored channels and depth, like IMREAD_UNCHANGED, but applies the orientation.
_AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH

_PNG_CHUNKS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND"))
_BMP_HEADERS = frozenset(struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124))
_BMP_PLAIN, _BMP_MASKS = 0, 3  # between them are the two run-length codes


class _Checked(NamedTuple):
    """A file that is whole and small enough, ready for OpenCV.

    Attributes:
        data: The bytes to decode.
        flags: The flags to decode them with.
        transparent_grey: The level that is transparent in a grey PNG, from the tRNS chunk, which
            OpenCV drops; None if there is none.
    """

    data: bytes
    flags: int = _AS_STORED
    transparent_grey: int | None = None


def decode_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decodes a PNG, JPEG, BMP, GIF (first frame) or WebP file, or converts an array.

    The content decides the format; the suffix of a path is ignored. The channels stay as they are
    in the file: alpha is neither blended nor dropped, and grey stays grey. A palette becomes
    colours. Of a value of 16 bits the high byte is kept, as in `tf.io.decode_png`. The EXIF
    orientation of JPEG and PNG is applied; the orientation of WebP is not, since OpenCV before 4.13
    can't read it.

    A PNG with a wrong checksum is refused. JPEG and WebP have no checksums: if only the pixels of a
    file are damaged, the picture is damaged, too. Bytes after the picture's end are ignored.

    Args:
        source: The bytes of an encoded file, the path of one, or an array of pixels: uint8, uint16
            (the high byte is kept) or bool (0 and 255), `(H, W)`, `(H, W, 1)`, `(H, W, 3)` RGB or
            `(H, W, 4)` RGBA.
        max_pixels: The largest H * W; larger pictures are refused before they are decoded.

    Returns:
        `(H, W, C)` uint8, C-contiguous: C = 1 is grey, 3 is RGB, 4 is RGBA with straight alpha. If
        `source` is a contiguous uint8 array, the result shares memory with `source`.

    Raises:
        ImageDecodeError: If the file is of another format, cut off, damaged or too large, if there
            is no readable file at the path, or if `source` is of another type. The message says
            what was found.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    if isinstance(source, bytes | bytearray | memoryview):
        _check_bytes(memoryview(source).nbytes)
        return _decode(bytes(source), max_pixels)  # a copy, which can't change after the checks
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        data = _read(path)
        try:
            return _decode(data, max_pixels)
        except ImageDecodeError as error:
            raise ImageDecodeError(f"{path}: {error}") from error
    raise ImageDecodeError(
        f"expected encoded bytes, a path or a NumPy array, not {type(source).__name__}; "
        "for a Pillow image pass numpy.asarray(image)"
    )


def _decode(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    name = _format_of(data)
    try:
        checked = _FORMATS[name](data, max_pixels)
    except (struct.error, IndexError) as error:  # the check read past the end
        raise _cut_off(name, data) from error
    try:
        stored: Any = cv2.imdecode(np.frombuffer(checked.data, np.uint8), checked.flags)
    except cv2.error as error:
        raise ImageDecodeError(f"{name} that OpenCV refuses: {error}") from error
    if stored is None:
        if name == "GIF" and not cv2.haveImageWriter(".gif"):
            raise ImageDecodeError(
                f"GIF, which OpenCV {cv2.__version__} can't read: convert it to PNG, or "
                "pip install 'opencv-python-headless>=4.12'"
            )
        raise ImageDecodeError(f"{name} damaged: its structure is whole, its pixels are not")
    if checked.transparent_grey is not None:
        alpha = np.where(stored == checked.transparent_grey, 0, np.iinfo(stored.dtype).max)
        stored = np.dstack([stored, stored, stored, alpha.astype(stored.dtype)])
    picture = _high_byte(stored)
    if picture.ndim == 2:
        return picture[:, :, np.newaxis]
    to_rgb = cv2.COLOR_BGR2RGB if picture.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return np.asarray(cv2.cvtColor(picture, to_rgb), np.uint8)


def _from_array(array: NDArray[Any], max_pixels: int) -> NDArray[np.uint8]:
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,), (4,)):
        raise ImageDecodeError(
            f"array of shape {array.shape}: expected (H, W), (H, W, 1), (H, W, 3) RGB or "
            "(H, W, 4) RGBA; for an encoded file pass array.tobytes()"
        )
    height, width = array.shape[:2]
    _check_size("array", width, height, max_pixels)
    pixels = array * np.uint8(255) if array.dtype == np.bool_ else _high_byte(array)
    if pixels.dtype != np.uint8:
        raise ImageDecodeError(
            f"array of {array.dtype}: expected uint8, uint16 or bool; scale it to 0..255 and "
            "pass array.astype(numpy.uint8)"
        )
    return np.ascontiguousarray(pixels).reshape(height, width, -1)


def _high_byte(array: NDArray[Any]) -> NDArray[Any]:
    is_uint16 = array.dtype.kind == "u" and array.dtype.itemsize == 2  # in either byte order
    return (array >> 8).astype(np.uint8) if is_uint16 else array


def _read(path: Path) -> bytes:
    """Reads a regular file. Pipes and devices are refused: they could block, or never end."""
    data = b""
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES:
            with path.open("rb") as file:
                data = file.read(status.st_size)
    except FileNotFoundError as error:
        raise ImageDecodeError(f"no such file: {path}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ImageDecodeError(f"can't read the file: {error!s:.300}") from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageDecodeError(f"is a folder: {path}")
    if not stat.S_ISREG(status.st_mode):
        raise ImageDecodeError(f"is a pipe or a device, not a file: {path}")
    _check_bytes(status.st_size, f"{path}: ")
    return data


def _check_bytes(size: int, prefix: str = "") -> None:
    if size == 0:
        raise ImageDecodeError(f"{prefix}empty: 0 bytes")
    if size > MAX_BYTES:
        raise ImageDecodeError(f"{prefix}{size} bytes: more than the limit of {MAX_BYTES}")


def _check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        problem = "there is no picture in it"
    elif width * height > max_pixels:
        problem = f"more than max_pixels={max_pixels}"
    elif max(width, height) > MAX_SIDE:
        problem = f"a side is longer than {MAX_SIDE}"
    else:
        return
    raise ImageDecodeError(f"{name} of {width} x {height} pixels: {problem}")


def _cut_off(name: str, data: bytes) -> ImageDecodeError:
    return ImageDecodeError(f"{name} cut off: it should go on after its {len(data)} bytes")


def _damaged(name: str, problem: str) -> ImageDecodeError:
    return ImageDecodeError(f"{name} damaged: {problem}")


def _png(data: bytes, max_pixels: int) -> _Checked:
    """Checks the checksums and passes on the chunks that make pixels.

    Other chunks do harm: 770 kB of zTXt cost libpng 750 MB, iCCP makes it print warnings, and acTL
    makes the picture an animation.
    """
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if data[8:16] != b"\0\0\0\rIHDR":
        raise _damaged("PNG", "it doesn't begin with an IHDR chunk")
    _check_size("PNG", width, height, max_pixels)
    view = memoryview(data)
    chunks = [view[:8]]
    position, pixel_bytes, transparent_grey = 8, 0, None
    for _ in range(_MAX_BLOCKS):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(view[position + 4 : end - 4]) != checksum:
            raise _damaged("PNG", f"wrong checksum of its {kind!r} chunk")
        if kind in _PNG_CHUNKS:
            chunks.append(view[position:end])
        if kind == b"IDAT":
            pixel_bytes += length
        elif kind == b"tRNS" and colour == 0 and length == 2:
            (level,) = struct.unpack_from(">H", data, position + 8)
            transparent_grey = level * {1: 255, 2: 85, 4: 17}.get(depth, 1)
        elif kind == b"IEND":
            break
        position = end
    else:
        raise _damaged("PNG", f"more than {_MAX_BLOCKS} chunks")
    # A pixel takes at most 8 bytes, and a row one byte more. libpng inflates all the data there is:
    # 1 MB after a header of 10 x 10 pixels takes 2 s.
    if not 0 < pixel_bytes <= 9 * width * height + 4096:
        raise _damaged("PNG", f"{pixel_bytes} bytes of data for {width} x {height} pixels")
    return _Checked(b"".join(chunks), transparent_grey=transparent_grey)


def _jpeg(data: bytes, max_pixels: int) -> _Checked:
    position, components, progressive = 2, 0, False
    for _ in range(_MAX_BLOCKS):
        position = data.find(b"\xff", position)  # like libjpeg, skips bytes between segments
        if position < 0:
            raise _cut_off("JPEG", data)
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker < 0x02 or 0xD0 <= marker <= 0xD9:  # a marker without a length
            position += 2
        elif marker == 0xDA:  # a scan
            break
        else:
            (length,) = struct.unpack_from(">H", data, position + 2)
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame header
                height, width, components = struct.unpack_from(">HHB", data, position + 5)
                _check_size("JPEG", width, height, max_pixels)
                progressive = marker & 3 == 2
            position += 2 + length
    else:
        raise _damaged("JPEG", f"more than {_MAX_BLOCKS} segments")
    if not components:
        raise _damaged("JPEG", "no frame header")
    several = progressive or data[position + 4] < components
    if several and data.count(b"\xff\xda", position) > _MAX_SCANS:
        raise _damaged("JPEG", f"more than {_MAX_SCANS} scans")
    if not data.endswith(b"\xff\xd9") and data.rfind(b"\xff\xd9", position) < 0:
        raise _cut_off("JPEG", data)
    return _Checked(data)


def _bmp(data: bytes, max_pixels: int) -> _Checked:
    offset, header = struct.unpack_from("<II", data, 10)
    compression = size = alpha = 0
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits, compression, size = struct.unpack_from("<iiHHII", data, 18)
    _check_size("BMP", width, abs(height), max_pixels)
    if compression > _BMP_MASKS:
        raise ImageDecodeError(f"BMP of compression {compression}: convert it to PNG")
    if compression in (_BMP_PLAIN, _BMP_MASKS):  # rows are padded to 4 bytes
        size = (width * bits + 31) // 32 * 4 * abs(height)
    if offset + size > len(data):
        raise _cut_off("BMP", data)
    if compression == _BMP_MASKS and bits == 32:
        *colours, alpha = struct.unpack_from("<4I", data, 54)
        if header < 56:  # the masks are after the header, where OpenCV doesn't read them
            alpha = 0
            if colours != [0xFF0000, 0xFF00, 0xFF]:
                raise ImageDecodeError("BMP with unusual colour masks: convert it to PNG")
    # By default OpenCV makes the colours after a 12-byte header grey. And if there are masks, but
    # none for alpha, OpenCV takes the padding of a pixel for alpha.
    colour = header == 12 or (compression == _BMP_MASKS and not alpha)
    return _Checked(data, cv2.IMREAD_COLOR if colour else _AS_STORED)


def _gif(data: bytes, max_pixels: int) -> _Checked:
    """Passes on the first frame only; OpenCV would walk the others, too."""
    width, height, packed = struct.unpack_from("<HHB", data, 6)
    _check_size("GIF", width, height, max_pixels)
    start = position = 13 + _colour_table(packed)
    control = b""  # the extension with the frame's transparent colour
    for _ in range(_MAX_EXTENSIONS):
        if data[position] != 0x21:
            break
        end = _after_sub_blocks(data, position + 2)
        if data[position + 1] == 0xF9:
            control = data[position:end]
        position = end
    else:
        raise _damaged("GIF", f"more than {_MAX_EXTENSIONS} extensions")
    separator, left, top, columns, rows, packed = struct.unpack_from("<BHHHHB", data, position)
    if separator != 0x2C:
        raise _damaged("GIF", "no frame where one should be")
    if not (0 < columns <= width - left and 0 < rows <= height - top):
        raise _damaged("GIF", "its first frame isn't within the picture")
    first = position + 11 + _colour_table(packed)
    end = _after_sub_blocks(data, first)
    limit = min(2 * columns * rows + 1024, _MAX_GIF_DATA)  # the worst case is 12 bits per pixel
    if end - first > limit:
        raise ImageDecodeError(f"GIF of {end - first} bytes, limit {limit}: convert it to PNG")
    if end == len(data):  # not even the end marker follows
        raise _cut_off("GIF", data)
    return _Checked(data[:start] + control + data[position:end] + b";")


def _colour_table(packed: int) -> int:
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0


def _after_sub_blocks(data: bytes, position: int) -> int:
    for _ in range(_MAX_BLOCKS):
        length = data[position]
        position += 1 + length
        if length == 0:
            return position
    raise _damaged("GIF", f"more than {_MAX_BLOCKS} sub-blocks")


def _webp(data: bytes, max_pixels: int) -> _Checked:
    size, kind = struct.unpack_from("<I4x4s", data, 4)
    if kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8X":  # libwebp refuses a frame that doesn't fit
        width, height = (1 + int.from_bytes(data[i : i + 3], "little") for i in (24, 27))
    else:
        raise _damaged("WebP", f"it begins with a {kind!r} chunk")
    _check_size("WebP", width, height, max_pixels)
    if 8 + size > len(data):
        raise _cut_off("WebP", data)
    return _Checked(data, _AS_STORED | cv2.IMREAD_IGNORE_ORIENTATION)


_FORMATS: dict[str, Callable[[bytes, int], _Checked]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "BMP": _bmp,
    "GIF": _gif,
    "WebP": _webp,
}

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"%!PS": "EPS",
    b"%PDF": "PDF",
    b"PK\3\4": "a zip archive",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy file",
} | {bytes((8, version, tag)): "an ONNX model" for version in range(3, 16) for tag in b"\x12:"}

_TEXTS = {  # in lower case
    b"<svg": "SVG text",
    b"<!doctype html": "HTML text",
    b"<html": "HTML text",
    b"<?xml": "XML or SVG text",
    b"{": "JSON text",
    b"data:image": "a data URL: decode it first",
    b"ivborw0kggo": "base64 text: decode it first",  # PNG
    b"/9j/": "base64 text: decode it first",  # JPEG
    b"version https://git-lfs": "a Git LFS pointer: run git lfs pull",
}
_TEXT_BYTES = bytes((9, 10, 12, 13, *range(32, 127), *range(128, 256)))


def _format_of(data: bytes) -> str:
    """Finds the format, a key of `_FORMATS`; otherwise the error says what was found."""
    found = next((name for magic, name in _MAGIC.items() if data.startswith(magic)), "")
    if found in _FORMATS:
        return found
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:2] == b"BM" and data[14:18] in _BMP_HEADERS:
        return "BMP"
    if data[4:8] == b"ftyp":
        found = "AVIF, HEIC or a video"
    elif not found and not data[:512].translate(None, _TEXT_BYTES):
        text = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        found = next((name for start, name in _TEXTS.items() if text.startswith(start)), "text")
    found = found or f"unknown data that begins with {data[:8].hex(' ')}"
    raise ImageDecodeError(f"not a PNG, JPEG, BMP, GIF or WebP picture: found {found}")
