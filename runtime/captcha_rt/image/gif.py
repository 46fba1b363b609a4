"""Checks a GIF, and passes on its first frame; OpenCV would walk the others, too."""

import struct
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image.checked import MAX_BLOCKS, Checked, check_size, cut_off, damaged

_MAX_EXTENSIONS: Final = 100  # before a frame
_EXTENSION, _FRAME, _END = 0x21, 0x2C, 0x3B
_CONTROL: Final = 0xF9  # the extension with a frame's transparent colour
_PARTS: Final = (slice(0, 256), slice(256, 4352), slice(4352, None))  # of a run of codes
_FIRST_CLEARS: Final = 8  # what they are like, the others most probably are, too
_TABLE: Final = 4096  # entries, with codes of 12 bits
_REST: Final = 15  # bits that may follow the end code: those of its byte, and one byte more

# A frame of up to so many pixels is decoded here if it has too many clear codes; in Python that
# takes up to half a microsecond a pixel. A larger one is refused.
_MAX_DECODED: Final = 100_000


class GifFrame(NamedTuple):
    """Where a frame lies in the picture, and in the file.

    Attributes:
        left: Its first column.
        top: Its first row.
        width: Its columns.
        height: Its rows.
        control: The extension before it, with the transparent colour; may be empty.
        data: Its descriptor, its colour table and its data, which OpenCV decodes fast enough.
        end: The file's position after its data.
    """

    left: int
    top: int
    width: int
    height: int
    control: bytes
    data: bytes
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
    file = data[:header] + first.control + first.data + b";"
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
        ImageDecodeError: If the frame isn't within the picture, has more data than its pixels, or
            has too many clear codes.
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
    pixels = columns * rows
    # The worst case is 12 bits a pixel; in a small frame a clear code and a pixel of 9 bits each.
    limit = (5 if pixels <= _MAX_DECODED else 4) * pixels // 2 + 1024
    if end - codes > limit:
        raise ImageDecodeError(f"GIF of {end - codes} bytes, limit {limit}: convert it to PNG")
    repacked = _without_clear_codes(_joined(data, codes, end), data[codes - 1], pixels)
    whole = data[position:end] if repacked is None else data[position : codes - 1] + repacked
    return GifFrame(left, top, columns, rows, control, whole, end)


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


def _without_clear_codes(codes: bytes, bits: int, pixels: int) -> bytes | None:
    """Repacks a frame's data if it clears the table often, at 15 µs each time for OpenCV.

    An encoder clears the table when it is full; those that don't compress at all, once in 100
    pixels, or even before each pixel.

    Args:
        codes: The bytes of all sub-blocks.
        bits: The bits of a pixel, which the file calls the minimum code size.
        pixels: The frame's pixels.

    Returns:
        The bits of a pixel and the sub-blocks of data with the same pixels; None if OpenCV is to
        decode the data as it is.

    Raises:
        ImageDecodeError: If there are too many clear codes in a large frame, or if the data of a
            small one is damaged.
    """
    if not 1 <= bits <= 11:
        raise damaged("GIF", f"its codes begin with {bits} bits")
    limit = 256 + pixels // 64
    if 8 * len(codes) // (bits + 1) <= limit:
        return None
    padded = np.frombuffer(codes + bytes(2), np.uint8).astype(np.uint32)
    windows: NDArray[Any] = padded[:-2] | padded[1:-1] << 8 | padded[2:] << 16
    small = pixels <= _MAX_DECODED and 2 <= bits <= 8
    if not _clears_often(windows, bits, limit, hasty=small):
        return None
    if not small:
        raise ImageDecodeError(
            f"GIF with more than {limit} clear codes for {pixels} pixels: convert it to PNG"
        )
    found = _literals(windows, bits)
    if found is None or len(found) != pixels:
        found = np.frombuffer(_decoded(windows, bits, pixels), np.uint8)
    return _packed(found)


def _clears_often(windows: NDArray[Any], bits: int, limit: int, *, hasty: bool) -> bool:
    """Whether there are more clear codes than a limit.

    After a clear code the width of each code is known, so that a whole run is read at once.

    Args:
        windows: 24 bits of the codes, from each byte on.
        bits: The bits of a pixel, which the file calls the minimum code size.
        limit: The largest number of clear codes.
        hasty: Whether the first clear codes may tell how many there are.
    """
    clear, length = 1 << bits, 8 * len(windows)
    entries = clear + 1 + np.arange(1, length // (bits + 1))  # in the table, by the code's number
    widths = np.minimum(np.frexp(np.append(clear, entries))[1], 12)
    places = np.append(0, widths.cumsum()[:-1])
    start = found = 0
    while found <= limit:
        if hasty and found == _FIRST_CLEARS and found * length > limit * start:
            return True
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
            return False
    return True


def _literals(windows: NDArray[Any], bits: int) -> NDArray[Any] | None:
    """The pixels of codes that never use the table, and clear it before a code gets wider.

    Args:
        windows: 24 bits of the codes, from each byte on.
        bits: The bits of a pixel, which the file calls the minimum code size.

    Returns:
        The pixels; None if the codes aren't of that kind.
    """
    clear, length = 1 << bits, 8 * len(windows)
    at = np.arange(0, length - bits, bits + 1)
    values = windows[at >> 3] >> (at & 7).astype(np.uint32) & 2 * clear - 1
    ends = np.flatnonzero(values == clear + 1)
    if len(ends):
        if length - at[ends[0]] > bits + 1 + _REST:
            return None
        values = values[: ends[0]]
    is_clear = values == clear
    runs = np.diff(np.flatnonzero(is_clear), prepend=-1, append=len(values)) - 1
    if runs.max() > clear - 2 or values.max() > clear:
        return None
    pixels: NDArray[Any] = values[~is_clear]
    return pixels


def _decoded(windows: NDArray[Any], bits: int, pixels: int) -> bytes:
    """Decodes LZW, as in GIF89a, appendix F.

    Args:
        windows: 24 bits of the codes, from each byte on.
        bits: The bits of a pixel, which the file calls the minimum code size.
        pixels: The number of pixels that there have to be.

    Raises:
        ImageDecodeError: If a code isn't in the table, or if there isn't the data of so many
            pixels.
    """
    clear, length, windows_list = 1 << bits, 8 * len(windows), windows.tolist()
    table = [bytes((value,)) for value in range(clear)] + [b"", b""]
    found, before = [], b""
    at, width, missing = 0, bits + 1, pixels
    for _ in range(2 * pixels + 256):
        # Without an end code, what is left of the last byte may look like a code.
        if at + width > length or (not missing and at >= length - 8):
            break
        code = windows_list[at >> 3] >> (at & 7) & (1 << width) - 1
        at += width
        if code == clear:
            del table[clear + 2 :]
            width, before = bits + 1, b""
            continue
        if code == clear + 1:
            break
        if code < len(table):
            pixel_run = table[code]
        elif code == len(table) and before:  # the entry that this code makes
            pixel_run = before + before[:1]
        else:
            raise damaged("GIF", f"a code of {code}, with {len(table)} in the table")
        missing -= len(pixel_run)
        if missing < 0:
            break
        found.append(pixel_run)
        if before and len(table) < _TABLE:
            table.append(before + pixel_run[:1])
        if len(table) == 1 << width < _TABLE:
            width += 1
        before = pixel_run
    if missing or length - at > _REST:
        raise damaged("GIF", f"its data doesn't make {pixels} pixels")
    return b"".join(found)


def _packed(pixels: NDArray[Any]) -> bytes:
    """Packs pixels of 8 bits as codes of themselves, after one clear code.

    Each code makes an entry of the table, so that the next ones get wider, up to 12 bits. Then the
    table is full, and stays so.
    """
    codes = np.concatenate(([256], pixels, [257])).astype("<u2")
    rows = np.unpackbits(codes.view(np.uint8).reshape(-1, 2), axis=1, bitorder="little")
    parts = zip(np.split(rows, (256, 256 + 512, 256 + 512 + 1024)), range(9, 13), strict=True)
    bits = np.concatenate([part[:, :width].ravel() for part, width in parts])
    data = np.packbits(bits, bitorder="little").tobytes()
    blocks = (data[start : start + 255] for start in range(0, len(data), 255))
    return b"".join([b"\x08", *(bytes((len(block),)) + block for block in blocks), b"\0"])
