"""Decodes a JPEG that is plainly whole in one call: the way of nearly all good ones.

A server draws its captchas with one program, so that what comes before the coded data is mostly the
same in all of them. It is read once.
"""

import struct
from functools import lru_cache
from typing import Final, NamedTuple

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image.jpeg import Jpeg, read_jpeg
from captcha_rt.image.tiff import Layout, Pixels, check_kind, decode_strips, lay_out, reads_tiff

GREY: Final = 128  # what libjpeg fills up with
LONGEST: Final = 65_500  # pixels of a side, to libjpeg
_FILLED: Final = bytes((GREY,))
END: Final = b"\xff\xd9"  # the marker of a JPEG's end
_SYMBOLS: Final = 2  # of a block in one colour: its level and its end
_FEWEST: Final = 3  # columns of units that `decode_whole` needs


class Head(NamedTuple):
    """What comes before the coded data of a JPEG, made ready for decoding.

    Attributes:
        jpeg: The JPEG, without its data.
        layout: A TIFF for the strips.
        strips: What stands before and after the data in each strip. In the first one is room for a
            row of units more than the picture has, and ones follow the data.
        after: The rows of pixels below the picture that belong to the next units.
        first: The columns of these that belong to the first unit.
        others: Where the columns of the third unit begin.
        top: The first row of the picture.
    """

    jpeg: Jpeg
    layout: Layout
    strips: list[tuple[bytes, bytes]]
    after: slice
    first: slice
    others: int
    top: int


@lru_cache(maxsize=64)
def read_head(head: bytes, max_pixels: int) -> Head | None:
    """Reads what comes before the coded data of a JPEG's only scan.

    Returns:
        None if the JPEG is damaged, unusual, or too small for `decode_whole`.
    """
    try:
        jpeg = read_jpeg(head + END, max_pixels)
        check_kind(jpeg)
    except (ImageDecodeError, struct.error, IndexError):
        return None
    if jpeg.progressive or not reads_tiff():
        return None
    across, down = jpeg.unit
    columns, rows = -(-jpeg.width // across), -(-jpeg.height // down)
    height, top = (rows + 1) * down, 0
    if columns < _FEWEST or height > LONGEST:
        return None
    blocks = sum(a * d for a, d, _ in jpeg.components.values()) if len(jpeg.components) > 1 else 1
    ones = b"\xff\0" * -(-_SYMBOLS * 17 * blocks // 8)
    heights, strips = [height], [(_start(jpeg, height), ones + END)]
    # Where colours are stored for two rows of pixels at a time, the second of two rows has got some
    # from below. The last row is one of these if the height is even.
    if down > 8 and jpeg.height % 2 == 0:
        heights.append(jpeg.height)
        strips.append((_start(jpeg, jpeg.height), END))
        top = height
    return Head(
        jpeg,
        lay_out(jpeg, jpeg.width, heights),
        strips,
        # Colours of a unit reach a quarter of it into the next one.
        slice(height - down + down // 4, height - down // 4),
        slice(across // 4, across - across // 4),
        2 * across + across // 4,
        top,
    )


def decode_whole(head: Head, data: bytes) -> Pixels | None:
    """Decodes a picture of one part if it is plainly whole.

    Ones are no code of Huffman's. libjpeg takes 17 of them for a symbol that says that nothing
    changes. So if as many follow the data as a unit takes, the unit after the picture's last one is
    in one colour, the next one shows anything, and the rest is grey: data that is left over or
    missing would move that, by a bit already.

    Args:
        head: What comes before the data.
        data: The data of the only scan.

    Returns:
        The pixels; None if the picture may be damaged.

    Raises:
        ImageDecodeError: If the pixels can't be decoded.
    """
    pixels = decode_strips(head.layout, [before + data + after for before, after in head.strips])
    below = pixels[head.after]
    first, others = below[:, head.first].tobytes(), below[:, head.others :].tobytes()
    level = first[: len(head.jpeg.components)]
    if first != level * (len(first) // len(level)) or level.strip(_FILLED) == b"":
        return None
    if others != _FILLED * len(others):
        return None
    return pixels[head.top : head.top + head.jpeg.height]


def _start(jpeg: Jpeg, height: int) -> bytes:
    return jpeg.build(jpeg.width, height).removesuffix(END)
