import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from captcha_rt_train.generators.digits import CHARSET, LENGTH
from captcha_rt_train.generators.simplecaptcha import HEIGHT, WIDTH, draw

BLACK, GREY = 255, 191  # of alpha


def rng(seed: int = 0) -> np.random.Generator:
    """The generator that a test draws with."""
    return np.random.default_rng(seed)


def word_end(picture: NDArray[np.uint8]) -> int:
    """The last column with more ink than the curve's, which is at most six pixels high there."""
    return int(np.flatnonzero((picture[:, :-1, 3] > 100).sum(axis=0) > 6 + 2)[-1])  # 2: the border


@pytest.fixture(scope="module")
def insides(captcha_data: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Alpha within the border, `(880, 38, 118)`: real pictures, and drawn ones of their labels."""
    with (captcha_data / "court" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    folder, generator = captcha_data / "court" / "images", rng()
    paths = (folder / row["filename"] for row in rows)
    real = [np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), np.uint8) for path in paths]
    drawn = [draw(row["label"], generator) for row in rows]
    return np.stack(real)[:, 1:-1, 1:-1, 3], np.stack(drawn)[:, 1:-1, 1:-1, 3]


def test_draws_in_the_alpha_channel_only() -> None:
    """A picture is 120 wide, 40 high, RGBA and black; what shows is its alpha."""
    picture = draw("012345", rng())
    assert picture.shape == (HEIGHT, WIDTH, 4) == (40, 120, 4)
    assert picture.dtype == np.uint8
    assert not picture[:, :, :3].any()
    assert {0, GREY, BLACK} <= set(np.unique(picture[:, :, 3]).tolist())


def test_has_a_border_of_one_pixel() -> None:
    """The outermost pixels are opaque, and those within are not."""
    alpha = draw("012345", rng())[:, :, 3]
    assert (alpha[[0, -1]] == BLACK).all()
    assert (alpha[:, [0, -1]] == BLACK).all()
    assert not alpha[1:-1, 1:6].any()
    assert not alpha[1:-1, 111:-1].any()


def test_same_seed_same_picture() -> None:
    """The state of the generator decides on every pixel."""
    np.testing.assert_array_equal(draw("678901", rng(7)), draw("678901", rng(7)))


def test_generator_moves_on() -> None:
    """Two pictures from one generator differ in digits and curve."""
    generator = rng()
    assert (draw("678901", generator) != draw("678901", generator)).any()


@pytest.mark.parametrize("place", range(LENGTH))
@pytest.mark.parametrize("char", CHARSET)
def test_every_digit_shows_in_every_place(char: str, place: int) -> None:
    """With another digit in its place the picture is another one."""
    other = CHARSET[CHARSET.index(char) - 1]
    for seed in range(8):  # faces, greys and the curve are the generator's, not the text's
        pictures = [
            draw("0" * place + c + "0" * (LENGTH - 1 - place), rng(seed)) for c in (char, other)
        ]
        assert (np.abs(np.subtract(*np.int16(pictures))) > 100).sum() > 20


@pytest.mark.parametrize("char", CHARSET)
def test_every_digit_has_several_faces(char: str) -> None:
    """A word of one digit ends in several places, as its faces have their own widths."""
    assert len({word_end(draw(char * LENGTH, rng(seed))) for seed in range(12)}) > 1


# The tolerances lie between what the faces and chance make (4, 10, 3 grey levels; 0.008) and what
# mistakes make: a start off by one pixel 24, a face left out 35 (columns); a baseline off by one 73
# (rows); a line thinner or thicker by a pixel 13 (curve); another grey 0.05.


def test_columns_have_the_real_ones_ink(insides: tuple[NDArray[np.uint8], ...]) -> None:
    """Digits and curve stand where the real ones stand: mean alpha is 0 to 85, by column."""
    real, drawn = (alpha.mean(axis=(0, 1)) for alpha in insides)
    np.testing.assert_allclose(drawn, real, atol=8)


def test_rows_have_the_real_ones_ink(insides: tuple[NDArray[np.uint8], ...]) -> None:
    """Every digit fills the rows that the real ones fill: mean alpha is 2 to 106, by row."""
    real, drawn = (alpha.mean(axis=(0, 2)) for alpha in insides)
    np.testing.assert_allclose(drawn, real, atol=15)


def test_curve_has_the_real_one_s_ink(insides: tuple[NDArray[np.uint8], ...]) -> None:
    """Above and below the digits there is the curve alone: it begins, bends and ends alike."""
    real, drawn = (alpha[:, [0, 1, 2, *range(30, 38)]].mean(axis=(0, 1)) for alpha in insides)
    np.testing.assert_allclose(drawn, real, atol=4.5)


def test_greys_are_the_real_ones(insides: tuple[NDArray[np.uint8], ...]) -> None:
    """Dark grey, black and ink altogether have the real ones' shares, 5, 10 and 21 percent."""
    real, drawn = (
        [(alpha == GREY).mean(), (alpha == BLACK).mean(), alpha.mean() / BLACK] for alpha in insides
    )
    np.testing.assert_allclose(drawn, real, atol=0.015)
