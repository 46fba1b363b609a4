"""Training reads animations as the model will."""

from pathlib import Path

import numpy as np
import pytest

from captcha_rt.recipe import Recipe
from captcha_rt_train.cli.dataset import _lines
from captcha_rt_train.data.description import describe
from captcha_rt_train.data.samples import read_samples

PIL = pytest.importorskip("PIL.Image")


def test_frames_in_training(tmp_path: Path) -> None:
    """Samples are blended by the recipe's first step, and `dataset` counts the animations."""
    first, second = np.full((2, 20, 30, 3), 255, np.uint8)
    first[:, 5], second[:, 9] = 0, 0
    images = [PIL.fromarray(frame) for frame in (first, second)]
    images[0].save(tmp_path / "ab.png", save_all=True, append_images=images[1:])
    images[0].save(tmp_path / "cd.png")
    recipe = Recipe.from_json([{"step": "frames", "pick": "darkest"}, {"step": "scale"}])
    rows = [(tmp_path / "ab.png", "ab"), (tmp_path / "cd.png", "cd")]
    (animated, still), skipped = read_samples(rows, tmp_path, recipe)
    assert not skipped
    np.testing.assert_array_equal(animated.picture, np.minimum(first, second))
    np.testing.assert_array_equal(still.picture, first)
    description = describe(tmp_path)
    assert description.animations == 1
    assert any(line.startswith("animations: 1;") for line in _lines(description, bars=False))
