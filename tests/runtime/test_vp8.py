"""The coded data of lossy WebPs is found, and can be shown in whole blocks."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captcha_rt.image import decode_image
from captcha_rt.image.vp8 import below, coefficient_partitions, in_whole_blocks
from captcha_rt.image.webp import riff


class BoolWriter:
    """The arithmetic coder of RFC 6386, section 7.3, for bits of the same probability."""

    def __init__(self) -> None:
        """Starts with no bit."""
        self.bits = 0  # of the lower end, as one number
        self.count = 0
        self.range = 255

    def write(self, number: int, bits: int) -> None:
        """Writes a number of some bits."""
        for place in reversed(range(bits)):
            split = 1 + (self.range - 1 >> 1)
            if number >> place & 1:
                self.bits += split
                self.range -= split
            else:
                self.range = split
            while self.range < 128:
                self.range <<= 1
                self.bits <<= 1
                self.count += 1

    def data(self) -> bytes:
        """The bytes: 8 bits are ahead of the first shift."""
        padding = -self.count % 8
        return (self.bits << padding).to_bytes((self.count + padding) // 8 + 1, "big")


@given(st.data(), st.integers(0, 3), st.integers(1, 16383))
@settings(max_examples=60, deadline=None)
def test_partitions_of_a_lossy_webp(given_data: st.DataObject, log2: int, height: int) -> None:
    """They are found whatever stands in the header before their number."""
    first = BoolWriter()

    def optional(count: int, bits: int) -> None:
        for _ in range(count):
            there = given_data.draw(st.booleans())
            first.write(there, 1)
            first.write(given_data.draw(st.integers(0, 2**bits - 1)) if there else 0, bits * there)

    first.write(given_data.draw(st.integers(0, 3)), 2)
    segments, new_map, values = (given_data.draw(st.booleans()) for _ in range(3))
    first.write(segments, 1)
    if segments:
        first.write(2 * new_map + values, 2)
        if values:
            first.write(given_data.draw(st.integers(0, 1)), 1)
            optional(4, 8)
            optional(4, 7)
        if new_map:
            optional(3, 8)
    first.write(given_data.draw(st.integers(0, 1023)), 10)
    changes = given_data.draw(st.integers(0, 2))
    first.write(*[(0, 1), (2, 2), (3, 2)][changes])
    if changes == 2:
        optional(8, 7)
    first.write(log2, 2)
    start = first.data() + b"\x5a" * 4
    sizes = given_data.draw(st.lists(st.integers(0, 9), min_size=2**log2, max_size=2**log2))
    body = (len(start) << 5).to_bytes(3, "little") + b"\x9d\x01\x2a" + bytes((7, 0))
    body += height.to_bytes(2, "little") + start
    body += b"".join(size.to_bytes(3, "little") for size in sizes[:-1])
    places = [len(body) + sum(sizes[:index]) for index in range(len(sizes) + 1)]
    body += bytes(sum(sizes))
    used = min(len(sizes), -(-height // 16))
    assert coefficient_partitions(body) == [*pairwise(places)][:used]


@pytest.mark.parametrize("size", [(33, 70), (48, 64), (1, 1), (16, 17)])
def test_whole_blocks(size: tuple[int, int]) -> None:
    """A picture grows to the right and to the bottom, and is the same where it was."""
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    data = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, 80])[1].tobytes()
    body = data[20:]
    # Near the border colours are mixed with those of the next block.
    shown = decode_image(data)[: size[0] // 2 * 2 - 1, : size[1] // 2 * 2 - 1]
    grown = cv2.imdecode(np.frombuffer(riff([(b"VP8 ", in_whole_blocks(body))]), np.uint8), 1)
    assert grown.shape[:2] == tuple(-(-side // 16) * 16 for side in size)
    inside = grown[: shown.shape[0], : shown.shape[1], ::-1]
    np.testing.assert_array_equal(inside, shown)


def test_the_number_below() -> None:
    """Only a partition's own bytes change; below zero there is nothing."""
    body = b"ab\1\0\0cd"
    assert below(body, 2, 5) == b"ab\0\xff\xffcd"
    assert below(body, 3, 5) is None
    assert below(body, 5, 5) is None
