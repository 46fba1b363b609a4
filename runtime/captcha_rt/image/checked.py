"""What the checks of all formats share: the limits, the result, and the words of their errors."""

import os
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import ImageDecodeError

MAX_PIXELS: Final = 4_000_000
MAX_SIDE: Final = 32_767  # the limit of OpenCV's remap and warps (SHRT_MAX)
MAX_BYTES: Final = 64 * 2**20  # twice an uncompressed 16-bit RGBA picture of MAX_PIXELS
MAX_BLOCKS: Final = 10_000  # chunks, segments or sub-blocks; to walk one takes up to 1 µs

_TEXT: Final = bytes((9, 10, 13, *range(32, 127)))

# Keeps the stored channels and depth, like IMREAD_UNCHANGED, but applies the orientation.
AS_STORED: Final = cv2.IMREAD_COLOR | cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH


class Checked(NamedTuple):
    """A file that is whole and small enough, ready for OpenCV.

    Attributes:
        data: The bytes to decode: the first frame, or the still picture, of an animation.
        flags: The flags to decode them with.
        transparent_grey: The level that is transparent in a grey PNG, from the tRNS chunk, which
            OpenCV drops; None if there is none.
        size: The picture's width and height.
        frames: The number of frames.
        turn: The orientation as EXIF counts, 1 to 8.
        stored: The decoded pixels as OpenCV returns them, if the check has decoded them.
        is_grey_rgba: Whether the bytes to decode are one channel of a file that stores opaque greys
            as RGBA.
        doubtful: Whether the pixels look damaged, though the file could be as it was written.
    """

    data: bytes
    size: tuple[int, int]
    flags: int = AS_STORED
    transparent_grey: int | None = None
    frames: int = 1
    turn: int = 1
    stored: NDArray[Any] | None = None
    is_grey_rgba: bool = False
    doubtful: bool = False


_SILENT: Final = 0  # the level of OpenCV's log

if "OPENCV_LOG_LEVEL" not in os.environ:
    # OpenCV logs on stderr what its decoders mention; the checks make them mention something about
    # good pictures, too. What matters is raised here. The level is one for the whole process: to
    # change it around each call would not be safe between threads.
    (cv2.utils.logging if hasattr(cv2.utils, "logging") else cv2).setLogLevel(_SILENT)

if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
    # Of OpenCV's threads none is left in a forked child, but a lock that one held stays locked. So
    # the child does without: 0 takes no lock, 1 would.
    os.register_at_fork(after_in_child=lambda: cv2.setNumThreads(0))


def run_opencv(name: str, file: bytes, flags: int) -> NDArray[Any] | None:
    """Lets OpenCV decode a file.

    Args:
        name: The format, for the message.
        file: The file's bytes.
        flags: OpenCV's flags.

    Returns:
        The pixels as OpenCV returns them; None if it can't decode the file.

    Raises:
        ImageDecodeError: If OpenCV raises an error; that the memory isn't enough is one.
    """
    try:
        pixels: NDArray[Any] | None = cv2.imdecode(np.frombuffer(file, np.uint8), flags)
    except cv2.error as error:
        raise ImageDecodeError(f"{name} that OpenCV refuses: {error}") from error
    return pixels


def check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    """Checks a picture's sides.

    Args:
        name: The format, for the message.
        width: The width in pixels.
        height: The height in pixels.
        max_pixels: The largest number of pixels.

    Raises:
        ImageDecodeError: If there is no pixel, or if there are too many.
    """
    if width < 1 or height < 1:
        problem = "there is no picture in it"
    elif width * height > max_pixels:
        problem = f"more than max_pixels={max_pixels}"
    elif max(width, height) > MAX_SIDE:
        problem = f"a side is longer than {MAX_SIDE}"
    else:
        return
    raise ImageDecodeError(f"{name} of {width} x {height} pixels: {problem}")


def check_spare(name: str, spare: bytes) -> None:
    """Checks what follows a picture's end: text, such as a line break, and no other bytes.

    Others may be the end of a picture with a piece too many, which moves all that follows it.

    Args:
        name: The format, for the message.
        spare: The bytes, without padding.

    Raises:
        ImageDecodeError: If there is anything but text.
    """
    if spare.translate(None, _TEXT):
        raise damaged(name, f"{len(spare)} bytes more than its header says")


def cut_off(name: str, data: bytes) -> ImageDecodeError:
    """The error for a file that ends too early."""
    return ImageDecodeError(f"{name} cut off: it should go on after its {len(data)} bytes")


def damaged(name: str, problem: str) -> ImageDecodeError:
    """The error for a file that is damaged."""
    return ImageDecodeError(f"{name} damaged: {problem}")
