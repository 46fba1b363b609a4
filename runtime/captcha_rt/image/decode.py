"""Decodes pictures: bytes, a path, pixels or a text becomes uint8 `(H, W, C)`, C = 1, 3 or 4."""

import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import ImageDecodeError
from captcha_rt.formats import picture_format
from captcha_rt.image.arrays import PillowImage, from_array, from_pillow, high_byte
from captcha_rt.image.checked import MAX_BYTES, MAX_PIXELS, Checked, cut_off, run_opencv
from captcha_rt.image.checks import CHECKS, is_text, not_a_picture
from captcha_rt.image.exif import turn
from captcha_rt.image.texts import picture_in, shortened

ImageSource: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[np.generic] | PillowImage
)
"""What `decode_image` takes: a path, the bytes of an image file, an array of pixels, a Pillow
image, or a data URL or base64 text of an image file."""

Merge: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Makes one picture of the frames of an animation: `(F, H, W, C)` → `(H, W, C)`."""


Fits: TypeAlias = Callable[[int, int], None]
"""Raises a RecipeError if a picture of a height and width is of no use."""


class Opened(NamedTuple):
    """A decoded picture.

    Attributes:
        pixels: `(H, W, C)` uint8.
        frames: The number of frames of the file, at least 1.
        doubtful: Whether the pixels look damaged: an answer has to be surer than others.
    """

    pixels: NDArray[np.uint8]
    frames: int
    doubtful: bool = False


_LYING = 5  # from this orientation on, a picture is turned by a quarter


def decode_image(
    source: ImageSource, *, max_pixels: int = MAX_PIXELS, merge: Merge | None = None
) -> NDArray[np.uint8]:
    """Decodes a PNG, JPEG, BMP, GIF or WebP file, or converts pixels.

    The content decides the format; the suffix of a path is ignored. The channels stay as they are
    in the file: alpha is neither blended nor dropped, and grey stays grey. A palette becomes
    colours. Of a value of 16 bits the high byte is kept, as in `tf.io.decode_png`. The EXIF
    orientation of JPEG and PNG is applied; the orientation of WebP is not, since OpenCV before 4.13
    can't read it.

    A damaged file is refused where that can be seen. A PNG has checksums. The data of a JPEG or a
    WebP has to end where the picture does. Bytes after the picture's end are ignored; but after a
    BMP and a lossless WebP only padding and text, since others may be a part of a picture with a
    piece too many.

    Args:
        source: The bytes of an encoded file, the path of one, an array of pixels, a Pillow image,
            or a text: a data URL or base64. An array is uint8, uint16 (the high byte is kept) or
            bool (0 and 255), `(H, W)`, `(H, W, 1)`, `(H, W, 3)` RGB or `(H, W, 4)` RGBA. A Pillow
            image is taken as the PNG that Pillow would save.
        max_pixels: The largest H * W; larger pictures are refused before they are decoded. With
            `merge` it limits all frames together.
        merge: Makes one picture of the frames of an animation, such as `Recipe.merge`; None takes
            the first frame.

    Returns:
        `(H, W, C)` uint8, C-contiguous: C = 1 is grey, 3 is RGB, 4 is RGBA with straight alpha. If
        `source` is a contiguous uint8 array, the result shares memory with `source`.

    Raises:
        ImageDecodeError: If the file is of another format, cut off, damaged or too large, if there
            is no readable file at the path, if the memory isn't enough, or if `source` is of
            another type. The message says what was found.
        RecipeError: If `merge` can't use the frames.
    """
    return open_image(source, max_pixels=max_pixels, merge=merge).pixels


def open_image(
    source: ImageSource,
    *,
    max_pixels: int = MAX_PIXELS,
    merge: Merge | None = None,
    fits: Fits | None = None,
    plain: bool = False,
) -> Opened:
    """Decodes a picture as `decode_image` does, and counts its frames.

    With `fits`, a file is refused by the size in its header, before its pixels are decoded. With
    `plain`, a PNG that stores an opaque grey picture as RGBA may come with one channel.
    """
    try:
        if isinstance(source, np.ndarray):
            return Opened(from_array(source, max_pixels), 1)
        if isinstance(source, bytes | bytearray | memoryview):
            _check_bytes(memoryview(source).nbytes)
            data = bytes(source)  # a copy, which can't change later
            return _decode(data, max_pixels, merge, fits, plain)
        if isinstance(source, str | os.PathLike):
            return _open_path(source, max_pixels, merge, fits, plain)
        if isinstance(source, PillowImage):
            return _open_pillow(source, max_pixels, merge)
    except MemoryError as error:
        raise ImageDecodeError("not enough memory to decode the picture") from error
    raise ImageDecodeError(
        "expected a path, the bytes of an image file, a NumPy array or a Pillow image, not "
        f"{type(source).__name__}"
    )


def _open_path(
    source: str | os.PathLike[str],
    max_pixels: int,
    merge: Merge | None,
    fits: Fits | None,
    plain: bool,
) -> Opened:
    path = Path(source)
    try:
        data = _read(path)
    except ImageDecodeError:
        # A text is looked at only where there is no such file.
        found = picture_in(source.encode("utf-8", "replace")) if isinstance(source, str) else None
        if found is None:
            raise
        return _decode(found, max_pixels, merge, fits, plain)
    try:
        return _decode(data, max_pixels, merge, fits, plain)
    except ImageDecodeError as error:
        raise ImageDecodeError(f"{path}: {error}") from error


def _open_pillow(image: PillowImage, max_pixels: int, merge: Merge | None) -> Opened:
    """Takes the frame that a Pillow image shows; with `merge` all of its frames."""
    frames = int(getattr(image, "n_frames", 1))
    if merge is None or frames == 1:
        return Opened(from_pillow(image, max_pixels), frames)
    steering: Any = image
    shown = steering.tell()
    try:
        stack = []
        for frame in range(frames):
            steering.seek(frame)
            stack.append(from_pillow(steering.convert("RGBA"), max_pixels // frames))
    finally:
        steering.seek(shown)
    return Opened(merge(np.stack(stack)), frames)


def _decode(
    data: bytes,
    max_pixels: int,
    merge: Merge | None = None,
    fits: Fits | None = None,
    plain: bool = False,
) -> Opened:
    name = picture_format(data)
    if name is None:
        found = picture_in(data) if is_text(data) else None
        if found is None:
            raise not_a_picture(data)
        return _decode(found, max_pixels, merge, fits, plain)
    try:
        checked = CHECKS[name](data, max_pixels)
        if fits is not None:
            width, height = checked.size if checked.turn < _LYING else checked.size[::-1]
            fits(height, width)
        if merge is not None and checked.frames > 1:
            from captcha_rt.image.animation import compose  # few models need it

            stack = compose(
                name,
                data,
                checked.size,
                lambda file: _decode(file, max_pixels).pixels,
                max_pixels,
            )
            return Opened(merge(stack), checked.frames)
    except (struct.error, IndexError) as error:  # the check read past the end
        raise cut_off(name, data) from error
    return Opened(_pixels(name, checked, plain), checked.frames, checked.doubtful)


def _pixels(name: str, checked: Checked, plain: bool) -> NDArray[np.uint8]:
    """Decodes what a check has passed on."""
    stored = checked.stored
    if stored is None:
        stored = run_opencv(name, checked.data, checked.flags)
    if stored is None:
        if name == "GIF" and not cv2.haveImageWriter(".gif"):
            raise ImageDecodeError(
                f"GIF, which OpenCV {cv2.__version__} can't read: convert it to PNG, or "
                "pip install 'opencv-python-headless>=4.12'"
            )
        raise ImageDecodeError(f"{name} damaged: its structure is whole, its pixels are not")
    if checked.transparent_grey is not None:
        alpha = np.where(stored == checked.transparent_grey, 0, np.iinfo(stored.dtype).max)
        stored = np.dstack([stored, stored, stored, alpha.astype(stored.dtype)])
    picture = high_byte(stored)
    if checked.is_grey_rgba and not plain:
        picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGBA), np.uint8)
    elif picture.ndim == 2:
        picture = picture[:, :, np.newaxis]
    else:
        to_rgb = cv2.COLOR_BGR2RGB if picture.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        picture = np.asarray(cv2.cvtColor(picture, to_rgb), np.uint8)
    return picture if checked.turn == 1 else turn(picture, checked.turn)


def _read(path: Path) -> bytes:
    """Reads a regular file. Pipes and devices are refused: they could block, or never end."""
    data, shown = b"", shortened(str(path))
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES:
            with path.open("rb") as file:
                data = file.read(status.st_size)
    except FileNotFoundError as error:
        raise ImageDecodeError(f"no such file: {shown}") from error
    except OSError as error:
        raise ImageDecodeError(f"can't read the file: {error.strerror}: {shown}") from error
    except ValueError as error:  # a NUL in the path
        raise ImageDecodeError(f"can't read the file: {error!s:.80}") from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageDecodeError(f"is a folder: {path}")
    if not stat.S_ISREG(status.st_mode):
        raise ImageDecodeError(f"is a pipe or a device, not a file: {path}")
    _check_bytes(status.st_size, f"{path}: ")
    return data


def _check_bytes(size: int, prefix: str = "") -> None:
    if size == 0:
        raise ImageDecodeError(f"{prefix}empty: 0 bytes")
    if size > MAX_BYTES:
        raise ImageDecodeError(f"{prefix}{size} bytes: more than the limit of {MAX_BYTES}")
