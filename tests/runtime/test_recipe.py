import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from captcha_rt import Recipe, RecipeError
from captcha_rt.steps import Grey, Resize, Scale, Transpose

CRNN = Recipe((Grey(), Scale(), Resize(50, 200), Transpose()))

pictures = st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3, 4])).flatmap(
    lambda shape: arrays(np.uint8, shape)
)


@given(pictures)
def test_every_picture_becomes_the_networks_input(picture: NDArray[np.uint8]) -> None:
    """Whatever its size and channels, a picture becomes `(200, 50, 1)` float32 in 0..1."""
    tensor = CRNN.apply(picture)
    assert tensor.shape == (200, 50, 1)
    assert tensor.dtype == np.float32
    assert tensor.min() >= 0
    assert tensor.max() <= 1


def test_grey_is_bt601_luma_of_rgb() -> None:
    """Red, green and blue weigh 0.299, 0.587 and 0.114; alpha is ignored."""
    colours = np.asarray([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert Grey()(colours)[0, :, 0].tolist() == [76, 150, 29]
    transparent = np.dstack([colours, np.zeros((1, 3, 1), np.uint8)])
    assert Grey()(transparent)[0, :, 0].tolist() == [76, 150, 29]


def test_white_shows_through_where_a_picture_is_transparent() -> None:
    """Grey is blended with white by alpha, within half a level; opaque pictures don't change."""
    over_white = Grey(over_white=True)
    colours = np.random.default_rng(0).integers(0, 256, (40, 50, 4), np.uint8)
    grey = Grey()(colours)[:, :, 0].astype(float)
    alpha = colours[:, :, 3] / 255
    expected = alpha * grey + (1 - alpha) * 255
    np.testing.assert_allclose(over_white(colours)[:, :, 0], expected, atol=0.5 + 1e-9)
    opaque = colours.copy()
    opaque[:, :, 3] = 255
    for picture in (opaque, colours[:, :, :3], colours[:, :, :1]):
        assert (over_white(picture) == Grey()(picture)).all()


def test_scale_maps_0_and_255_to_0_and_1() -> None:
    """The ends of the range are exact."""
    assert Scale()(np.asarray([[[0], [255]]], np.uint8)).ravel().tolist() == [0.0, 1.0]


def test_resize_uses_half_pixel_centres() -> None:
    """Two pixels become four at the positions -0.25, 0.25, 0.75, 1.25 of the old grid."""
    row = np.asarray([[[0.0], [1.0]]], np.float32)
    assert Resize(1, 4)(row).ravel().tolist() == [0.0, 0.25, 0.75, 1.0]


def test_transpose_puts_the_width_first() -> None:
    """The pixel at row 1, column 2 moves to row 2, column 1."""
    picture = np.zeros((3, 4, 1), np.uint8)
    picture[1, 2] = 7
    assert Transpose()(picture).shape == (4, 3, 1)
    assert Transpose()(picture)[2, 1] == 7


def test_a_recipe_survives_json() -> None:
    """A recipe that was written to JSON is read back equal."""
    assert Recipe.from_json(CRNN.to_json()) == CRNN
    assert CRNN.to_json()[2] == {"step": "resize", "height": 50, "width": 200}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"step": "sharpen"}, "unknown recipe step 'sharpen'; known are frames, grey"),
        ({"height": 50}, "unknown recipe step None"),
        ({"step": "resize", "height": 50}, "resize.*width"),
        ({"step": "resize", "height": 0, "width": 9}, "1 to 32767 pixels, not 0"),
        ({"step": "resize", "height": "50", "width": 200}, "resize"),
        ({"step": "grey", "channel": 1}, "grey.*channel"),
        ({"step": "grey", "over_white": 1}, "over_white is true or false, not 1"),
    ],
)
def test_steps_that_do_not_exist_are_refused(step: dict[str, object], message: str) -> None:
    """An unknown step, and settings that a step doesn't take, are named."""
    with pytest.raises(RecipeError, match=message):
        Recipe.from_json([step])


def test_a_recipe_without_scale_is_refused() -> None:
    """If the result is not float32, the error names the missing step."""
    with pytest.raises(RecipeError, match='"step": "scale"'):
        Recipe((Grey(),)).apply(np.zeros((2, 2, 1), np.uint8))


def test_a_picture_that_a_step_can_not_use_is_an_error_of_ours() -> None:
    """OpenCV's exception becomes a RecipeError with the step, shape and dtype."""
    with pytest.raises(RecipeError, match=r"step 'grey' can't use a picture of shape \(2, 2, 2\)"):
        Recipe((Grey(), Scale())).apply(np.zeros((2, 2, 2), np.uint8))
