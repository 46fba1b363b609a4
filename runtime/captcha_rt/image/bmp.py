"""Checks a BMP."""

import struct
from typing import Final

import cv2

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image.checked import AS_STORED, Checked, check_size, check_spare, cut_off

_PLAIN, _MASKS = 0, 3  # between them are the two run-length codes
_PADDING: Final = (b"", b"\0", b"\0\0", b"\0\0\0")


def check_bmp(data: bytes, max_pixels: int) -> Checked:
    """Checks a BMP: its size, and that all rows are there."""
    stated, _, offset, header = struct.unpack_from("<IIII", data, 2)
    compression = size = alpha = 0
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits, compression, size = struct.unpack_from("<iiHHII", data, 18)
    check_size("BMP", width, abs(height), max_pixels)
    if compression > _MASKS:
        raise ImageDecodeError(f"BMP of compression {compression}: convert it to PNG")
    if compression in (_PLAIN, _MASKS):  # rows are padded to 4 bytes
        size = (width * bits + 31) // 32 * 4 * abs(height)
    if offset + size > len(data):
        raise cut_off("BMP", data)
    if compression == _MASKS and bits == 32:
        *colours, alpha = struct.unpack_from("<4I", data, 54)
        if header < 56:  # the masks are after the header, where OpenCV doesn't read them
            alpha = 0
            if colours != [0xFF0000, 0xFF00, 0xFF]:
                raise ImageDecodeError("BMP with unusual colour masks: convert it to PNG")
    spare = data[max(offset + size, stated) :] if compression in (_PLAIN, _MASKS) else b""
    if spare not in _PADDING:
        check_spare("BMP", spare)
    # By default OpenCV makes the colours after a 12-byte header grey. And if there are masks, but
    # none for alpha, OpenCV takes the padding of a pixel for alpha.
    colour = header == 12 or (compression == _MASKS and not alpha)
    return Checked(data, (width, abs(height)), cv2.IMREAD_COLOR if colour else AS_STORED)
