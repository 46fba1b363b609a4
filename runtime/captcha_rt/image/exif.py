"""Reads the orientation of a picture from its EXIF block, and applies it."""

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

_ORIENTATION: Final = 0x0112
_SHORT: Final = 3  # the type of the value
_MAX_ENTRIES: Final = 1000


def orientation(block: bytes) -> int:
    """Finds the orientation.

    Args:
        block: An EXIF block: a TIFF header and what follows.

    Returns:
        The orientation, 1 to 8; 1, which changes nothing, if there is none that can be read.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (entries,) = struct.unpack_from(order + "H", block, start)
        for index in range(min(entries, _MAX_ENTRIES)):
            place = start + 2 + 12 * index
            tag, kind, _, value = struct.unpack_from(order + "HHIH", block, place)
            if tag == _ORIENTATION:
                return value if kind == _SHORT and 1 <= value <= 8 else 1
    except struct.error:  # the block ends before what it says it holds
        pass
    return 1


def turn(picture: NDArray[np.uint8], how: int) -> NDArray[np.uint8]:
    """Turns a picture upright.

    Args:
        picture: `(H, W, C)`.
        how: The orientation, 1 to 8.

    Returns:
        `(H, W, C)`, or `(W, H, C)` from 5 on; contiguous.
    """
    if how >= 5:
        picture = picture.transpose(1, 0, 2)
    across = how in (2, 3, 6, 7)
    down = how in (3, 4, 7, 8)
    turned = picture[:: -1 if down else 1, :: -1 if across else 1]
    return np.ascontiguousarray(turned)
