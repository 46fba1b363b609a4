"""Reads pictures that come as text: data URLs and base64."""

import re
from base64 import b64decode
from binascii import Error
from typing import Final

from captcha_rt.formats import picture_format

_BEGINNINGS: Final = (b"iVBORw0KGgo", b"/9j/", b"_9j_", b"R0lGOD", b"UklGR", b"Qk")
"""The formats' first bytes in base64."""

_DATA_URL: Final = re.compile(rb"data:([^,]{0,200}),", re.IGNORECASE)
_SHORTEST: Final = 40  # characters: the smallest pictures are longer, few names are
_SHOWN: Final = 80


def picture_in(text: bytes) -> bytes | None:
    """Decodes a text that plainly is a picture.

    Args:
        text: A data URL in base64 or percent-encoding, or base64: standard or URL-safe, with or
            without padding and line breaks, in quotes or not.

    Returns:
        The bytes of the picture's file; None if the text is something else.
    """
    text = text.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n\f\"'")
    if len(text) < _SHORTEST:
        return None
    url = _DATA_URL.match(text)
    if url:
        found = _percent_decoded(text[url.end() :])
        if url[1].lower().endswith(b";base64"):
            found = _base64_decoded(found)
    elif _percent_decoded(text[:_SHORTEST]).startswith(_BEGINNINGS):
        found = _base64_decoded(_percent_decoded(text))
    else:
        return None
    return found if picture_format(found) else None


def _percent_decoded(text: bytes) -> bytes:
    if b"%" not in text:
        return text
    from urllib.parse import unquote_to_bytes  # 1 ms to import; few texts need it

    return unquote_to_bytes(text)


def _base64_decoded(text: bytes) -> bytes:
    """The bytes; empty if the text is no base64."""
    letters = b"".join(text.split()).replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")
    try:
        return b64decode(letters + b"=" * (-len(letters) % 4), validate=True)
    except Error:
        return b""


def shortened(text: str) -> str:
    """A text that fits on a line of a terminal: a picture in base64 has thousands of letters."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}… ({len(text)} characters)"
