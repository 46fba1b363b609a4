from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from captcha_rt_train.generators.digits import CHARSET, LENGTH
from captcha_rt_train.generators.metu import HEIGHT, WIDTH, draw

Pictures = tuple[NDArray[np.uint8], NDArray[np.uint8]]

TEXT = np.s_[:, :, 30:118]  # columns that digits reach
END = np.s_[:, :, 128:]  # whole blocks of JPEG's without any


def rng(seed: int = 0) -> np.random.Generator:
    """The generator that a test draws with."""
    return np.random.default_rng(seed)


def salted(pictures: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of the pictures have dots, whose black a grid lacks."""
    return np.asarray((pictures < 40).mean(axis=(1, 2)) > 0.05)


@pytest.fixture(scope="module")
def pictures(captcha_data: Path) -> Pictures:
    """2,000 real pictures, `(2000, 50, 150)`, and drawn ones of their labels."""
    paths = sorted((captcha_data / "metu").glob("*.jpg"))[::3]
    generator = rng()
    real = [np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8) for path in paths]
    drawn = [draw(path.stem.split("-")[1], generator)[:, :, 0] for path in paths]
    return np.stack(real), np.stack(drawn)


def test_draws_a_grey_picture() -> None:
    """A picture is 150 wide, 50 high and has one channel."""
    picture = draw("012345", rng())
    assert picture.shape == (HEIGHT, WIDTH, 1) == (50, 150, 1)
    assert picture.dtype == np.uint8


def test_same_seed_same_picture() -> None:
    """The state of the generator decides on every pixel."""
    for seed in range(4):  # of both styles
        np.testing.assert_array_equal(draw("678901", rng(seed)), draw("678901", rng(seed)))


def test_generator_moves_on() -> None:
    """Two pictures from one generator differ."""
    generator = rng()
    assert (draw("678901", generator) != draw("678901", generator)).any()


def test_both_styles_and_all_grids_occur() -> None:
    """Half of the pictures have dots; the others have one of three grids."""
    generator = rng()
    drawn = np.stack([draw("012345", generator)[:, :, 0] for _ in range(200)])
    dots = salted(drawn)
    assert 70 < dots.sum() < 130
    assert len(np.unique(drawn[END][~dots], axis=0)) == 3


@pytest.mark.parametrize("place", range(LENGTH))
@pytest.mark.parametrize("char", CHARSET)
def test_every_digit_shows_in_every_place(char: str, place: int) -> None:
    """With another digit in its place the picture is another one."""
    other = CHARSET[CHARSET.index(char) - 1]
    for seed in range(8):  # size, height and noise are the generator's, not the text's
        drawn = [
            draw("0" * place + c + "0" * (LENGTH - 1 - place), rng(seed)) for c in (char, other)
        ]
        assert (np.abs(np.subtract(*np.int16(drawn))) > 100).sum() > 10


def test_a_1_moves_towards_a_1() -> None:
    """What follows 11 stands two columns further left than what follows 01."""
    profiles = []
    for text in ("110000", "010000"):
        drawn = np.stack([draw(text, rng(seed))[:, :, 0] for seed in range(200)])
        profiles.append(drawn[salted(drawn)].mean(axis=(0, 1)))  # grids don't average out
    moved, still = profiles
    off = [np.abs(moved[56:112] - still[56 + by : 112 + by]).mean() for by in range(5)]
    assert np.argmin(off) == 2


def test_styles_are_as_frequent_as_real_ones(pictures: Pictures) -> None:
    """About half of the pictures have dots."""
    real, drawn = (salted(some).mean() for some in pictures)
    assert abs(real - drawn) < 0.05


def test_grids_are_the_real_ones(pictures: Pictures) -> None:
    """Beside the digits a real grid and its JPEG noise are a drawn one, byte by byte."""
    real, drawn = ({end.tobytes() for end in some[END][~salted(some)]} for some in pictures)
    assert drawn == real
    assert len(real) == 3


def test_dots_are_as_many_as_real_ones(pictures: Pictures) -> None:
    """Black is 13.9 % of the ground: 15 % of dots, some of which fall on others."""
    real, drawn = ((some[END][salted(some)] < 128).mean() for some in pictures)
    assert abs(real - drawn) < 0.002  # dots that never meet: 0.011


# The tolerances lie between what the strokes and chance make (2.7, 3.1 grey levels; 0.005) and what
# mistakes make: places off by one pixel 15, one size only 22 (columns); text off by one row 12,
# heights all as likely 7 (rows); grid's text of the grid's level 0.03, grey text under dots 0.05,
# JPEG of quality 90 0.018, a bolder pen 0.02 (levels).


@pytest.mark.parametrize("dots", [False, True])
def test_columns_have_the_real_ones_ink(pictures: Pictures, dots: bool) -> None:
    """Digits stand where the real ones stand: mean levels by column, of each style."""
    real, drawn = (some[TEXT][salted(some) == dots].mean(axis=(0, 1)) for some in pictures)
    np.testing.assert_allclose(drawn, real, atol=4)


@pytest.mark.parametrize("dots", [False, True])
def test_rows_have_the_real_ones_ink(pictures: Pictures, dots: bool) -> None:
    """Text stands as high as real text, each height as often: mean levels by row."""
    real, drawn = (some[TEXT][salted(some) == dots].mean(axis=(0, 2)) for some in pictures)
    np.testing.assert_allclose(drawn, real, atol=5)


@pytest.mark.parametrize("dots", [False, True])
def test_levels_are_as_frequent_as_real_ones(pictures: Pictures, dots: bool) -> None:
    """Ink, its edges and its specks have the real ones' levels: shares of eight, of each style."""
    chosen = (some[TEXT][salted(some) == dots] for some in pictures)
    real, drawn = (np.bincount(some.ravel() // 32, minlength=8) / some.size for some in chosen)
    np.testing.assert_allclose(drawn, real, atol=0.008)
