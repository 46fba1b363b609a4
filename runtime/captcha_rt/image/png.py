"""Checks a PNG, and passes on the chunks that make pixels.

Other chunks do harm: 770 kB of zTXt cost libpng 750 MB, iCCP and repeated chunks make it print
warnings, and acTL makes the picture an animation.
"""

import struct
import zlib
from typing import Final

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
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(view[position + 4 : end - 4]) != checksum:
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
    header = bytes(view[16:29])
    colours, transparent_grey = _colours(found, colour, depth)
    file = still(header, colours, b"".join(pixels))
    turn = orientation(bytes(found[b"eXIf"])) if b"eXIf" in found else 1
    return Checked(
        file, (width, height), transparent_grey=transparent_grey, frames=max(1, frames), turn=turn
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


def still(header: bytes, colours: bytes, data: bytes) -> bytes:
    """Puts a still picture together that costs no more than its pixels.

    libpng inflates all the data there is: 1 MB behind a header of 340 x 340 pixels takes 2 s. And
    it writes to the native stderr about data that it can't use. So the data is inflated here, as
    far as the pixels need it, and stored as it is.

    Args:
        header: The 13 bytes of the IHDR chunk.
        colours: The chunks PLTE and tRNS, where there are any.
        data: The data of all IDAT chunks.

    Raises:
        ImageDecodeError: If the data can't be inflated, or ends too early.
    """
    width, height, depth, colour, *methods = struct.unpack(">IIBBBBB", header)
    if depth not in _DEPTHS.get(colour, ()) or methods not in ([0, 0, 0], [0, 0, 1]):
        raise damaged("PNG", f"it has {depth} bits of colour type {colour}, methods {methods}")
    bits = depth * _CHANNELS[colour]
    lines = []  # of each pass, their number and bytes
    for x, y, dx, dy in _PASSES if methods[2] else ((0, 0, 1, 1),):
        columns, rows = -((x - width) // dx), -((y - height) // dy)
        if columns > 0:
            lines.append((rows, 1 + (columns * bits + 7) // 8))
    stored = _stored(_inflate(data, lines))
    return SIGNATURE + chunk(b"IHDR", header) + colours + chunk(b"IDAT", stored) + chunk(b"IEND")


def _inflate(data: bytes, lines: list[tuple[int, int]]) -> bytes:
    """The lines of pixels, each of which begins with the number of its filter."""
    needed = sum(rows * size for rows, size in lines)
    try:
        pixels = zlib.decompressobj().decompress(data, needed + 1)[:needed]
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


def _stored(pixels: bytes) -> bytes:
    """Data that unfolds to the pixels."""
    # As `zlib.compress` does at level 0, which takes ten times as long to set itself up.
    parts = [b"\x78\x01"]
    for start in range(0, len(pixels), _BLOCK):
        block = pixels[start : start + _BLOCK]
        last = start + _BLOCK >= len(pixels)
        parts += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    return b"".join([*parts, struct.pack(">I", zlib.adler32(pixels))])


def unreadable() -> ImageDecodeError:
    """The error for pixels that can't be decoded in a file that is whole."""
    return damaged("PNG", "its structure is whole, its pixels are not")


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """One PNG chunk."""
    named = kind + body
    return struct.pack(">I", len(body)) + named + struct.pack(">I", zlib.crc32(named))
