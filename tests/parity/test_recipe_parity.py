"""Compares the recipe of documents 003 and 004, in NumPy and OpenCV, with TensorFlow's ops."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from captcha_rt import Recipe, decode_image
from captcha_rt.steps import Grey, Resize, Scale, Transpose

tf = pytest.importorskip("tensorflow", reason="the reference needs TensorFlow")

LEVEL = 1 / 255
"""One grey level, where white is 1."""

RESIZE_TOLERANCE = 5e-5
"""A 78th of a grey level, where white is 1. OpenCV rounds source coordinates to float32. The
largest difference that was seen is 2.8e-5."""

RECIPE = Recipe((Grey(), Scale(), Resize(50, 200), Transpose()))


def reference(data: bytes) -> NDArray[np.float32]:
    """Prepares a PNG as `encode_single_sample` of documents 003 and 004 does, op by op."""
    image = tf.io.decode_png(data, channels=1)
    image = tf.image.convert_image_dtype(image, tf.float32)
    image = tf.image.resize(image, [50, 200])
    return tf.transpose(image, perm=[1, 0, 2]).numpy()


def png(picture: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


def difference(data: bytes) -> float:
    ours, theirs = RECIPE.apply(decode_image(data)), reference(data)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    return float(np.abs(ours - theirs).max())


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, (50, 200, 1)))
def test_grey_pictures_of_the_networks_size_are_equal_to_the_bit(
    picture: NDArray[np.uint8],
) -> None:
    """There is no difference if nothing has to be resized."""
    assert difference(png(picture)) == 0


sizes = st.tuples(st.integers(1, 120), st.integers(1, 400))


@settings(max_examples=100, deadline=None)
@given(sizes, st.integers(0, 2**32 - 1))
def test_resized_grey_pictures_differ_by_rounding_only(size: tuple[int, int], seed: int) -> None:
    """Noise of any size, shrunk or enlarged, differs by less than 5e-5, where white is 1."""
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 1), np.uint8)
    assert difference(png(noise)) < RESIZE_TOLERANCE


@settings(max_examples=100, deadline=None)
@given(sizes, st.sampled_from([3, 4]), st.integers(0, 2**32 - 1))
def test_colour_pictures_differ_by_one_grey_level_at_most(
    size: tuple[int, int], channels: int, seed: int
) -> None:
    """TensorFlow leaves grey to libpng, which rounds in another way; both ignore alpha."""
    noise = np.random.default_rng(seed).integers(0, 256, (*size, channels), np.uint8)
    assert difference(png(noise)) <= LEVEL + RESIZE_TOLERANCE


def test_real_pictures_are_equal_to_the_bit(captcha_data: Path) -> None:
    """The pictures of the documents' own data, RGBA files of grey pixels, don't differ at all."""
    paths = sorted((captcha_data / "captcha_v2").glob("*.png"))
    assert len(paths) > 900
    assert max(difference(path.read_bytes()) for path in paths) == 0
