import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from captcha_rt import Recipe, RecipeError
from captcha_rt.steps import Denoise, Scale, Threshold
from captcha_rt.steps.curve import RemoveCurve, fit_parabola

ROWS, COLUMNS = np.indices((48, 140))


def parabola(left: float, middle: float, right: float) -> NDArray[np.float64]:
    """The parabola through three heights, in each of 140 columns, by Lagrange's formula."""
    x = np.arange(140) / 139
    at_left, at_middle, at_right = (2 * x - 1) * (x - 1), 4 * x * (1 - x), x * (2 * x - 1)
    return np.asarray(left * at_left + middle * at_middle + right * at_right)


def text() -> NDArray[np.uint8]:
    """White strokes of a text's thickness on black, `(48, 140, 3)`."""
    strokes = ((COLUMNS + ROWS // 4) % 16 < 6) & (ROWS > 6) & (ROWS < 42)
    strokes &= (COLUMNS > 15) & (COLUMNS < 125)
    return np.repeat(strokes[:, :, None] * np.uint8(255), 3, axis=2)


def crossed(
    picture: NDArray[np.uint8], middle: NDArray[np.float64], thickness: int
) -> NDArray[np.uint8]:
    """Inverts a band around a curve in a picture, as in THSRC's captchas."""
    first = np.rint(middle - thickness / 2)
    band = (first <= ROWS) & (first + thickness > ROWS)
    return np.where(band[:, :, None], 255 - picture, picture)


@settings(deadline=None, max_examples=40)  # scikit-learn's import takes seconds
@given(
    arrays(np.bool_, (30, 40), elements=st.booleans(), fill=st.nothing()).filter(
        lambda mask: np.unique(np.nonzero(mask)[1]).size > 2
    )
)
def test_the_fit_is_scikit_learns(mask: NDArray[np.bool_]) -> None:
    """The curve equals the one that document 000 fits with scikit-learn, to 1e-6 relative."""
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LinearRegression
    from sklearn.preprocessing import PolynomialFeatures

    rows, columns = np.nonzero(mask)
    powers = PolynomialFeatures(degree=2)
    line = LinearRegression().fit(powers.fit_transform(columns[:, None]), 30 - rows)
    theirs = 30 - line.predict(powers.fit_transform(np.arange(40)[:, None]))
    ours = fit_parabola(rows, columns, 40)
    assert ours is not None
    assert np.abs(ours - theirs).max() <= 1e-6 * max(1, np.abs(theirs).max())


def test_a_fit_through_exact_points_is_exact() -> None:
    """The rows 5, 2, 1, 2, 5 in columns 0 to 4 lie on one parabola."""
    curve = fit_parabola(np.asarray([5, 2, 1, 2]), np.arange(4), 6)
    assert curve is not None
    assert curve.round(9).tolist() == [5, 2, 1, 2, 5, 10]


@pytest.mark.parametrize("columns", [[], [3], [3, 3, 3], [0, 5, 5]])
def test_fewer_than_three_columns_have_no_parabola(columns: list[int]) -> None:
    """Through two points go many parabolas; none is chosen."""
    rows = np.arange(len(columns))
    assert fit_parabola(rows, np.asarray(columns, np.intp), 6) is None


@pytest.mark.parametrize("thickness", [4, 5, 6])
@pytest.mark.parametrize("ends", [(30, 14, 10), (16, 6.5, 5), (22, 10, 8)])
def test_the_curve_is_found_and_the_text_is_whole_again(
    ends: tuple[float, float, float], thickness: int
) -> None:
    """Nearly all pixels that the curve inverted are right again, and hardly any other changes."""
    middle = parabola(*ends)
    picture = crossed(text(), middle, thickness)
    found = RemoveCurve().find(picture)
    assert found is not None
    assert found[1] == thickness
    assert np.abs(found[0] - middle).mean() < 0.35
    inverted = (picture != text())[:, :, 0]
    wrong = (RemoveCurve()(picture) != text())[:, :, 0]
    assert wrong[inverted].mean() < 0.06
    assert wrong[~inverted].mean() < 0.005


def test_a_curve_alone_is_removed_altogether() -> None:
    """On empty paper at most 14 of 700 pixels stay, and no hole in the curve becomes a speck."""
    holes = np.isin(COLUMNS, range(3, 140, 7)) & (ROWS % 5 == 2)
    picture = crossed(np.zeros((48, 140, 3), np.uint8), parabola(25, 11, 8), 5)
    picture[holes] = 0
    cleaned = RemoveCurve()(picture)
    assert np.count_nonzero(cleaned[:, :, 0]) <= 14
    assert not cleaned[holes].any()


@pytest.mark.parametrize("picture", [np.zeros((48, 140, 3)), text(), np.full((48, 140, 1), 255)])
def test_a_picture_without_a_curve_passes_unchanged(picture: NDArray[np.uint8]) -> None:
    """Empty paper, text alone and white paper stay as they are."""
    picture = picture.astype(np.uint8)
    assert RemoveCurve()(picture).tolist() == picture.tolist()
    assert RemoveCurve().show(picture)[:, :, 0].tolist() == picture[:, :, 0].tolist()


@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3])).flatmap(
        lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 255]))
    )
)
def test_no_picture_crashes(picture: NDArray[np.uint8]) -> None:
    """Whatever its size and pixels, a picture keeps its shape and stays black and white."""
    cleaned = RemoveCurve()(picture)
    assert cleaned.shape == picture.shape
    assert set(np.unique(cleaned).tolist()) <= {0, 255}
    assert RemoveCurve().show(picture).shape == (*picture.shape[:2], 3)


def test_show_tints_the_band_and_leaves_the_rest() -> None:
    """The band over the curve is red, and nothing else is."""
    middle = parabola(22, 10, 8)
    picture = crossed(text(), middle, 5)
    shown = RemoveCurve().show(picture)
    red = shown[:, :, 0].astype(int) - shown[:, :, 1] > 100
    assert np.abs(ROWS[red] + 0.5 - middle[COLUMNS[red]]).max() <= 3.5
    assert np.abs(np.count_nonzero(red) - 5 * 140) <= 70
    assert (shown[~red] == picture[~red]).all()


def test_a_scaled_picture_is_refused() -> None:
    """The step must come before `scale`, after which the levels mean something else."""
    recipe = Recipe((Scale(), RemoveCurve()))
    with pytest.raises(RecipeError, match="before the step scale"):
        recipe.apply(np.zeros((48, 140, 3), np.uint8))


def test_real_curves_are_found_where_they_are(captcha_data) -> None:
    """In THSRC's pictures the band enters between rows 14 and 32 and leaves above row 14."""
    import cv2

    paths = sorted((captcha_data / "thsrc" / "images").glob("*.jpg"))[::450]
    for path in paths:
        picture = Threshold()(Denoise()(np.asarray(cv2.imread(str(path)))))
        found = RemoveCurve().find(picture)
        assert found is not None, path.name
        curve, thickness = found
        assert 14 < curve[0] < 32, path.name
        assert 4 < curve[-1] < 14, path.name
        assert 4 <= thickness <= 6, path.name
    assert len(paths) == 20
