from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from captcha_rt.errors import RecipeError, SegmentationError
from captcha_rt.image import decode_image
from captcha_rt.pictures import find_pictures
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Clip, Glyphs, Grey, RemoveArtifacts, Scale
from captcha_rt.steps.glyphs import weighted_k_means

METU = Recipe((Grey(), RemoveArtifacts(), Clip(), Glyphs(), Scale()))
PITCH = 14

greys = st.tuples(st.integers(1, 30), st.integers(1, 60), st.just(1)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 90, 154, 155, 255]))
)


def draw(text: str, *, left: int = 33) -> NDArray[np.uint8]:
    """Draws a text like METU's: `(50, 150, 1)`, digits 18 rows high and 14 columns apart."""
    picture = np.full((50, 150), 255, np.uint8)
    for k, character in enumerate(text):
        if character == " ":
            continue
        # OpenCV 4 draws other digits than 5: brought to one size, they segment alike.
        drawn = np.full((60, 60), 255, np.uint8)
        cv2.putText(drawn, character, (15, 45), cv2.FONT_HERSHEY_SIMPLEX, 1, 60, 3)
        rows, columns = np.nonzero(drawn < 155)
        ink = drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        digit = cv2.resize(ink, (6 if character == "1" else 10, 18), interpolation=cv2.INTER_AREA)
        at = left + PITCH * k + (12 - digit.shape[1]) // 2
        picture[15:33, at : at + digit.shape[1]] = digit
    return picture[:, :, None]


def pepper(picture: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Adds salt and pepper, on 12 % of the pixels each, as in METU's pictures."""
    chance = np.random.default_rng(seed).random(picture.shape)
    return np.where(chance < 0.12, 0, np.where(chance > 0.88, 255, picture)).astype(np.uint8)


def dashes(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Adds a grid of dashes, 4 pixels on and 3 off, every 8 rows and columns."""
    rows, columns = np.indices(picture.shape[:2])
    grid = ((rows % 8 == 0) & (columns % 7 < 4)) | ((columns % 8 == 0) & (rows % 7 < 4))
    return np.where(grid[:, :, None], 90, picture).astype(np.uint8)


def speckle(density: float) -> NDArray[np.uint8]:
    """Draws ink on a fraction of the pixels, so that all counts around the limits occur."""
    chance = np.random.default_rng(0).random((60, 60, 1))
    return np.where(chance < density, 100, 255).astype(np.uint8)


def bars(*lefts: int, height: int = 17, width: int = 7) -> NDArray[np.uint8]:
    """Six upright bars, from the left edge to the right one."""
    picture = np.full((height, lefts[-1] + width, 1), 255, np.uint8)
    for left in lefts:
        picture[:, left : left + width] = 0
    return picture


@given(greys)
@example(speckle(0.34))
@example(speckle(0.66))
def test_every_pixel_is_judged_by_its_neighbourhoods(picture: NDArray[np.uint8]) -> None:
    """Erasing and filling follow document 002's counts, pixel by pixel, from the old picture."""
    grey = picture[:, :, 0]
    expected = grey.copy()
    for y, x in np.ndindex(grey.shape):
        near = grey[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        far = grey[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        ink = far[far < 155]
        in_3x3, fraction_of_5x5 = (near < 155).sum(), len(ink) / 25
        if grey[y, x] < 155 and (in_3x3 <= 3 or fraction_of_5x5 <= 0.33):
            expected[y, x] = 255
        if grey[y, x] >= 155 and (in_3x3 >= 7 or fraction_of_5x5 >= 0.66):
            expected[y, x] = int(ink.mean())
    cleaned = RemoveArtifacts()(picture)
    assert cleaned.dtype == np.uint8
    assert (cleaned[:, :, 0] == expected).all()


@given(arrays(np.uint8, (12, 14, 1)))
def test_what_was_erased_and_filled_may_have_levels_of_its_own(picture: NDArray[np.uint8]) -> None:
    """The levels change neither which pixels are erased or filled, nor what later steps see."""
    plain = RemoveArtifacts()(picture)
    marked = RemoveArtifacts(erased=195, filled=90)(picture)
    erased = (picture < 155) & (plain >= 155)
    filled = (picture >= 155) & (plain < 155)
    assert (marked[erased] == 195).all()
    assert (marked[filled] == 90).all()
    assert (marked == plain)[~erased & ~filled].all()
    assert ((marked < 155) == (plain < 155)).all()


@pytest.mark.parametrize("noise", [lambda p: pepper(p, 0), dashes], ids=["pepper", "dashes"])
def test_noise_goes_and_digits_stay(noise) -> None:
    """Less than 1 % of the pixels beside the digits are ink, and over 80 % of the digits are."""
    text = draw("305816")
    cleaned = RemoveArtifacts()(noise(text))
    beside = cv2.dilate(255 - text, np.ones((5, 5)))[:, :, None] == 0
    assert (cleaned[beside] < 155).mean() < 0.01
    assert (cleaned[text < 155] < 155).mean() > 0.8


def test_clip_bounds_the_digits_with_its_margin() -> None:
    """The ink's rows and columns are cut out, with two more on each side."""
    picture = np.full((50, 150, 1), 255, np.uint8)
    picture[12:30, 31:115] = 0
    clipped = Clip()(picture)
    assert clipped.shape == (22, 88, 1)
    assert (clipped == picture[10:32, 29:117]).all()
    assert Clip(margin=20)(picture).shape == (50, 124, 1)  # rows -8 and -7, ... are not there


def test_clip_passes_over_specks() -> None:
    """Specks beside, above and below the digits don't move the bounds."""
    picture = draw("305816")
    bounds = Clip()(picture).shape
    picture[20:24, 5:7] = 0  # beside
    picture[4, 60:75] = 0  # above, as much ink in its row as a row of digits
    picture[40:48, 4:8] = 0  # below and beside, as much ink in its columns as digits
    assert Clip()(picture).shape == bounds


@given(arrays(np.int64, st.integers(1, 90), elements=st.integers(0, 25)), st.integers(2, 7))
def test_k_means_is_lloyds_algorithm(columns: NDArray[np.int64], count: int) -> None:
    """The result equals that of Lloyd's algorithm, written with plain loops."""
    weights = columns.astype(float)
    expected = [(k + 0.5) * len(weights) / count - 0.5 for k in range(count)]
    moved = True
    while moved:
        clusters: list[list[int]] = [[] for _ in expected]
        for x in range(len(weights)):
            clusters[sum((a + b) / 2 <= x for a, b in pairwise(expected))].append(x)
        old = list(expected)
        for k, cluster in enumerate(clusters):
            if mass := sum(weights[x] for x in cluster):
                expected[k] = sum(weights[x] * x for x in cluster) / mass
        moved = expected != old
    centres, borders = weighted_k_means(weights, count)
    assert np.allclose(centres, expected, rtol=0, atol=1e-9)
    assert [list(range(a, b)) for a, b in pairwise(borders.tolist())] == clusters


@pytest.mark.parametrize("text", ["305816", "111111", "714707", "000000"])
@pytest.mark.parametrize("noise", [lambda p: p, lambda p: pepper(p, 1), dashes])
def test_centres_are_the_digits_own(text: str, noise) -> None:
    """With any noise, the centres are as far apart as the digits, within 4 columns."""
    clipped = Clip()(RemoveArtifacts()(noise(draw(text))))
    assert np.abs(np.diff(Glyphs().centres(clipped)) - PITCH).max() < 4


def test_glyphs_stand_in_order() -> None:
    """The k-th glyph shows the k-th digit, and all of it."""
    text = "305826"
    glyphs = Glyphs()(Clip()(draw(text)))
    assert glyphs.shape == (6, 23, 15, 1)
    assert glyphs.dtype == np.uint8
    alone = [Clip(margin=0)(draw(character)) for character in text]
    fits = [
        [cv2.matchTemplate(glyph, digit, cv2.TM_CCOEFF_NORMED).max() for digit in alone]
        for glyph in glyphs
    ]
    assert np.argmax(fits, axis=1).tolist() == list(range(6))
    assert np.diag(fits).min() > 0.9


def test_outside_of_the_picture_glyphs_are_white() -> None:
    """A glyph that reaches beyond the picture is filled up with 255."""
    glyphs = Glyphs()(bars(0, 14, 28, 42, 56, 70))
    expected = np.full((23, 15), 255, np.uint8)
    expected[3:20, 4:11] = 0
    assert (glyphs[:, :, :, 0] == expected).all()


def test_columns_weigh_their_ink_and_the_root_of_its_extent() -> None:
    """With ink only at its ends a column weighs 2 + √17, a full one of 17 rows 17 + √17."""
    picture = bars(0, 14, 28, 42, 56, 70)
    picture[1:-1, 6] = 255
    full, ends = 17 + 17**0.5, 2 + 17**0.5
    centre = (full * (0 + 1 + 2 + 3 + 4 + 5) + ends * 6) / (full * 6 + ends)
    assert np.allclose(Glyphs().centres(picture), [centre, 17, 31, 45, 59, 73])


def test_show_draws_the_centres() -> None:
    """The drawing is the picture in RGB with a red line at each centre."""
    clipped = Clip()(draw("305816"))
    drawn = Glyphs().show(clipped)
    red = (drawn == (255, 0, 0)).all(axis=(0, 2))
    assert np.flatnonzero(red).tolist() == np.rint(Glyphs().centres(clipped)).tolist()
    assert (drawn[:, ~red] == clipped[:, ~red]).all()


def gradient() -> NDArray[np.uint8]:
    return np.tile(np.linspace(0, 255, 150).astype(np.uint8), (50, 1))[:, :, None]


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.full((50, 150, 1), 255, np.uint8), "no ink"),
        (np.zeros((50, 150, 1), np.uint8), "the ink's height is 50, wanted is at most 23"),
        (np.zeros((20, 5, 1), np.uint8), "no 6 glyphs: the picture has 5 columns"),
        (gradient(), "the ink's height is 50"),
        (draw("305"), "narrowest distance of centres is .*, wanted is at least 9.75"),
        (draw("3058"), "narrowest distance"),
        (draw("3"), "no 6 glyphs"),
        (draw("30581647"), "widest distance of centres is .*, wanted is at most 18.8"),
        (draw("305 16"), "no 6 glyphs"),
    ],
    ids=["white", "black", "narrow", "gradient", "three", "four", "one", "eight", "gap"],
)
def test_what_is_not_six_digits_is_refused(picture: NDArray[np.uint8], message: str) -> None:
    """The message says what was found and what was wanted, and at which step."""
    with pytest.raises(SegmentationError, match=message):
        METU.apply(picture)


def second_bar(*ink: slice) -> NDArray[np.uint8]:
    """Draws six bars, of which the second has ink only in the given slices."""
    picture = bars(0, 14, 28, 42, 56, 70)
    picture[:, 14:21] = 255
    picture[ink] = 0
    return picture


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (bars(0, 14, 28, 42, 56, 70, height=13), "ink's height is 13, wanted is at least 13.8"),
        (bars(0, 10, 24, 38, 52, 70), "widest by the narrowest distance is 1.8, .* at most 1.55"),
        (bars(0, 14, 28, 42, 56, 70, height=23), "mean distance by the .* 0.609, .* least 0.63"),
        (bars(0, 16, 32, 48, 64, 80), "mean distance by the .* 0.941, wanted is at most 0.9"),
        (second_bar(slice(5), slice(14, 21)), "height of a glyph's ink is 5, .* least 6.8"),
        (second_bar(slice(0, 17, 2), slice(17, 18)), "least ink of a glyph is 9, .* least 13.6"),
        (bars(0, 14, 28, 42, 56, 70, width=14), "ink at borders by that of all .* is 1, "),
    ],
)
def test_what_can_not_be_digits_is_refused(picture: NDArray[np.uint8], message: str) -> None:
    """Each measure of the ink has limits; the message names the first one that is exceeded."""
    assert Glyphs()(bars(0, 14, 28, 42, 56, 70)).shape == (6, 23, 15, 1)
    with pytest.raises(SegmentationError, match=message):
        Glyphs()(picture)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8])
def test_noise_alone_is_refused(density: float) -> None:
    """No salt-and-pepper noise, thin or dense, passes for six digits."""
    chance = np.random.default_rng(0).random((40, 50, 150, 1))
    for picture in np.where(chance < density, 0, 255).astype(np.uint8):
        with pytest.raises(SegmentationError):
            METU.apply(picture)


@given(greys)
def test_any_picture_gives_glyphs_or_says_why_not(picture: NDArray[np.uint8]) -> None:
    """No picture, however small, raises anything but our own error."""
    for step in (Glyphs(), Glyphs(count=2, height=5, width=3), Clip(), RemoveArtifacts()):
        try:
            step(picture)
        except SegmentationError:
            continue


def test_the_recipe_makes_glyphs_of_a_noisy_picture_and_survives_json() -> None:
    """RGB becomes `(6, 23, 15, 1)` float32, also with the recipe that was read from JSON."""
    picture = pepper(draw("305816"), 2).repeat(3, axis=2)
    tensor = METU.apply(picture)
    assert tensor.shape == (6, 23, 15, 1)
    assert tensor.dtype == np.float32
    again = Recipe.from_json(METU.to_json())
    assert again == METU
    assert (again.apply(picture) == tensor).all()
    assert METU.to_json()[3] == {
        "step": "glyphs",
        "count": 6,
        "height": 23,
        "width": 15,
        "ink": 155,
    }


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"step": "remove_artifacts", "ink": 300}, r"ink is a whole number in 0\.\.256, not 300"),
        (
            {"step": "remove_artifacts", "fill_5x5": 0},
            r"fill_5x5 .* 1\.\.25, not 0",
        ),
        ({"step": "clip", "margin": -1}, "margin"),
        ({"step": "glyphs", "count": 1}, r"count is a whole number in 2\.\.99, not 1"),
        ({"step": "glyphs", "width": 15.0}, "not 15.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(step: dict[str, object], message: str) -> None:
    """A wrong setting is named with its value."""
    with pytest.raises(RecipeError, match=message):
        Recipe.from_json([step])


@pytest.mark.parametrize("step", [RemoveArtifacts(), Clip(), Glyphs()])
def test_colour_is_refused(step) -> None:
    """The steps take grey pictures, and say which step makes them."""
    with pytest.raises(RecipeError, match="put the step 'grey' before it"):
        Recipe((step,)).apply(np.zeros((50, 150, 3), np.uint8))


def test_six_glyphs_are_found_in_real_pictures(captcha_data) -> None:
    """Of 1,000 METU pictures, evenly spaced, at most 2 are refused."""
    paths = find_pictures(captcha_data / "metu")
    refused = []
    for path in paths[:: len(paths) // 1000]:
        try:
            METU.apply(decode_image(path.read_bytes()))
        except SegmentationError as error:
            refused.append((path.name, str(error)))
    assert len(refused) <= 2, refused
