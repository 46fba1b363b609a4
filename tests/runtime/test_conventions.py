"""The steps for other programs' conventions."""

import cv2
import numpy as np
import pytest

from captcha_rt import Recipe, RecipeError
from captcha_rt.steps import Bgr, ChannelsFirst, Normalize, Rgb, Scale, Stretch

PICTURE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_bgr_is_opencvs_order(channels: int) -> None:
    """What `rgb` makes, with red and blue exchanged, as OpenCV does it."""
    picture = np.dstack([PICTURE, PICTURE])[:, :, :channels]
    expected = cv2.cvtColor(np.ascontiguousarray(Rgb()(picture)), cv2.COLOR_RGB2BGR)
    assert np.array_equal(Bgr()(picture), expected)


@pytest.mark.parametrize(
    ("low", "high", "notebook"),
    [
        (-1, 1, lambda x: x / 127.5 - 1),
        (0, 255, lambda x: x),
        (1, 0, lambda x: 1 - x / 255),
        (255, 0, lambda x: 255 - x),
    ],
)
def test_stretch_makes_the_numbers_of_notebooks(low: float, high: float, notebook) -> None:
    """The result is that of the notebook's own expression, to float32's precision."""
    made = Recipe((Scale(), Stretch(low, high))).apply(PICTURE)
    expected = notebook(PICTURE.astype(np.float64))
    assert made.dtype == np.float32
    assert np.abs(made - expected).max() <= 1e-6 * max(abs(low), abs(high))


def test_normalize_takes_a_number_or_one_for_each_channel() -> None:
    """The mean is subtracted, then the deviation divides; the picture stays as it is."""
    scaled = Scale()(PICTURE)
    kept = scaled.copy()
    assert np.array_equal(Normalize()(scaled), (scaled - np.float32(0.5)) / np.float32(0.5))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    made = Normalize(mean, std)(scaled)
    assert made.dtype == np.float32
    assert np.allclose(made, (scaled - np.array(mean)) / np.array(std), atol=1e-6)
    assert np.array_equal(scaled, kept)


def test_channels_first_is_the_last_step() -> None:
    """`(H, W, C)` becomes `(C, H, W)`, and the recipe knows the shape."""
    recipe = Recipe((Rgb(), Scale(), ChannelsFirst()))
    assert recipe.apply(PICTURE).shape == recipe.fixed_shape((5, 7, 3)) == (3, 5, 7)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"step": "stretch", "low": 1, "high": 1}], "low and high are different numbers"),
        ([{"step": "channels_first"}, {"step": "scale"}], '"channels_first" is the last step'),
        ([{"step": "stretch", "low": "a"}], "low and high are numbers, not 'a'"),
        ([{"step": "stretch", "high": float("nan")}], "low and high are numbers, not nan"),
        ([{"step": "normalize", "std": 0}], "std is above 0"),
        ([{"step": "normalize", "mean": [1, 2]}], "mean is a number, or 3 or 4 of them"),
    ],
)
def test_settings_that_are_none_are_refused(steps: list[dict[str, object]], message: str) -> None:
    """A setting out of range is refused when the recipe is built."""
    with pytest.raises(RecipeError, match=message):
        Recipe.from_json(steps)


def test_numbers_are_wanted_not_bytes() -> None:
    """Before `scale`, and with means of other channels, the message says what is missing."""
    for step in ({"step": "stretch"}, {"step": "normalize"}):
        with pytest.raises(RecipeError, match="put the step 'scale' before it"):
            Recipe.from_json([step]).apply(PICTURE)
    three = Recipe.from_json([{"step": "scale"}, {"step": "normalize", "mean": [0.1, 0.2, 0.3]}])
    with pytest.raises(RecipeError, match="mean has 3 numbers, the picture 1 channels"):
        three.apply(PICTURE[:, :, :1])
