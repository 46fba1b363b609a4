"""Grey PNGs that are stored as RGBA: one channel is decoded for all."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from captcha_rt import Solver
from captcha_rt.image import decode_image, open_image
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Channel, Denoise, Grey, Resize, Rgb, Scale, Step

Pixels = NDArray[np.uint8]

RNG = np.random.default_rng(16)
FILTERS = {"none": 0, "left": 1, "above": 2, "mean": 3, "Paeth": 4}


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(pixels: Pixels, filters: list[int], left_over: bytes = b"") -> bytes:
    """A PNG of RGBA whose lines have these filters, computed as the standard defines them."""
    x = pixels.astype(int)
    padded = np.pad(x, ((1, 0), (1, 0), (0, 0)))
    left, above, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    near = left + above - corner
    to_left, to_above, to_corner = abs(near - left), abs(near - above), abs(near - corner)
    paeth = np.where(
        (to_left <= to_above) & (to_left <= to_corner),
        left,
        np.where(to_above <= to_corner, above, corner),
    )
    predicted = (0 * x, left, above, (left + above) // 2, paeth)
    lines = b"".join(
        bytes([f]) + ((x[y] - predicted[f][y]) % 256).astype(np.uint8).tobytes()
        for y, f in enumerate(filters)
    )
    height, width, _ = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    data = zlib.compress(lines) + left_over
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + chunks


def grey_rgba(height: int = 23, width: int = 31) -> Pixels:
    """Noise with some even squares, opaque."""
    grey = RNG.integers(0, 256, (height, width, 1), np.uint8)
    grey[height // 3 : height // 2, width // 4 :] = 200
    return np.concatenate([grey, grey, grey, np.full_like(grey, 255)], axis=2)


@pytest.mark.parametrize("name", [*FILTERS, "all of them"])
@pytest.mark.parametrize("size", [(23, 31), (1, 1), (1, 9), (9, 1)])
def test_grey_is_decoded_once(name: str, size: tuple[int, int]) -> None:
    """With each filter the picture is RGBA, or grey for those who can take that."""
    pixels = grey_rgba(*size)
    filters = [FILTERS.get(name, y % 5) for y in range(len(pixels))]
    file = png(pixels, filters, left_over=b"more")
    np.testing.assert_array_equal(decode_image(file), pixels)
    np.testing.assert_array_equal(open_image(file, plain=True).pixels, pixels[:, :, :1])


@pytest.mark.parametrize("name", [*FILTERS, "all of them"])
@pytest.mark.parametrize("channel", range(4))
@pytest.mark.parametrize("place", [(0, 0), (0, 5), (7, 0), (7, 5), (-1, -1)])
def test_one_other_value_makes_a_picture_no_grey_one(
    name: str, channel: int, place: tuple[int, int]
) -> None:
    """One value that is off by one, of a colour or of alpha, and all four channels come."""
    pixels = grey_rgba()
    pixels[(*place, channel)] ^= 1
    file = png(pixels, [FILTERS.get(name, y % 5) for y in range(len(pixels))])
    np.testing.assert_array_equal(open_image(file, plain=True).pixels, pixels)


@pytest.mark.parametrize("step", [Grey(), Grey(over_white=True), Rgb(), Denoise()])
def test_a_recipe_that_takes_grey_makes_the_same_of_it(step: Step) -> None:
    """All 256 levels as one channel become what they become as opaque RGBA."""
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    rgba = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGBA)
    assert Recipe((step,)).takes_grey
    np.testing.assert_array_equal(step(grey), step(rgba))


@pytest.mark.parametrize("steps", [(), (Channel(3), Scale()), (Scale(),), (Resize(8, 8), Scale())])
def test_other_recipes_get_all_channels(steps: tuple[Step, ...]) -> None:
    """A recipe that looks at alpha, or keeps the number of channels, doesn't take grey."""
    assert not Recipe(steps).takes_grey


def test_the_answer_is_the_same_in_both_forms() -> None:
    """A file of grey as RGBA is read like the array of its pixels."""
    pixels = grey_rgba(48, 160)
    file = png(pixels, [y % 5 for y in range(48)])
    solver = Solver(device="cpu")
    assert solver.open(file).pixels.shape == (48, 160, 1)
    assert solver.solve(file) == solver.solve(pixels)
