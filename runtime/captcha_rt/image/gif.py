"""Checks a GIF, and passes on its first frame; OpenCV would walk the others, too."""

import struct
from typing import Final, NamedTuple

import numpy as np

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image.checked import MAX_BLOCKS, Checked, check_size, cut_off, damaged

_MAX_EXTENSIONS: Final = 100  # before a frame
_EXTENSION, _FRAME, _END = 0x21, 0x2C, 0x3B
_CONTROL: Final = 0xF9  # the extension with a frame's transparent colour
_PARTS: Final = (slice(0, 256), slice(256, 4352), slice(4352, None))  # of a run of codes


class GifFrame(NamedTuple):
    """Where a frame lies in the picture, and in the file.

    Attributes:
        left: Its first column.
        top: Its first row.
        width: Its columns.
        height: Its rows.
        control: The extension before it, with the transparent colour; may be empty.
        start: The file's position of its descriptor.
        end: The file's position after its data.
    """

    left: int
    top: int
    width: int
    height: int
    control: bytes
    start: int
    end: int


def check_gif(data: bytes, max_pixels: int) -> Checked:
    """Checks a GIF: its size, and the place and the data of its first frame."""
    width, height = struct.unpack_from("<HH", data, 6)
    check_size("GIF", width, height, max_pixels)
    header = header_size(data)
    first = next_frame(data, header)
    if first is None:
        raise damaged("GIF", "no frame where one should be")
    if first.end == len(data):  # not even the end marker follows
        raise cut_off("GIF", data)
    file = data[:header] + first.control + data[first.start : first.end] + b";"
    return Checked(file, (width, height), frames=_count(data, first.end))


def header_size(data: bytes) -> int:
    """The position after a GIF's header and its global colour table."""
    return 13 + _colour_table(data[10])


def next_frame(data: bytes, position: int, number: int = 0) -> GifFrame | None:
    """Finds the next frame, and checks it.

    Args:
        data: The file.
        position: Where the frame before ends.
        number: The frame's number, from 0, for the message.

    Returns:
        The frame; None if something else is there.

    Raises:
        ImageDecodeError: If the frame isn't within the picture, or has more data than its pixels.
        IndexError: If the file ends before the frame does.
        struct.error: If the file ends before the frame does.
    """
    control = b""
    for _ in range(_MAX_EXTENSIONS):
        if data[position] != _EXTENSION:
            break
        end = _after_sub_blocks(data, position + 2)
        if data[position + 1] == _CONTROL:
            control = data[position:end]
        position = end
    else:
        raise damaged("GIF", f"more than {_MAX_EXTENSIONS} extensions")
    if data[position] != _FRAME:
        return None
    width, height = struct.unpack_from("<HH", data, 6)
    left, top, columns, rows, packed = struct.unpack_from("<HHHHB", data, position + 1)
    if not (0 < columns <= width - left and 0 < rows <= height - top):
        raise damaged("GIF", f"its frame {number} isn't within the picture")
    codes = position + 11 + _colour_table(packed)
    end = _after_sub_blocks(data, codes)
    limit = 2 * columns * rows + 1024  # the worst case is 12 bits per pixel
    if end - codes > limit:
        raise ImageDecodeError(f"GIF of {end - codes} bytes, limit {limit}: convert it to PNG")
    _check_clear_codes(_joined(data, codes, end), data[codes - 1], columns * rows)
    return GifFrame(left, top, columns, rows, control, position, end)


def _count(data: bytes, position: int) -> int:
    """Counts the frames, without a check of their data; `position` is after the first."""
    frames = 1
    try:
        while frames < MAX_BLOCKS and data[position] in (_EXTENSION, _FRAME):
            if data[position] == _FRAME:
                frames += 1
                position += 11 + _colour_table(data[position + 9])
            else:
                position += 2
            position = _after_sub_blocks(data, position)
    except (IndexError, ImageDecodeError):  # what follows the first frame need not be whole
        pass
    return frames


def _colour_table(packed: int) -> int:
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0


def _after_sub_blocks(data: bytes, position: int) -> int:
    for _ in range(MAX_BLOCKS):
        length = data[position]
        position += 1 + length
        if length == 0:
            return position
    raise damaged("GIF", f"more than {MAX_BLOCKS} sub-blocks")


def _joined(data: bytes, position: int, end: int) -> bytes:
    """The bytes of all sub-blocks."""
    blocks = []
    while position < end:
        blocks.append(data[position + 1 : position + 1 + data[position]])
        position += 1 + data[position]
    return b"".join(blocks)


def _check_clear_codes(codes: bytes, bits: int, pixels: int) -> None:
    """Checks how often the codes clear the table, at 15 µs each for OpenCV.

    An encoder clears the table when it is full; those that don't compress at all, about once in
    100 pixels. After a clear code the width of each code is known, so that a whole run is read at
    once.

    Raises:
        ImageDecodeError: If there are too many clear codes.
    """
    if not 1 <= bits <= 11:
        raise damaged("GIF", f"its codes begin with {bits} bits")
    limit = 256 + pixels // 64
    length = 8 * len(codes)
    if length // (bits + 1) <= limit:
        return
    clear = 1 << bits
    padded = np.frombuffer(codes + bytes(2), np.uint8).astype(np.uint32)
    windows = padded[:-2] | padded[1:-1] << 8 | padded[2:] << 16  # 24 bits from each byte on
    entries = clear + 1 + np.arange(1, length // (bits + 1))  # in the table, by the code's number
    widths = np.minimum(np.frexp(np.append(clear, entries))[1], 12)
    places = np.append(0, widths.cumsum()[:-1])
    start = found = 0
    while found <= limit:
        for part in _PARTS:
            at = places[part] + start
            at = at[: np.searchsorted(at, length)]
            width = widths[part][: len(at)]
            values = windows[at >> 3] >> (at & 7).astype(np.uint32) & (1 << width) - 1
            hits = np.flatnonzero(values == clear)
            if len(hits):
                start = int(at[hits[0]] + width[hits[0]])
                found += 1
                break
        else:  # the table is used to the end
            return
    raise ImageDecodeError(
        f"GIF with more than {limit} clear codes for {pixels} pixels: convert it to PNG"
    )
