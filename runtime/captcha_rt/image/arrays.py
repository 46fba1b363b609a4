"""Takes pixels that somebody else has decoded: NumPy arrays and Pillow images."""

from typing import Any, Final, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image.checked import check_size

_TO_RGBA: Final = frozenset(("LA", "La", "PA", "RGBa", "RGBA"))
_TO_RGB: Final = frozenset(("RGB", "RGBX", "CMYK", "YCbCr", "HSV", "P"))


@runtime_checkable
class PillowImage(Protocol):
    """What is used of a Pillow image, which this package doesn't import."""

    mode: str
    size: tuple[int, int]
    info: dict[Any, Any]

    def convert(self, mode: str) -> "PillowImage":
        """Returns a copy in another mode."""

    def tobytes(self) -> bytes:
        """Returns the pixels."""


def from_array(array: NDArray[Any], max_pixels: int) -> NDArray[np.uint8]:
    """Checks an array of pixels and makes it uint8 `(H, W, C)`.

    Raises:
        ImageDecodeError: If the shape or the dtype is none that a picture has, or it is too large.
    """
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,), (4,)):
        raise ImageDecodeError(
            f"array of shape {array.shape}: expected (H, W), (H, W, 1), (H, W, 3) RGB or "
            "(H, W, 4) RGBA; for an encoded file pass array.tobytes()"
        )
    height, width = array.shape[:2]
    check_size("array", width, height, max_pixels)
    pixels = array * np.uint8(255) if array.dtype == np.bool_ else high_byte(array)
    if pixels.dtype != np.uint8:
        raise ImageDecodeError(
            f"array of {array.dtype}: expected uint8, uint16 or bool; scale it to 0..255 and "
            "pass array.astype(numpy.uint8)"
        )
    return np.ascontiguousarray(pixels).reshape(height, width, -1)


def from_pillow(image: PillowImage, max_pixels: int) -> NDArray[np.uint8]:
    """Takes a Pillow image as the PNG that Pillow would save.

    Raises:
        ImageDecodeError: If the image is too large, can't be loaded, or has floating-point pixels.
    """
    width, height = image.size
    check_size("Pillow image", width, height, max_pixels)
    try:
        pixels = _pixels_of(image)
    except (OSError, ValueError, SyntaxError) as error:  # a file that Pillow loads only now
        raise ImageDecodeError(f"Pillow image of mode {image.mode}: {error!s:.200}") from error
    return np.ascontiguousarray(pixels.reshape(height, width, -1))


def _pixels_of(image: PillowImage) -> NDArray[np.uint8]:
    """The pixels in any shape, with all channels of a pixel together."""
    mode = image.mode
    if mode.startswith("I"):
        kind = {"I": "=i4", "I;16B": ">u2"}.get(mode, "<u2")
        values: NDArray[Any] = np.frombuffer(image.tobytes(), np.dtype(kind))
        return np.asarray(np.clip(values, 0, 0xFFFF) >> 8, np.uint8)
    palette_mode = getattr(getattr(image, "palette", None), "mode", "")
    if mode in _TO_RGBA or "transparency" in image.info or (mode == "P" and palette_mode == "RGBA"):
        if mode == "La":
            image = image.convert("LA")
        channels, target = 4, "RGBA"
    elif mode in ("1", "L"):
        channels, target = 1, "L"
    elif mode in _TO_RGB:
        channels, target = 3, "RGB"
    elif mode == "LAB":  # which Pillow converts only with a colour profile
        lab = np.frombuffer(image.tobytes(), np.uint8).reshape(image.size[1], image.size[0], 3)
        signed = lab ^ np.array([0, 128, 128], np.uint8)
        return np.asarray(cv2.cvtColor(signed, cv2.COLOR_LAB2RGB), np.uint8)
    else:
        raise ValueError("scale its pixels to 0..255, and pass image.convert('L')")
    converted = image if mode == target else image.convert(target)
    return np.frombuffer(converted.tobytes(), np.uint8).reshape(-1, channels)


def high_byte(array: NDArray[Any]) -> NDArray[Any]:
    """The high bytes of uint16 in either byte order; other arrays as they are."""
    is_uint16 = array.dtype.kind == "u" and array.dtype.itemsize == 2
    return (array >> 8).astype(np.uint8) if is_uint16 else array
