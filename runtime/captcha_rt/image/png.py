"""Checks a PNG, and passes on the chunks that make pixels.

Other chunks do harm: 770 kB of zTXt cost libpng 750 MB, iCCP and repeated chunks make it print
warnings, and acTL makes the picture an animation.
"""

import struct
import zlib
from functools import lru_cache
from typing import Final

import deflate
import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image.checked import MAX_BLOCKS, Checked, check_size, damaged
from captcha_rt.image.exif import orientation

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_TRANSPARENT: Final = {0: 2, 2: 6}  # bytes of tRNS, by colour type
_PASSES: Final = (  # of Adam7: the first column and row, and the steps
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
)  # fmt: skip
_FEW: Final = 1000  # chunks, which take 1 ms
_LAST_FILTER: Final = 4
_BLOCK: Final = 0xFFFF  # bytes of a stored block, at most
_RGBA: Final = bytes((8, 6, 0, 0, 0))  # a header after the sides: 8 bits, not interlaced
_GREY: Final = bytes((8, 0, 0, 0, 0))
# The alpha of an opaque picture after each filter (none, left, above, their mean, Paeth's): the
# first byte of a line, and the others. Above the first line there is nothing.
_OPAQUE_FIRST: Final = ((255, 255), (255, 0), (255, 255), (255, 128), (255, 0))
_OPAQUE: Final = ((255, 255), (255, 0), (0, 0), (128, 0), (0, 0))

_head = struct.Struct(">I4s").unpack_from
_number = struct.Struct(">I").unpack_from


def check_png(data: bytes, max_pixels: int) -> Checked:
    """Checks a PNG: the checksums of all chunks, the sizes, and how much its data unfolds to."""
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if data[8:16] != b"\0\0\0\rIHDR":
        raise damaged("PNG", "it doesn't begin with an IHDR chunk")
    check_size("PNG", width, height, max_pixels)
    view = memoryview(data)
    found: dict[bytes, memoryview] = {}  # the first chunk of each kind
    pixels: list[memoryview] = []
    position, frames, animated = 8, 0, False
    most = min(MAX_BLOCKS, _FEW + len(data) // 512)  # encoders cut the data after 8 kB
    for _ in range(most):
        length, kind = _head(data, position)
        end = position + 12 + length
        (checksum,) = _number(data, end - 4)
        if deflate.crc32(view[position + 4 : end - 4]) != checksum:
            raise damaged("PNG", f"wrong checksum of its {kind!r} chunk")
        body = view[position + 8 : end - 4]
        if kind == b"IDAT":
            pixels.append(body)
        elif kind == b"IEND":
            break
        elif kind == b"fcTL":
            frames += animated
        elif kind == b"acTL":
            animated = not pixels
        else:
            found.setdefault(kind, body)
        position = end
    else:
        raise damaged("PNG", f"more than {most} chunks")
    size = sum(map(len, pixels))
    # A pixel takes at most 8 bytes, and a row one byte more.
    if not 0 < size <= 9 * width * height + 4096:
        raise damaged("PNG", f"{size} bytes of data for {width} x {height} pixels")
    header = data[16:29]
    colours, transparent_grey = _colours(found, colour, depth)
    lines = _inflate(pixels[0] if len(pixels) == 1 else b"".join(pixels), _lines(header))
    is_grey = False
    if header[8:] == _RGBA:
        grey = _grey_lines(lines, width, height)
        if grey is not None:
            is_grey, header, lines = True, header[:8] + _GREY, grey
    turn = orientation(bytes(found[b"eXIf"])) if b"eXIf" in found else 1
    return Checked(
        _still(header, colours, lines),
        (width, height),
        transparent_grey=transparent_grey,
        frames=max(1, frames),
        turn=turn,
        is_grey_rgba=is_grey,
    )


def _colours(found: dict[bytes, memoryview], colour: int, depth: int) -> tuple[bytes, int | None]:
    """The chunks with the colours, such that libpng doesn't complain, and the transparent grey."""
    chunks, transparent_grey = b"", None
    transparent = bytes(found.get(b"tRNS", b""))
    if colour == 3 and b"PLTE" in found:
        # libpng warns of pixels outside of the palette; to it they are black.
        entries = 1 << depth
        palette = bytes(found[b"PLTE"])[: 3 * entries]
        if len(palette) % 3 == 0:
            chunks = chunk(b"PLTE", palette.ljust(3 * entries, b"\0"))
        if transparent:
            chunks += chunk(b"tRNS", transparent[:entries])
    elif len(transparent) == _TRANSPARENT.get(colour):
        chunks = chunk(b"tRNS", transparent)
        if colour == 0:
            level = int.from_bytes(transparent, "big")
            transparent_grey = level * {1: 255, 2: 85, 4: 17}.get(depth, 1)
    return chunks, transparent_grey


@lru_cache(maxsize=64)
def _lines(header: bytes) -> list[tuple[int, int]]:
    """The number of lines in each pass, and their bytes: the number of a filter and the pixels.

    Args:
        header: The 13 bytes of the IHDR chunk.
    """
    width, height, depth, colour, *methods = struct.unpack(">IIBBBBB", header)
    if depth not in _DEPTHS.get(colour, ()) or methods not in ([0, 0, 0], [0, 0, 1]):
        raise damaged("PNG", f"it has {depth} bits of colour type {colour}, methods {methods}")
    bits = depth * _CHANNELS[colour]
    lines = []
    for x, y, dx, dy in _PASSES if methods[2] else ((0, 0, 1, 1),):
        columns, rows = -((x - width) // dx), -((y - height) // dy)
        if columns > 0:
            lines.append((rows, 1 + (columns * bits + 7) // 8))
    return lines


def _inflate(data: bytes | memoryview, lines: list[tuple[int, int]]) -> bytes | bytearray:
    """Inflates the data of all IDAT chunks, as far as the pixels need it.

    libpng inflates all the data there is: 1 MB behind a header of 340 x 340 pixels takes 2 s. And
    it writes to the native stderr about data that it can't use. libdeflate takes a third of zlib's
    time, but only knows data that is whole and no longer than expected.

    Raises:
        ImageDecodeError: If the data can't be inflated, or ends too early.
    """
    needed = sum(rows * size for rows, size in lines)
    try:
        pixels: bytes | bytearray = deflate.zlib_decompress(data, needed)
    except deflate.DeflateError:
        try:
            pixels = zlib.decompressobj().decompress(data, needed)
        except zlib.error as error:
            raise unreadable() from error
    if len(pixels) < needed:
        raise unreadable()
    start = 0
    for rows, size in lines:
        if rows and max(pixels[start : start + rows * size : size]) > _LAST_FILTER:
            raise unreadable()
        start += rows * size
    return pixels


def _grey_lines(lines: bytes | bytearray, width: int, height: int) -> bytes | None:
    """Keeps one channel of RGBA that is grey and opaque; returns None for other pictures.

    Many programs store grey pictures so. A filter changes each channel by bytes of that channel
    alone, so channels are equal where their filtered bytes are. A fourth of the bytes takes half of
    the time to decode.
    """
    size = 1 + 4 * width
    # A picture with colours or transparency nearly always shows it in the middle line.
    middle = lines[height // 2 * size : (height // 2 + 1) * size]
    first, others = (_OPAQUE if height > 1 else _OPAQUE_FIRST)[middle[0]]
    if middle[1::4] != middle[2::4] or middle[8::4].strip(bytes((others,))) or middle[4] != first:
        return None
    table = np.frombuffer(lines, np.uint8).reshape(height, size)
    filters = table[:, 0]
    pixels = np.ascontiguousarray(table[:, 1:]).view("<u4")
    opaque_first, opaque = _opaque(width)
    expected = opaque.take(filters, axis=0)
    expected[0] = opaque_first[filters[0]]
    red = pixels & 0xFF
    expected |= red * 0x010101
    if (expected != pixels).any():
        return None
    grey = np.empty((height, 1 + width), np.uint8)
    grey[:, 0] = filters
    grey[:, 1:] = red
    return grey.tobytes()


@lru_cache(maxsize=4)
def _opaque(width: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """What the alpha of an opaque picture adds to RGBA as a number: the first line, and others."""
    first, others = (
        np.array([[a << 24, *[b << 24] * (width - 1)] for a, b in values], np.uint32)
        for values in (_OPAQUE_FIRST, _OPAQUE)
    )
    return first, others


def _still(header: bytes, colours: bytes, lines: bytes | bytearray) -> bytes:
    """Puts a still picture together that costs no more than its pixels.

    Args:
        header: The 13 bytes of the IHDR chunk.
        colours: The chunks PLTE and tRNS, where there are any.
        lines: The lines, which are stored as they are.
    """
    # As `zlib.compress` does at level 0, which takes ten times as long to set itself up.
    parts = []
    for start in range(0, len(lines), _BLOCK):
        block = lines[start : start + _BLOCK]
        last = start + _BLOCK >= len(lines)
        parts += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    parts.append(struct.pack(">I", deflate.adler32(lines)))
    crc = _CRC_OF_IDAT
    for part in parts:
        crc = deflate.crc32(part, crc)
    length = struct.pack(">I4s", sum(map(len, parts)), b"IDAT")
    beginning = _beginning(header), colours, _ZLIB_CHUNK, length
    return b"".join([*beginning, *parts, struct.pack(">I", crc), _END])


@lru_cache(maxsize=64)
def _beginning(header: bytes) -> bytes:
    return SIGNATURE + chunk(b"IHDR", header)


def unreadable() -> ImageDecodeError:
    """The error for pixels that can't be decoded in a file that is whole."""
    return damaged("PNG", "its structure is whole, its pixels are not")


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """One PNG chunk."""
    named = kind + body
    return struct.pack(">I", len(body)) + named + struct.pack(">I", zlib.crc32(named))


_CRC_OF_IDAT: Final = zlib.crc32(b"IDAT")
_END: Final = chunk(b"IEND")
# OpenCV reads the first IDAT chunk twice. This one holds what data begins with.
_ZLIB_CHUNK: Final = chunk(b"IDAT", b"\x78\x01")
