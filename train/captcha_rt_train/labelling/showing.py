"""Makes of a picture what a browser shows: the pixels that the reader sees, as PNG."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.formats import picture_format
from captcha_rt.image import decode_image, open_image

_ANIMATIONS: Final = {"GIF": "image/gif", "WebP": "image/webp", "PNG": "image/png"}
_FLAT: Final = 4.0  # the standard deviation of grey levels below which nobody sees anything


def shown(path: Path) -> tuple[bytes, str]:
    """Returns what a browser shows of a picture, and its media type.

    An animation is returned as it is, so that it moves; everything else as PNG, decoded as the
    reader decodes it. Only what the reader can decode is ever returned.

    Args:
        path: The picture's file.

    Raises:
        ImageDecodeError: If it can't be decoded.
    """
    opened = open_image(path)
    if opened.frames > 1:
        data = path.read_bytes()
        # The file may have been replaced since.
        decode_image(data)
        media = _ANIMATIONS.get(picture_format(data) or "")
        if media is not None:
            return data, media
    flat = flatten(opened.pixels)
    bgr = flat if flat.shape[2] == 1 else cv2.cvtColor(flat, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return encoded.tobytes(), "image/png"


def flatten(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Puts a picture with alpha on a background on which something is seen.

    White comes first, since that is what most pages have; then black; then the colours alone.

    Args:
        picture: `(H, W, C)` uint8, C = 1, 3 or 4 with straight alpha.

    Returns:
        `(H, W, 1)` or `(H, W, 3)` uint8.
    """
    if picture.shape[2] < 4:
        return picture
    colours = picture[:, :, :3].astype(np.float32)
    alpha = picture[:, :, 3:].astype(np.float32) / 255
    for background in (255, 0):
        blended = colours * alpha + background * (1 - alpha)
        if blended.mean(axis=2).std() >= _FLAT:
            return np.asarray(blended.round(), np.uint8)
    return np.ascontiguousarray(picture[:, :, :3])
