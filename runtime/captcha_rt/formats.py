"""The formats of picture files, by their first bytes and by the suffixes of their names."""

import struct
from typing import Final

SUFFIXES: Final = frozenset(
    {
        *(".png", ".apng"),
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp"),
        *(".bmp", ".dib"),
        ".gif",
        ".webp",
    }
)
"""The suffixes of picture files, in lower case."""

HEAD_BYTES: Final = 18
"""The number of a file's first bytes that `picture_format` looks at."""

_MAGIC: Final = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
}
_BMP_HEADERS: Final = frozenset(struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124))


def picture_format(data: bytes) -> str | None:
    """Finds the format of a picture file.

    Args:
        data: The file, or at least its first `HEAD_BYTES` bytes.

    Returns:
        PNG, JPEG, GIF, WebP or BMP; None if the data are none of these.
    """
    for magic, name in _MAGIC.items():
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:2] == b"BM" and data[14:18] in _BMP_HEADERS:  # two letters alone may begin a text
        return "BMP"
    return None
