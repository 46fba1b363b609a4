"""Decodes a JPEG, and finds scans that are damaged.

A JPEG has no checksum, and libjpeg never gives up: where the data of a scan ends too early it fills
up with grey, and where data is left over it skips it. Both it only mentions on the native stderr.
But after a flipped bit the codes almost always end somewhere else. So a scan is whole if its last
block is the picture's last block. To see that, the picture is decoded with room for more blocks: of
a whole picture these stay grey, and the block before them is not.
"""

import struct
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Final, TypeAlias

import cv2
import numpy as np

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image.checked import AS_STORED, Checked, damaged
from captcha_rt.image.jpeg import Jpeg, read_jpeg, split_head
from captcha_rt.image.tiff import (
    Layout,
    Pixels,
    check_kind,
    decode_strips,
    lay_out,
    reads_tiff,
    to_bgr,
)
from captcha_rt.image.whole import END, GREY, LONGEST, decode_whole, read_head

_Change: TypeAlias = Callable[[bytes], bytes]

_MORE: Final = b"\xa5" + bytes(range(3, 250, 5))  # data that decodes to something else than grey
_UNSURE: Final = 3  # units that a byte may hold; without it they show anything


def check_jpeg(data: bytes, max_pixels: int) -> Checked:
    """Checks a JPEG: its structure and size, and that the data of its scans is whole."""
    if (parts := split_head(data)) and (head := read_head(parts[0], max_pixels)):
        pixels = decode_whole(head, parts[1])
        if pixels is not None:
            if _may_be_too_far(pixels):
                _check_levels(*parts, max_pixels)
            return _checked(data, head.jpeg, pixels)
    jpeg = read_jpeg(data, max_pixels)
    check_kind(jpeg)
    if not reads_tiff():  # another OpenCV than those from PyPI
        size, turn = (jpeg.width, jpeg.height), max(1, jpeg.turn)
        flags = AS_STORED | cv2.IMREAD_IGNORE_ORIENTATION
        return Checked(jpeg.build(*size), size, flags, turn=turn)
    if len(jpeg.scans) > 1 or jpeg.progressive:
        return _checked(data, jpeg, _check_scans(jpeg))
    _check_scan(jpeg)
    return _checked(data, jpeg, _nothing_missing(jpeg))


def _checked(data: bytes, jpeg: Jpeg, pixels: Pixels) -> Checked:
    size = (jpeg.width, jpeg.height)
    return Checked(data, size, turn=max(1, jpeg.turn), stored=to_bgr(jpeg, pixels))


def _may_be_too_far(pixels: Pixels) -> bool:
    """Whether a block is all black or white, or a channel of it is: see `_is_too_far`."""
    middles = pixels[4::8, 4::8].tobytes()
    if b"\0" not in middles and b"\xff" not in middles:
        return False
    rows, columns = len(pixels) // 8, pixels.shape[1] // 8
    if not rows or not columns:
        return True
    whole = pixels[: 8 * rows, : 8 * columns]
    means = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA).tobytes()
    return b"\0" in means or b"\xff" in means


def _check_levels(head: bytes, data: bytes, max_pixels: int) -> None:
    """Checks that no mean of a block is beyond black or white in a picture that is whole."""
    layout, start, share, unit = _read_levels(head, max_pixels)
    shown = _cells(decode_strips(layout, [start + data + END]), unit)
    if _is_too_far(shown, share):
        raise _beyond()


@lru_cache(maxsize=64)
def _read_levels(
    head: bytes, max_pixels: int
) -> tuple[Layout, bytes, list[float], tuple[int, int]]:
    """Makes what comes before a JPEG's data ready for `_check_levels`."""
    jpeg, share = _levels_only(read_jpeg(head + END, max_pixels))
    width, height = (
        -(-side // of_unit) * of_unit
        for side, of_unit in zip((jpeg.width, jpeg.height), jpeg.unit, strict=True)
    )
    start = jpeg.build(width, height).removesuffix(END)
    return lay_out(jpeg, width, [height]), start, share, jpeg.unit


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
    if max(width, height) > LONGEST:
        return

    levels, share = _levels_only(jpeg)
    shown = _cells(_decode(levels, width, height, interval, _shorter), jpeg.unit)
    if interval:
        ends = [(row, scan.interval) for row in range(rows - 1)]
        ends.append((rows - 1, total - (rows - 1) * scan.interval))
    else:
        shown, ends = shown.reshape(1, rows * columns, -1), [(0, total)]
    for row, end in ends:
        if (shown[row, end:] != GREY).any():
            raise _left_over()
        if _is_too_far(shown[row, : max(0, end - _UNSURE)], share):
            raise _beyond()


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


def _is_too_far(levels: Pixels, share: list[float]) -> bool:
    """Whether the mean of a block is beyond black and white, as it can't be in a whole picture.

    Each block holds only its difference from the one before. So where a difference was damaged, all
    that follows is too bright, too dark, or coloured.

    Args:
        levels: What `_levels_only` shows of any shape with the channels last.
        share: The contrast of each component.
    """
    if not levels.size:
        return False
    levels = levels.reshape(1, -1, len(share))  # OpenCV would share many rows among threads
    if len(share) == 3:
        y, cb, cr = share
        levels, share = cv2.cvtColor(levels, cv2.COLOR_BGR2YCrCb), [y, cr, cb]
    elif len(share) == 4:  # as OpenCV orders channels
        share = [share[2], share[1], share[0], share[3]]
    channels = np.ascontiguousarray(levels[0].T)
    lowest, highest = channels.min(axis=1).tolist(), channels.max(axis=1).tolist()
    return any(
        max(GREY - low, high - GREY) > 140 * contrast + 4
        for low, high, contrast in zip(lowest, highest, share, strict=True)
    )


def _check_scans(jpeg: Jpeg) -> Pixels:
    """Checks the scans of a picture that has several; returns the pixels."""
    across, down = jpeg.unit
    height = -(-jpeg.height // down) * down
    pixels = _nothing_missing(jpeg)
    larger = _decode(jpeg, jpeg.width, height + 2 * down)
    whole = jpeg.width // across  # columns
    if whole:
        inner = larger[height:, : whole * across].reshape(2, down, whole, across, -1)
        # Colours of a unit reach a quarter of it into the next one.
        inner = inner[:, down // 4 : -(down // 4), :, across // 4 : -(across // 4)]
        grey = (inner == GREY).all(axis=(1, 3, 4))
        # A scan that refines takes one bit for a block, and up to 7 bits fill the last byte.
        number = np.arange(2)[:, None] * -(-jpeg.width // across) + np.arange(whole)
        if not grey[number >= 8].all():
            raise _left_over()
    return pixels


def _nothing_missing(jpeg: Jpeg) -> Pixels:
    """Checks that a picture shows the same with more data; returns the pixels."""
    width, height = jpeg.width, jpeg.height
    strips = [jpeg.build(width, height, change=change) for change in (bytes, _longer)]
    pixels = decode_strips(lay_out(jpeg, width, [height, height]), strips)
    if pixels[:height].tobytes() != pixels[height:].tobytes():
        raise damaged("JPEG", "data is missing before its last block")
    return pixels[:height]


def _cells(pixels: Pixels, unit: tuple[int, int]) -> Pixels:
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


def _beyond() -> ImageDecodeError:
    return damaged("JPEG", "levels beyond black and white")


def _left_over() -> ImageDecodeError:
    return damaged("JPEG", "data is left over after its last block")


def _shorter(part: bytes) -> bytes:
    return part[: -2 if part.endswith(b"\xff\0") else -1]


def _longer(part: bytes) -> bytes:
    return part + _MORE


def _decode(
    jpeg: Jpeg, width: int, height: int, interval: int | None = None, change: _Change = bytes
) -> Pixels:
    file = jpeg.build(width, height, interval, change)
    return decode_strips(lay_out(jpeg, width, [height]), [file])
