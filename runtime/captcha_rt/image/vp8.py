"""Finds the coded data in a lossy WebP, whose exact end tells damaged files from whole ones.

The format is VP8's (RFC 6386): a header, a first partition with the modes of all blocks of 16 x 16
pixels, and 1, 2, 4 or 8 partitions with their coefficients, whose rows of blocks take turns. Each
partition is written by an arithmetic coder of its own.
"""

from itertools import accumulate, pairwise
from typing import Final

_FRAME_HEADER: Final = 10  # bytes: the frame tag, a start code, width and height
_SIDE: Final = 0x3FFF  # bits of a side; two more say how to scale it


def coefficient_partitions(body: bytes) -> list[tuple[int, int]]:
    """Finds the partitions with coefficients.

    Args:
        body: The body of a `VP8 ` chunk.

    Returns:
        The start and the end of each partition that a row of blocks is in. None of the others is
        read, nor are they checked here.
    """
    first_end = _FRAME_HEADER + (int.from_bytes(body[:3], "little") >> 5)
    rows = ((int.from_bytes(body[8:10], "little") & _SIDE) + 15) // 16
    others = (
        _partitions(body[_FRAME_HEADER:first_end]) - 1
    )  # the last one has no size, but the rest
    sizes = [body[first_end + 3 * i : first_end + 3 * i + 3] for i in range(others)]
    start = first_end + 3 * others
    edges = accumulate((int.from_bytes(size, "little") for size in sizes), initial=start)
    return list(pairwise([*edges, len(body)]))[:rows]


def below(body: bytes, start: int, end: int) -> bytes | None:
    """Takes the smallest step down from what a partition's bytes are as one number.

    At its end an encoder writes the lower end of the interval that its coder has come to: all that
    follows the last symbol is zero. So in a good file the number below belongs to other symbols. In
    a damaged one the number lies somewhere in the interval, of 500 numbers or more, in which the
    decoder has ended, and the one below belongs to the same symbols.

    Returns:
        The body with the number below; None if the number is zero, as of a picture in one colour.
    """
    number = int.from_bytes(body[start:end], "big")
    if not number:
        return None
    return body[:start] + (number - 1).to_bytes(end - start, "big") + body[end:]


def in_whole_blocks(body: bytes) -> bytes:
    """The same data with a size that shows the blocks at the right and at the bottom as a whole."""
    sides = (int.from_bytes(body[place : place + 2], "little") for place in (6, 8))
    whole = ((side & ~_SIDE) | min(-(-(side & _SIDE) // 16) * 16, _SIDE) for side in sides)
    return body[:6] + b"".join(side.to_bytes(2, "little") for side in whole) + body[10:]


class _Literals:
    """Reads numbers whose bits are 0 or 1 with the same probability, as all of the header's."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 2
        self._value = int.from_bytes(data[:2].ljust(2, b"\0"), "big")
        self._range = 255
        self._shifts = 0

    def read(self, bits: int) -> int:
        """Reads a number of some bits."""
        number = 0
        for _ in range(bits):
            split = 1 + (self._range - 1 >> 1)
            bit = self._value >= split << 8
            self._value -= bit * split << 8
            self._range = self._range - split if bit else split
            number = number << 1 | bit
            while self._range < 128:
                self._range <<= 1
                self._value <<= 1
                self._shifts += 1
                if self._shifts % 8 == 0:
                    self._value |= self._data[self._place] if self._place < len(self._data) else 0
                    self._place += 1
        return number

    def skip_optional(self, count: int, bits: int) -> None:
        """Reads numbers that are only there if a bit in front of each says so."""
        for _ in range(count):
            if self.read(1):
                self.read(bits)


def _partitions(first: bytes) -> int:
    """The number of partitions with coefficients, from the start of the first partition."""
    header = _Literals(first)
    header.read(2)  # colour space, clamping
    if header.read(1):  # segments
        new_map, new_values = header.read(1), header.read(1)
        if new_values:
            header.read(1)
            header.skip_optional(4, 8)  # quantizers with signs
            header.skip_optional(4, 7)  # strengths of the loop filter with signs
        if new_map:
            header.skip_optional(3, 8)
    header.read(10)  # the loop filter: kind, strength, sharpness
    if header.read(1) and header.read(1):  # its changes
        header.skip_optional(8, 7)
    return 1 << header.read(2)
