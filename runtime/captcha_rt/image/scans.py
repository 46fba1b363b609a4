"""Decodes a JPEG, and finds scans that are damaged.

A JPEG has no checksum, and libjpeg never gives up: where the data of a scan ends too early it fills
up with grey, and where data is left over it skips it. Both it only mentions on the native stderr.
But after a flipped bit the codes almost always end somewhere else. So a scan is whole if its last
block is the picture's last block. To see that, the picture is decoded with room for more blocks: of
a whole picture these stay grey, and the block before them is not.

What libjpeg mentions can be silenced only if libtiff passes it on. So a JPEG is decoded as a TIFF
with a JPEG in it, by the same code of libjpeg.
"""

import struct
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image.checked import AS_STORED, Checked, damaged, run_opencv
from captcha_rt.image.jpeg import Jpeg, read_jpeg

_Pixels: TypeAlias = NDArray[Any]
_Change: TypeAlias = Callable[[bytes], bytes]

_GREY: Final = 128  # what libjpeg fills up with
_HUFFMAN: Final = frozenset((0xC0, 0xC1, 0xC2))  # the kinds of frames that libtiff reads
_ARITHMETIC: Final = 0xC8  # the kinds of frames above it have such a code
_MORE: Final = bytes(range(3, 250, 5))  # data that decodes to something else than grey
_UNSURE: Final = 3  # units that a byte may hold; without it they show anything
_SYMBOLS: Final = 2  # of a block in one colour: its level and its end
_FEWEST: Final = 3  # columns of units that `_decode_whole` needs
_LONGEST: Final = 65_500  # pixels of a side, to libjpeg


def check_jpeg(data: bytes, max_pixels: int) -> Checked:
    """Checks a JPEG: its structure and size, and that the data of its scans is whole."""
    jpeg = read_jpeg(data, max_pixels)
    if jpeg.huffman and jpeg.marker > _ARITHMETIC:
        raise damaged("JPEG", "tables of Huffman codes, but an arithmetic code by its frame header")
    size, turn = (jpeg.width, jpeg.height), max(1, jpeg.turn)
    usual = jpeg.marker in _HUFFMAN and len(jpeg.components) in (1, 3)
    if not (usual and _reads_tiff()):  # CMYK, an arithmetic code, another OpenCV
        return Checked(
            jpeg.build(*size), size, AS_STORED | cv2.IMREAD_IGNORE_ORIENTATION, turn=turn
        )
    first, *others = (factors[:2] for factors in jpeg.components.values())
    if others and (set(others) != {(1, 1)} or 3 in first or (_is_rgb(jpeg) and first != (1, 1))):
        raise damaged("JPEG", f"its colours are sampled as {first} and {others}")
    if len(jpeg.scans) > 1 or jpeg.progressive:
        return Checked(data, size, turn=turn, stored=_check_scans(jpeg))
    pixels = _decode_whole(jpeg)
    if pixels is None or _may_be_too_far(pixels):
        _check_scan(jpeg)
    # Where colours are stored for two rows of pixels at a time, the second of two rows has got some
    # from below. The last row is one of these if the height is even.
    if pixels is None or (jpeg.unit[1] > 8 and jpeg.height % 2 == 0):
        return Checked(_tiff(jpeg, *size), size, turn=turn)
    return Checked(data, size, turn=turn, stored=pixels)


def _is_rgb(jpeg: Jpeg) -> bool:
    """Whether the colours are stored as RGB, by libjpeg's rules; otherwise they are YCbCr."""
    if jpeg.jfif:
        return False
    return jpeg.adobe[15] == 0 if jpeg.adobe else bytes(jpeg.components) == b"RGB"


def _decode_whole(jpeg: Jpeg) -> _Pixels | None:
    """Decodes a picture of one part if it is plainly whole: the way of nearly all good ones.

    Ones are no code of Huffman's. libjpeg takes 17 of them for a symbol that says that nothing
    changes. So if as many follow the data as a unit takes, the unit after the picture's last one is
    in one colour, the next one shows anything, and the rest is grey: data that is left over or
    missing would move that, by a bit already.

    Returns:
        The pixels, of whose last row the colours may be off; None if the picture may be damaged.
    """
    [scan] = jpeg.scans
    across, down = jpeg.unit
    columns, rows = -(-jpeg.width // across), -(-jpeg.height // down)
    height = (rows + 1) * down
    if scan.interval or columns < _FEWEST or height > _LONGEST:
        return None
    blocks = sum(a * d for a, d, _ in jpeg.components.values()) if len(jpeg.components) > 1 else 1
    ones = b"\xff\0" * -(-_SYMBOLS * 17 * blocks // 8)
    pixels = _decode(_tiff(jpeg, jpeg.width, height, change=lambda part: part + ones))
    # Colours of a unit reach a quarter of it into the next one.
    below = pixels[height - down + down // 4 : height - down // 4]
    after = below[:, across // 4 : across - across // 4]
    level = after[0, 0]
    if (after != level).any() or (level == _GREY).all():
        return None
    if (below[:, 2 * across + across // 4 :] != _GREY).any():
        return None
    return np.ascontiguousarray(pixels[: jpeg.height])


def _may_be_too_far(pixels: _Pixels) -> bool:
    """Whether a block is all black or white, or a channel of it is: see `_is_too_far`."""
    rows, columns = len(pixels) // 8, pixels.shape[1] // 8
    whole = pixels[: 8 * rows, : 8 * columns]
    means = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    return bool(((means == 0) | (means == 255)).any())


def _check_scan(jpeg: Jpeg) -> None:
    """Checks the only scan of a sequential picture.

    Without its last byte the data of a whole scan ends within its last units. So none of the units
    for which there is room gets anything else than grey.
    """
    [scan] = jpeg.scans
    across, down = jpeg.unit
    columns, rows = -(-jpeg.width // across), -(-jpeg.height // down)
    total, interval = columns * rows, 0
    if len(scan.parts) > 1:  # one part becomes one row
        columns, rows, interval = scan.interval + 1, len(scan.parts), scan.interval + 1
    else:
        rows += 1
    width, height = columns * across, rows * down
    if max(width, height) > _LONGEST:
        return

    levels, share = _levels_only(jpeg)

    def cells(change: _Change) -> _Pixels:
        return _cells(_decode(_tiff(levels, width, height, interval, change)), jpeg.unit)

    shown = cells(_shorter)
    if interval:
        ends = [(row, scan.interval) for row in range(rows - 1)]
        ends.append((rows - 1, total - (rows - 1) * scan.interval))
    else:
        shown, ends = shown.reshape(1, rows * columns, -1), [(0, total)]
    for row, end in ends:
        if (shown[row, end:] != _GREY).any():
            raise _left_over()
        if _is_too_far(shown[row, : max(0, end - _UNSURE)], share):
            raise damaged("JPEG", "levels beyond black and white")
    # The last unit is missing, or grey, or the last byte held several units.
    if any((shown[row, end - 1] == _GREY).all() for row, end in ends):
        differ = (cells(bytes) != cells(_longer)).any(axis=2).reshape(shown.shape[:2])
        if any(differ[row, :end].any() for row, end in ends):
            raise _missing()


def _levels_only(jpeg: Jpeg) -> tuple[Jpeg, list[float]]:
    """Changes the tables of quantisation so that a block shows only its mean, at less contrast.

    Returns:
        The JPEG, and for each component the contrast that is left, in 0..1.
    """
    [scan] = jpeg.scans
    tables, position, contrast = bytearray(scan.tables), 0, {}
    while position + 4 <= len(tables):
        marker, length = struct.unpack_from(">HH", tables, position)
        place, position = position + 4, position + 2 + length
        while marker == 0xFFDB and place < position:
            size = 2 if tables[place] >> 4 else 1
            level = int.from_bytes(tables[place + 1 : place + 1 + size], "big")
            less = max(1, level // 4)
            contrast[tables[place] & 15] = less / max(1, level)
            tables[place + 1 : place + 1 + 64 * size] = less.to_bytes(size, "big") + bytes(
                63 * size
            )
            place += 1 + 64 * size
    share = [contrast.get(table, 1.0) for _, _, table in jpeg.components.values()]
    return replace(jpeg, scans=[replace(scan, tables=bytes(tables))]), share


def _is_too_far(levels: _Pixels, share: list[float]) -> bool:
    """Whether the mean of a block is beyond black and white, as it can't be in a whole picture.

    Each block holds only its difference from the one before. So where a difference was damaged, all
    that follows is too bright, too dark, or coloured.

    Args:
        levels: What `_levels_only` shows, BGR or grey, of any shape with the channels last.
        share: The contrast of each component.
    """
    if not levels.size:
        return False
    levels = levels.reshape(1, -1, len(share))  # OpenCV would share many rows among threads
    if len(share) == 3:
        y, cb, cr = share
        levels, share = cv2.cvtColor(levels, cv2.COLOR_BGR2YCrCb), [y, cr, cb]
    channels = np.ascontiguousarray(levels[0].T)
    lowest, highest = channels.min(axis=1).tolist(), channels.max(axis=1).tolist()
    return any(
        max(_GREY - low, high - _GREY) > 140 * contrast + 4
        for low, high, contrast in zip(lowest, highest, share, strict=True)
    )


def _check_scans(jpeg: Jpeg) -> _Pixels:
    """Checks the scans of a picture that has several; returns the pixels."""
    across, down = jpeg.unit
    height = -(-jpeg.height // down) * down
    pixels = _decode(_tiff(jpeg, jpeg.width, jpeg.height))
    if (_decode(_tiff(jpeg, jpeg.width, jpeg.height, None, _longer)) != pixels).any():
        raise _missing()
    larger = _decode(_tiff(jpeg, jpeg.width, height + 2 * down))
    whole = jpeg.width // across  # columns
    if whole:
        inner = larger[height:, : whole * across].reshape(2, down, whole, across, -1)
        # Colours of a unit reach a quarter of it into the next one.
        inner = inner[:, down // 4 : -(down // 4), :, across // 4 : -(across // 4)]
        grey = (inner == _GREY).all(axis=(1, 3, 4))
        # A scan that refines takes one bit for a block, and up to 7 bits fill the last byte.
        number = np.arange(2)[:, None] * -(-jpeg.width // across) + np.arange(whole)
        if not grey[number >= 8].all():
            raise _left_over()
    return pixels


def _cells(pixels: _Pixels, unit: tuple[int, int]) -> _Pixels:
    """A pixel from the middle of each block, `(rows, columns, values)`: a cell for each unit.

    Args:
        pixels: `(H, W)` or `(H, W, C)`, both sides multiples of the unit's.
        unit: The width and height of a unit, multiples of 8.
    """
    across, down = unit
    middles = pixels[4::8, 4::8]
    rows, columns = len(pixels) // down, pixels.shape[1] // across
    cells = middles.reshape(rows, down // 8, columns, across // 8, -1).transpose(0, 2, 1, 3, 4)
    return cells.reshape(rows, columns, -1)


def _left_over() -> ImageDecodeError:
    return damaged("JPEG", "data is left over after its last block")


def _missing() -> ImageDecodeError:
    return damaged("JPEG", "data is missing before its last block")


def _shorter(part: bytes) -> bytes:
    return part[: -2 if part.endswith(b"\xff\0") else -1]


def _longer(part: bytes) -> bytes:
    return part + _MORE


def _tiff(
    jpeg: Jpeg,
    width: int,
    height: int,
    interval: int | None = None,
    change: _Change = bytes,
) -> bytes:
    """Wraps a JPEG in a TIFF of one strip."""
    data = jpeg.build(width, height, interval, change)
    colours = len(jpeg.components)
    kind = 1 if colours == 1 else 2 if _is_rgb(jpeg) else 6  # grey, RGB, YCbCr
    long, short = 4, 3
    count = 10 if kind == 6 else 9
    end = 14 + 12 * count
    entries = [
        (256, long, 1, width),
        (257, long, 1, height),
        (258, short, colours, 8 if colours == 1 else end),  # bits
        (259, short, 1, 7),  # JPEG
        (262, short, 1, kind),
        (273, long, 1, end + 6),  # where the strip begins
        (277, short, 1, colours),
        (278, long, 1, height),  # rows of the strip
        (279, long, 1, len(data)),
    ]
    if kind == 6:
        across, down, _ = next(iter(jpeg.components.values()))
        entries.append((530, short, 2, across | down << 16))
    directory = struct.pack("<" + "HHII" * count, *chain.from_iterable(entries))
    return struct.pack("<4sIH", b"II*\0", 8, count) + directory + bytes(4) + b"\x08\0" * 3 + data


def _decode(tiff: bytes) -> _Pixels:
    pixels = run_opencv("JPEG", tiff, AS_STORED)
    if pixels is None:
        raise damaged("JPEG", "its structure is whole, its pixels are not")
    return pixels


@cache
def _reads_tiff() -> bool:
    """Whether this OpenCV reads a JPEG within a TIFF; the wheels from PyPI do."""
    file = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes()
    return run_opencv("JPEG", _tiff(read_jpeg(file, 64), 8, 8), AS_STORED) is not None
