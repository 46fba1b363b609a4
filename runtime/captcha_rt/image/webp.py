"""Checks a WebP, and finds lossy and lossless data that is damaged.

WebP has no checksum, and libwebp returns an error only if it reads past the data's end. It says
nothing if data is left over: an arithmetic coder in which one bit was flipped goes on reading, and
ends somewhere else. So a whole picture is one that becomes another, or none, if its last bits
change. Lossless data has codes that fall into step again after a flipped bit: of 100 flips 10 don't
change the end. Of these, and of lossy data that ends there by chance, the pixels tell some
(`doubts.py`).
"""

import struct
from collections.abc import Callable
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.image.checked import (
    AS_STORED,
    MAX_BLOCKS,
    Checked,
    check_size,
    check_spare,
    cut_off,
    damaged,
    run_opencv,
)
from captcha_rt.image.doubts import looks_run_over, looks_torn
from captcha_rt.image.vp8 import below, coefficient_partitions, in_whole_blocks
from captcha_rt.image.vp8l import is_predicted

FLAGS: Final = AS_STORED | cv2.IMREAD_IGNORE_ORIENTATION
_ANIMATED: Final = 0x02
_LOSSLESS: Final = (b"VP8L", b"ALPH")
# Numbers of bytes at the end of lossless data: without the one or the other a good picture is none,
# or another one. What libwebp writes does without 1 byte at most; without 3 it may, by chance.
_SPARE: Final = (2, 3)
_ZEROS: Final = 6  # bytes: an encoder of lossy data writes up to 4 zeros at the end
_TINY: Final = 64  # bytes: of a picture in one colour, whose pixels take no data at all


def check_webp(data: bytes, max_pixels: int) -> Checked:
    """Checks a WebP: its size, that it is whole, and that its data ends where the picture does."""
    size, kind = struct.unpack_from("<I4x4s", data, 4)
    if kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8X":  # libwebp refuses a frame that doesn't fit
        width, height = (1 + int.from_bytes(data[i : i + 3], "little") for i in (24, 27))
    else:
        raise damaged("WebP", f"it begins with a {kind!r} chunk")
    check_size("WebP", width, height, max_pixels)
    if 8 + size > len(data):
        raise cut_off("WebP", data)
    spare = data[8 + size :].strip(b"\0")
    data = data[: 8 + size]  # of what follows libwebp would take bytes that a chunk lacks
    found = chunks(data, 12, 8 + size)
    frames = [place for place in found if place[0] == b"ANMF"]
    animated = kind == b"VP8X" and data[20] & _ANIMATED
    inner = chunks(data, frames[0][1] + 16, frames[0][2]) if animated and frames else found
    stored = run_opencv("WebP", data, FLAGS)
    doubtful = False
    if stored is not None:
        parts = [(part, data[start:end]) for part, start, end in inner]
        _check_ends(parts, stored)
        if any(part in _LOSSLESS for part, _ in parts):  # which falls into step again
            check_spare("WebP", spare)
        doubtful = any(_looks_damaged(part, body, stored[..., 1]) for part, body in parts)
    count = max(1, len(frames)) if animated else 1
    return Checked(data, (width, height), FLAGS, frames=count, stored=stored, doubtful=doubtful)


def _looks_damaged(part: bytes, body: bytes, levels: NDArray[np.uint8]) -> bool:
    if part == b"VP8 ":
        return looks_torn(levels)
    return part == b"VP8L" and is_predicted(body) and looks_run_over(levels)


def chunks(data: bytes, position: int, end: int) -> list[tuple[bytes, int, int]]:
    """Finds the chunks between two positions: the name, the start and the end of each body."""
    found = []
    while position + 8 <= end:
        name, length = struct.unpack_from("<4sI", data, position)
        start = position + 8
        if start + length > end:
            raise cut_off("WebP", data)
        found.append((name, start, start + length))
        if len(found) > MAX_BLOCKS:
            raise damaged("WebP", f"more than {MAX_BLOCKS} chunks")
        position = start + length + (length & 1)
    return found


def riff(bodies: list[tuple[bytes, bytes]]) -> bytes:
    """A WebP file of chunks: the name and the body of each."""
    parts = [
        name + struct.pack("<I", len(body)) + body + bytes(len(body) & 1) for name, body in bodies
    ]
    content = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def _check_ends(parts: list[tuple[bytes, bytes]], pixels: NDArray[Any]) -> None:
    """Checks that a still picture needs its data up to the end.

    Args:
        parts: The chunks of the picture.
        pixels: The decoded picture.

    Raises:
        ImageDecodeError: If data is left over.
    """
    wanted = [(name, body) for name, body in parts if name in (b"VP8 ", *_LOSSLESS, b"VP8X")]
    for index, (name, body) in enumerate(wanted):

        def is_same(other: bytes, index: int = index, name: bytes = name) -> bool:
            file = riff([*wanted[:index], (name, other), *wanted[index + 1 :]])
            return _are_equal(run_opencv("WebP", file, FLAGS), pixels)

        if len(body) < _TINY or name == b"VP8X":
            continue
        if name in _LOSSLESS:
            left_over = all(is_same(body[:-spare]) for spare in _SPARE)
        else:
            left_over = _is_left_over(body, is_same)
        if left_over:
            raise damaged("WebP", "data is left over after its last pixel")


def _is_left_over(body: bytes, is_same: Callable[[bytes], bool]) -> bool:
    """Whether lossy data goes on after the picture's end."""
    # Over many zeros a decoder that is out of step may come to an end like that of a good file.
    if body.endswith(bytes(_ZEROS)) and is_same(body[:-_ZEROS]):
        return True
    for start, end in coefficient_partitions(body):
        other = below(body, start, end)
        # The last blocks may lie outside of the picture.
        if other is not None and is_same(other) and _shows_same_blocks(body, other):
            return True
    return False


def _shows_same_blocks(body: bytes, other: bytes) -> bool:
    files = (riff([(b"VP8 ", in_whole_blocks(data))]) for data in (body, other))
    return _are_equal(*(run_opencv("WebP", file, FLAGS) for file in files))


def _are_equal(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    return one is not None and other is not None and np.array_equal(one, other)
