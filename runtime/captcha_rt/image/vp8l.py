"""Finds out how a lossless WebP stores its pixels: the format is VP8L (RFC 9649)."""

from typing import Final

_PREDICTED, _SUBTRACTED_GREEN = 0, 2  # the types of transforms that can come first
_TRANSFORMS: Final = 40  # the first bit of the transforms, after signature, size, alpha and version


def is_predicted(body: bytes) -> bool:
    """Whether pixels are predicted from others, as all but pictures with few colours are.

    Args:
        body: The body of a `VP8L` chunk.
    """
    bits = int.from_bytes(body[:8], "little") >> _TRANSFORMS
    if bits & 1 and bits >> 1 & 3 == _SUBTRACTED_GREEN:
        bits >>= 3
    return bool(bits & 1 and bits >> 1 & 3 == _PREDICTED)
