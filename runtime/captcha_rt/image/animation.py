"""Composes the frames of an animated GIF, WebP or PNG."""

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image.checked import check_size, damaged
from captcha_rt.image.gif import header_size, next_frame
from captcha_rt.image.png import SIGNATURE, chunk
from captcha_rt.image.webp import chunks, riff

_KEEP, _CLEAR, _RESTORE = 0, 1, 2


class Part(NamedTuple):
    """One frame as the file holds it: a part of the picture, laid over the frame before.

    Attributes:
        file: A still picture of the frame, as a file.
        left: The column at which the frame begins in the picture.
        top: The row at which the frame begins in the picture.
        blend: Whether what is below shows through transparent pixels; otherwise they replace it.
        dispose: What happens to the frame's area before the next frame: 0 leaves it, 1 makes it
            transparent, 2 restores what was below.
    """

    file: bytes
    left: int
    top: int
    blend: bool
    dispose: int


MAX_FRAMES: Final = 1000
"""The largest number of frames that are composed. A tiny frame of a GIF may take OpenCV 4 ms."""


def compose(
    name: str,
    data: bytes,
    size: tuple[int, int],
    decode: Callable[[bytes], NDArray[np.uint8]],
    max_pixels: int,
) -> NDArray[np.uint8]:
    """Composes all frames.

    Args:
        name: The format: GIF, WebP or PNG.
        data: The file, whose structure was checked.
        size: The picture's width and height.
        decode: Decodes a still picture.
        max_pixels: The largest number of pixels of all frames together.

    Returns:
        `(F, H, W, C)` uint8: C is 4 if a frame has a transparent pixel, else 3.

    Raises:
        ImageDecodeError: If a frame is damaged or outside of the picture, or there are too many.
    """
    width, height = size
    canvas = np.zeros((height, width, 4), np.uint8)
    frames: list[NDArray[np.uint8]] = []
    for part in _PARTS[name](data):
        if len(frames) == MAX_FRAMES:
            raise ImageDecodeError(f"{name} of more than {MAX_FRAMES} frames: save the first ones")
        if (len(frames) + 1) * width * height > max_pixels:
            raise ImageDecodeError(
                f"{name} of more than {len(frames)} frames of {width} x {height} pixels: "
                f"together more than max_pixels={max_pixels}"
            )
        pixels = _as_rgba(decode(part.file))
        area = canvas[part.top :, part.left :][: pixels.shape[0], : pixels.shape[1]]
        if area.shape != pixels.shape:
            raise damaged(name, f"its frame {len(frames)} isn't within the picture")
        below = area.copy()
        area[:] = _blended(below, pixels) if part.blend else pixels
        frames.append(canvas.copy())
        if part.dispose == _CLEAR:
            area[:] = 0
        elif part.dispose == _RESTORE:
            area[:] = below
    if not frames:
        raise damaged(name, "there is no frame in it")
    stack = np.stack(frames)
    return stack if stack[..., 3].min() < 255 else np.ascontiguousarray(stack[..., :3])


def _as_rgba(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if pixels.shape[2] == 4:
        return pixels
    colours = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    return np.dstack([colours, np.full(pixels.shape[:2], 255, np.uint8)])


def _blended(below: NDArray[np.uint8], above: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lays RGBA over RGBA, both with straight alpha."""
    alpha, under = above[..., 3:] / 255, below[..., 3:] / 255
    total = alpha + under * (1 - alpha)
    mixed = above[..., :3] * alpha + below[..., :3] * under * (1 - alpha)
    colours = mixed / np.where(total, total, 1)
    return np.asarray(np.rint(np.concatenate([colours, 255 * total], axis=2)), np.uint8)


def _gif_parts(data: bytes) -> Iterator[Part]:
    header = header_size(data)
    position, number = header, 0
    while (frame := next_frame(data, position, number)) is not None:
        position, number = frame.end, number + 1
        packed = frame.control[3] if len(frame.control) > 3 else 0
        # The same frame, in a picture of its size.
        screen = data[:6] + struct.pack("<HH", frame.width, frame.height) + data[10:header]
        shown = frame.data[:1] + bytes(4) + frame.data[5:]
        dispose = {2: _CLEAR, 3: _RESTORE}.get(packed >> 2 & 7, _KEEP)
        yield Part(screen + frame.control + shown + b";", frame.left, frame.top, True, dispose)


def _webp_parts(data: bytes) -> Iterator[Part]:
    (size,) = struct.unpack_from("<I", data, 4)
    for name, start, end in chunks(data, 12, 8 + size):
        if name != b"ANMF":
            continue
        left, top = (int.from_bytes(data[i : i + 3], "little") for i in (start, start + 3))
        bodies = [(kind, data[a:b]) for kind, a, b in chunks(data, start + 16, end)]
        if any(kind == b"ALPH" for kind, _ in bodies):
            sides = data[start + 6 : start + 12]
            bodies.insert(0, (b"VP8X", b"\x10\0\0\0" + sides))
        flags = data[start + 15]
        yield Part(riff(bodies), 2 * left, 2 * top, not flags & 2, flags & 1)


def _png_parts(data: bytes) -> Iterator[Part]:
    header, shared = data[16:29], b""
    control = b""
    body: list[bytes] = []
    position = 8
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        content = data[position + 8 : position + 8 + length]
        if kind in (b"fcTL", b"IEND"):
            if control and body:
                yield _png_part(header, shared, control, b"".join(body))
            control, body = content, []
            if kind == b"IEND":
                return
        elif kind in (b"PLTE", b"tRNS"):
            shared += chunk(kind, content)
        elif kind == b"IDAT":
            body.append(content)
        elif kind == b"fdAT":
            body.append(content[4:])  # after a number
        position += 12 + length


def _png_part(header: bytes, shared: bytes, control: bytes, body: bytes) -> Part:
    width, height, left, top, _, _, dispose, blend = struct.unpack(">4xIIIIHHBB", control)
    check_size("PNG frame", width, height, 1 << 31)
    sized = struct.pack(">II", width, height) + header[8:]
    file = SIGNATURE + chunk(b"IHDR", sized) + shared + chunk(b"IDAT", body) + chunk(b"IEND")
    return Part(file, left, top, blend == 1, dispose)


_PARTS: Final[Mapping[str, Callable[[bytes], Iterator[Part]]]] = {
    "GIF": _gif_parts,
    "WebP": _webp_parts,
    "PNG": _png_parts,
}
