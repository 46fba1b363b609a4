"""Decodes JPEGs as libtiff reads them: in silence.

What libjpeg mentions about a file goes to the native stderr, unless libtiff has called it. So a
JPEG is decoded as a TIFF with a JPEG in it, by the same code of libjpeg. Each strip of a TIFF is a
JPEG of its own, so that one call decodes several.
"""

import struct
from functools import cache
from itertools import chain
from typing import Any, Final, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image.checked import damaged, run_opencv
from captcha_rt.image.jpeg import Jpeg, read_jpeg

Pixels: TypeAlias = NDArray[Any]

_HUFFMAN: Final = frozenset((0xC0, 0xC1, 0xC2))  # the kinds of frames that libtiff reads
_ARITHMETIC: Final = 0xC8  # the kinds of frames above it have such a code
_LONG, _SHORT = 4, 3  # the types of a TIFF's numbers
_CMYK = 4  # components
_GREY, _RGB, _YCBCR = 1, 2, 6  # what the numbers of a pixel are


def is_rgb(jpeg: Jpeg) -> bool:
    """Whether the colours are stored as RGB, by libjpeg's rules; otherwise they are YCbCr."""
    if jpeg.jfif:
        return False
    return jpeg.adobe[15] == 0 if jpeg.adobe else bytes(jpeg.components) == b"RGB"


def check_kind(jpeg: Jpeg) -> None:
    """Checks that libtiff reads a JPEG.

    Raises:
        ImageDecodeError: If not: if it isn't coded by Huffman, or oddly sampled.
    """
    if jpeg.marker not in _HUFFMAN:
        if jpeg.huffman and jpeg.marker > _ARITHMETIC:
            raise damaged("JPEG", "tables of Huffman codes, but an arithmetic code by its header")
        raise ImageDecodeError("JPEG with a lossless or an arithmetic code: convert it to PNG")
    if len(jpeg.components) not in (1, 3, 4):
        raise damaged("JPEG", f"{len(jpeg.components)} components")
    first, *others = factors = [factors[:2] for factors in jpeg.components.values()]
    is_even = first == (1, 1) or (len(others) == 2 and 3 not in first and not is_rgb(jpeg))
    if others and not (set(others) == {(1, 1)} and is_even):
        if len(others) == 3:
            raise ImageDecodeError("JPEG of CMYK with fewer colours than pixels: convert it to PNG")
        raise damaged("JPEG", f"its colours are sampled as {factors}")


def to_bgr(jpeg: Jpeg, pixels: Pixels) -> Pixels:
    """Makes the colours of CMYK that OpenCV makes of it; other pixels are returned as they are."""
    if len(jpeg.components) != _CMYK:
        return pixels
    inks, black = pixels[..., :3], pixels[..., 3:].astype(np.uint16)
    if jpeg.adobe and jpeg.adobe[15]:  # YCCK: the first three are a negative of the inks
        red, blue, light = (inks[..., index].astype(np.int32) for index in range(3))
        red, blue, half = red - 128, blue - 128, 1 << 15  # libjpeg counts in 1/65536
        added = (
            (116_130 * blue + half) >> 16,
            (-22_554 * blue - 46_802 * red + half) >> 16,
            (91_881 * red + half) >> 16,
        )
        negative = light[..., np.newaxis] + np.stack(added, axis=-1)
        inks = 255 - negative.clip(0, 255).astype(np.uint8)
    return np.asarray(black - ((255 - inks) * black >> 8), np.uint8)


class Layout(NamedTuple):
    """A TIFF without its strips.

    Attributes:
        head: What comes before the strips' places.
        between: What is between these and the strips' sizes.
        rest: What follows, up to the first strip.
    """

    head: bytes
    between: bytes
    rest: bytes


def lay_out(jpeg: Jpeg, width: int, rows: list[int]) -> Layout:
    """Lays out a TIFF of JPEGs that stand one below the other.

    Args:
        jpeg: A JPEG with the components and the colours of all.
        width: The width of each in pixels.
        rows: The height of each in pixels: of the first one, which all but the last have, too.
    """
    colours, strips = len(jpeg.components), len(rows)
    kind = _GREY if colours == 1 else _RGB if colours == _CMYK or is_rgb(jpeg) else _YCBCR
    count = 9 if kind == _GREY or (kind == _RGB and colours != _CMYK) else 10
    end = 14 + 12 * count
    entries = [
        (256, _LONG, 1, width),
        (257, _LONG, 1, sum(rows)),
        (258, _SHORT, colours, 8 if colours == 1 else end),  # bits
        (259, _SHORT, 1, 7),  # JPEG
        (262, _SHORT, 1, kind),
        (273, _LONG, strips, end + 8),  # where the strips begin
        (277, _SHORT, 1, colours),
        (278, _LONG, 1, rows[0]),  # of a strip
        (279, _LONG, strips, end + 8 + 4 * strips),  # their sizes
    ]
    if kind == _YCBCR:
        across, down, _ = next(iter(jpeg.components.values()))
        entries.append((530, _SHORT, 2, across | down << 16))
    elif colours == _CMYK:  # as if black were a channel of alpha, with which nothing is multiplied
        entries.append((338, _SHORT, 1, 1))
    directory = struct.pack("<" + "HHII" * count, *chain.from_iterable(entries))
    file = struct.pack("<4sIH", b"II*\0", 8, count) + directory + bytes(4) + b"\x08\0" * 4
    if strips > 1:
        return Layout(file, b"", b"")
    place, size = (10 + 12 * index + 8 for index in (5, 8))  # a single number is in its entry
    return Layout(file[:place], file[place + 4 : size], file[size + 4 :])


def decode_strips(layout: Layout, strips: list[bytes]) -> Pixels:
    """Decodes the JPEGs of a TIFF.

    Returns:
        The pixels of all, `(sum of rows, W)` or `(sum of rows, W, C)`: C = 3 is BGR, 4 is a file's
        YMCK, or CrCbYK.

    Raises:
        ImageDecodeError: If the pixels can't be decoded.
    """
    head, between, rest = layout
    place = len(head) + len(between) + len(rest) + 8 * len(strips)
    places, sizes = b"", b""
    for strip in strips:
        size = len(strip)
        places += place.to_bytes(4, "little")
        sizes += size.to_bytes(4, "little")
        place += size
    file = b"".join((head, places, between, sizes, rest, *strips))
    pixels = run_opencv("JPEG", file, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise damaged("JPEG", "its structure is whole, its pixels are not")
    return pixels


@cache
def reads_tiff() -> bool:
    """Whether this OpenCV reads a JPEG within a TIFF; the wheels from PyPI do."""
    file = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes()
    try:
        decode_strips(lay_out(read_jpeg(file, 64), 8, [8]), [file])
    except ImageDecodeError:
        return False
    return True
