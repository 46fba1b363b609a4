import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from captcha_rt import Recipe, RecipeError
from captcha_rt.steps import (
    STEPS,
    Channel,
    Crop,
    Denoise,
    Fit,
    Median,
    Morphology,
    Rgb,
    Scale,
    Threshold,
)

pictures = st.tuples(st.integers(3, 12), st.integers(3, 12), st.sampled_from([1, 3])).flatmap(
    lambda shape: arrays(np.uint8, shape)
)


def test_channel_takes_the_alpha_of_a_transparent_picture() -> None:
    """Document 001's digits are only in the fourth channel."""
    picture = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert Channel()(picture).tolist() == picture[:, :, 3:].tolist()
    assert Channel(1)(picture)[1, 2].tolist() == [21]


def test_a_picture_without_the_channel_is_refused() -> None:
    """A JPEG given to a model that reads transparent PNGs is an error that says so."""
    with pytest.raises(RecipeError, match=r"no alpha channel \(3 channels\).*transparent PNGs"):
        Channel()(np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(RecipeError, match="no channel 1, it has 1"):
        Channel(1)(np.zeros((2, 2, 1), np.uint8))


def test_crop_cuts_document_003s_rectangle_by_default() -> None:
    """Columns 25 to 149 and rows 0 to 49 of a 200 x 50 picture stay."""
    columns = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (50, 200, 1))
    cut = Crop()(columns)
    assert cut.shape == (50, 125, 1)
    assert cut[0, [0, -1], 0].tolist() == [25, 149]
    picture = np.arange(42, dtype=np.uint8).reshape(6, 7, 1)
    assert Crop(x=4, y=3, width=2, height=1)(picture).ravel().tolist() == [25, 26]


@pytest.mark.parametrize("shape", [(50, 149, 1), (49, 200, 1)])
def test_crop_refuses_a_picture_that_it_reaches_beyond(shape: tuple[int, ...]) -> None:
    """One column or one row too few is an error that names both sizes."""
    with pytest.raises(RecipeError, match=f"{shape[1]} x {shape[0]} pixels.*to 150 x 50"):
        Crop()(np.zeros(shape, np.uint8))


def test_denoise_smooths_and_keeps_the_order_of_the_channels() -> None:
    """Red stays red, though OpenCV's channels are in the order BGR."""
    noise = np.random.default_rng(1).integers(-20, 21, (24, 24, 3))
    noisy = np.clip(np.asarray([200, 100, 50]) + noise, 0, 255).astype(np.uint8)
    denoised = Denoise()(noisy)
    assert denoised.std(axis=(0, 1)).max() < noisy.std(axis=(0, 1)).min() / 2
    assert np.abs(denoised.mean(axis=(0, 1)) - [200, 100, 50]).max() < 10


def test_denoise_weighs_luminance_and_colour_apart() -> None:
    """Without strength on luminance a grey picture stays as it is, within rounding."""
    noisy = np.random.default_rng(2).integers(90, 160, (16, 16, 1), dtype=np.uint8)
    kept = Denoise(strength=1)(noisy)
    assert np.abs(kept.astype(int) - noisy).max() <= 2
    assert np.abs(Denoise()(noisy).astype(int) - noisy).max() > 20


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_denoise_gives_three_channels_and_drops_alpha(channels: int) -> None:
    """Grey becomes three equal channels; alpha is ignored."""
    picture = np.full((12, 12, channels), 180, np.uint8)
    picture[:, :, 3:] = 0
    denoised = Denoise()(picture)
    assert denoised.shape == (12, 12, 3)
    assert np.abs(denoised.astype(int) - 180).max() <= 2


def test_threshold_makes_dark_white() -> None:
    """Levels up to 127 are dark, as in document 000, and become white, or black on request."""
    levels = np.asarray([[[0], [127], [128], [255]]], np.uint8)
    assert Threshold()(levels).ravel().tolist() == [255, 255, 0, 0]
    assert Threshold(inverted=False)(levels).ravel().tolist() == [0, 0, 255, 255]
    assert Threshold(level=0)(levels).ravel().tolist() == [255, 0, 0, 0]


def test_dilate_grows_white_and_erode_shrinks_it() -> None:
    """Each iteration grows a white pixel by the square's size, or shrinks it back."""
    dot = np.zeros((9, 9, 1), np.uint8)
    dot[4, 4] = 255
    grown = Morphology("dilate", size=3, iterations=2)(dot)
    assert np.argwhere(grown[:, :, 0]).min(axis=0).tolist() == [2, 2]
    assert np.count_nonzero(grown) == 25
    assert Morphology("erode", size=3, iterations=2)(grown).tolist() == dot.tolist()
    assert np.count_nonzero(Morphology("erode", size=3)(grown)) == 9


def test_median_removes_a_speck_and_closes_a_gap() -> None:
    """A single white pixel is removed, and a single black pixel within white is filled."""
    picture = np.zeros((12, 12, 3), np.uint8)
    picture[1, 1] = 255
    picture[5:] = 255
    picture[8, 5] = 0
    cleaned = Median()(picture)
    assert not cleaned[:4].any()
    assert cleaned[6:].all()


@given(pictures)
def test_the_number_of_channels_survives(picture: NDArray[np.uint8]) -> None:
    """OpenCV drops the axis of a single channel; these steps give it back."""
    for step in (Morphology("dilate", 2), Morphology("erode", 2), Median(), Threshold()):
        assert step(picture).shape == picture.shape
        assert step(picture).dtype == np.uint8


@given(pictures)
def test_erosion_is_dilation_of_the_negative(picture: NDArray[np.uint8]) -> None:
    """Erosion equals the negative of the negative's dilation, also at the borders."""
    mirrored = 255 - Morphology("dilate", 3, 2)(255 - picture)
    assert Morphology("erode", 3, 2)(picture).tolist() == mirrored.tolist()


def test_the_steps_defaults_are_the_documents_numbers() -> None:
    """A step without settings has the settings of the documents."""
    names = ("channel", "crop", "denoise", "threshold", "remove_curve")
    written = Recipe.from_json([{"step": name} for name in names]).to_json()
    assert written == [
        {"step": "channel", "index": 3},
        {"step": "crop", "x": 25, "y": 0, "width": 125, "height": 50},
        {"step": "denoise", "strength": 30, "colour_strength": 30, "template": 7, "search": 21},
        {"step": "threshold", "level": 127, "inverted": True},
        {"step": "remove_curve", "top": 15, "edge": 2, "thickness": 5},
    ]


@pytest.mark.parametrize(
    "step",
    [
        {"step": "channel", "index": 4},
        {"step": "channel", "index": True},
        {"step": "crop", "x": -1},
        {"step": "crop", "width": 0},
        {"step": "denoise", "template": 8},
        {"step": "denoise", "search": 0},
        {"step": "denoise", "strength": 30.5},
        {"step": "threshold", "level": 256},
        {"step": "threshold", "inverted": 1},
        {"step": "dilate", "size": 0},
        {"step": "erode", "iterations": 0},
        {"step": "median", "size": 4},
        {"step": "remove_curve", "thickness": 1},
        {"step": "remove_curve", "top": "15"},
    ],
)
def test_settings_out_of_range_are_refused(step: dict[str, object]) -> None:
    """A setting out of range is refused when the recipe is built, by its name."""
    name, setting = step["step"], list(step)[1]
    with pytest.raises(RecipeError, match=f"recipe step '{name}': {setting} "):
        Recipe.from_json([step])


def test_every_step_knows_its_name() -> None:
    """The name of a step is its key in the registry, and what its JSON says."""
    for name, build in STEPS.items():
        step = build(4, 8) if name in ("resize", "fit") else build()
        assert step.name == name
        written = Recipe((step,)).to_json()
        assert written[0]["step"] == name
        assert Recipe.from_json(written) == Recipe((step,))


def test_dilate_and_erode_are_one_step_with_two_names() -> None:
    """The name holds the operation, so that it is no setting in JSON."""
    written = [
        {"step": "dilate", "size": 3, "iterations": 2},
        {"step": "erode", "size": 2, "iterations": 1},
    ]
    recipe = Recipe.from_json(written)
    assert recipe.steps == (Morphology("dilate", 3, 2), Morphology("erode", 2))
    assert recipe.to_json() == written
    with pytest.raises(RecipeError, match=r"recipe step 'dilate': .*operation"):
        Recipe.from_json([{"step": "dilate", "operation": "erode"}])
    with pytest.raises(ValueError, match="operation is one of"):
        Morphology("open")


def test_denoise_is_opencvs_on_bgr() -> None:
    """The result equals that of document 000's own call on the picture in BGR."""
    rgb = np.random.default_rng(3).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    theirs = cv2.fastNlMeansDenoisingColored(rgb[:, :, ::-1].copy(), None, 30, 30, 7, 21)
    assert (Denoise()(rgb) == theirs[:, :, ::-1]).all()


@pytest.mark.parametrize("strength", [1, 30, 200])
def test_denoise_of_a_grey_picture_is_opencvs(strength: int) -> None:
    """Without the half on colour each of the 256 levels, and noise of them, become the same."""
    random = np.random.default_rng(strength)
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pictures = [levels, *(np.full((9, 9), level, np.uint8) for level in range(0, 256, 5))]
    pictures += [random.integers(low, 256, (20, 30), dtype=np.uint8) for low in (0, 100, 250)]
    for grey in pictures:
        bgr = np.repeat(grey[:, :, None], 3, axis=2)
        theirs = cv2.fastNlMeansDenoisingColored(bgr, None, strength, 30, 7, 21)
        denoised = Denoise(strength)(grey[:, :, None])
        assert (denoised == theirs[:, :, ::-1]).all()
        assert (Denoise(strength)(bgr) == denoised).all()


def test_rgb_lays_what_is_transparent_over_white() -> None:
    """Grey becomes three equal channels, colours stay, and alpha is blended with white."""
    grey = np.array([[[7], [200]]], np.uint8)
    assert (Rgb()(grey) == np.repeat(grey, 3, axis=2)).all()
    colours = np.array([[[1, 2, 3], [250, 0, 9]]], np.uint8)
    assert (Rgb()(colours) == colours).all()
    alpha = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [55, 155, 255, 51]]], np.uint8)
    assert Rgb()(alpha)[0].tolist() == [[10, 20, 30], [255, 255, 255], [215, 235, 255]]


@pytest.mark.parametrize(
    ("height", "width", "columns", "rows"),
    [(24, 48, (48, 144), (0, 48)), (12, 96, (0, 192), (12, 36)), (96, 192, (48, 144), (0, 48))],
)
def test_fit_keeps_the_aspect(
    height: int, width: int, columns: tuple[int, int], rows: tuple[int, int]
) -> None:
    """The picture fills the frame in one direction, stands in the middle, and has paper around."""
    picture = np.full((height, width, 3), (9, 99, 199), np.uint8)
    picture[: height // 2] = 0
    picture[: height // 4] = (9, 99, 199)
    framed = Fit(48, 192)(picture)
    assert framed.shape == (48, 192, 3)
    outside = np.ones((48, 192), bool)
    outside[slice(*rows), slice(*columns)] = False
    assert (framed[outside] == (9, 99, 199)).all()
    inside = framed[slice(*rows), slice(*columns)]
    eighth = len(inside) // 8
    assert (inside[:eighth] == (9, 99, 199)).all()
    assert (inside[3 * eighth + 1 : 4 * eighth - 1] == 0).all()


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 300), st.sampled_from((1, 3))))
)
def test_fit_takes_any_picture(picture: NDArray[np.uint8]) -> None:
    """The frame has its size, `place` says where the picture is, and the rest is the median."""
    framed = Fit(20, 80)(picture)
    assert framed.shape == (20, 80, picture.shape[2])
    scale, left, top = Fit(20, 80).place(picture.shape)
    assert 0 <= left < 80
    assert 0 <= top < 20
    assert scale * picture.shape[0] <= 20 + 1e-9
    assert scale * picture.shape[1] <= 80 + 1e-9
    outside = np.ones((20, 80), bool)
    height, width = (max(1, round(scale * side)) for side in picture.shape[:2])
    outside[top : top + height, left : left + width] = False
    rows = picture[:: max(1, len(picture) // 16)]
    assert (framed[outside] == np.median(rows, axis=(0, 1)).astype(np.uint8)).all()


def test_fit_wants_bytes() -> None:
    """It comes before the scaling; the message says so."""
    with pytest.raises(RecipeError, match="put the step 'scale' after it"):
        Recipe((Scale(), Fit(8, 8))).apply(np.zeros((4, 4, 1), np.uint8))
