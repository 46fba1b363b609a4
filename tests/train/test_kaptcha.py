from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from captcha_rt.errors import CharsetError
from captcha_rt_train.generators.kaptcha import (
    CHARSET,
    MAX_LENGTH,
    draw,
    random_text,
    write_samples,
)

BLACK = 100  # well below the background's 192


def rng(seed: int = 0) -> np.random.Generator:
    """The generator that a test draws with."""
    return np.random.default_rng(seed)


def word_end(picture: NDArray[np.uint8]) -> int:
    """The last column with more ink than a curve's, which is at most five pixels high there."""
    return int(np.flatnonzero((picture < BLACK).sum(axis=0) > 5)[-1])


def read(path: Path) -> NDArray[np.uint8]:
    """A PNG file's pixels as they are."""
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), np.uint8)


def test_draws_a_grey_picture() -> None:
    """A picture is 200 wide, 50 high, grey, and spans black to white."""
    picture = draw("n4wxy", rng())
    assert picture.shape == (50, 200)
    assert picture.dtype == np.uint8
    assert picture.min() == 0
    assert picture.max() == 255


def test_same_seed_same_picture() -> None:
    """The state of the generator decides on every pixel."""
    np.testing.assert_array_equal(draw("2345n", rng(7)), draw("2345n", rng(7)))


def test_other_seed_other_picture() -> None:
    """Another state changes curves and faces, with the text unchanged."""
    assert (draw("2345n", rng(7)) != draw("2345n", rng(8))).any()


def test_generator_moves_on() -> None:
    """Two pictures from one generator differ."""
    generator = rng()
    assert (draw("bcdef", generator) != draw("bcdef", generator)).any()


def test_background_runs_from_grey_to_white() -> None:
    """Outside of the ink the picture is the source's gradient: 192 upper left, 254 lower right."""
    picture = draw("mmmmm", rng())
    assert picture[0, 0] == 192
    assert picture[-1, -1] == 254
    assert (np.diff(picture[:, :16].astype(int), axis=1) >= 0).all()


@pytest.mark.parametrize("char", CHARSET)
def test_every_character_draws_ink(char: str) -> None:
    """Each character shows: with its neighbour in its place the picture is another one."""
    neighbour = CHARSET[(CHARSET.index(char) + 1) % len(CHARSET)]
    for seed in range(8):  # faces and curves are the generator's, not the text's
        one, other = draw(f"nn{char}", rng(seed)), draw(f"nn{neighbour}", rng(seed))
        assert (np.abs(one.astype(int) - other) > BLACK).sum() > 20


@pytest.mark.parametrize("char", CHARSET)
def test_every_character_has_two_faces(char: str) -> None:
    """A word of one character ends in several places, as its faces have their own widths."""
    assert len({word_end(draw(char * MAX_LENGTH, rng(seed))) for seed in range(12)}) > 1


def test_characters_of_a_word_stand_side_by_side() -> None:
    """Every further character brings its ink further to the right, and five wide ones still fit."""
    ends = [word_end(draw("w" * n, rng(3))) for n in range(1, MAX_LENGTH + 1)]
    assert ends == sorted(set(ends))
    assert 120 < ends[-1] < 198


def test_random_text_has_the_source_s_frequencies() -> None:
    """Texts are five characters of the charset, and n is twice as frequent as any other."""
    generator = rng(1)
    texts = [random_text(generator) for _ in range(4000)]
    counts = Counter("".join(texts))
    assert {len(text) for text in texts} == {MAX_LENGTH}
    assert set(counts) == set(CHARSET)
    # 20,000 draws: 2,000 n and 1,000 of each other; 150 is more than three deviations.
    assert abs(counts.pop("n") - 2000) < 150
    assert all(abs(count - 1000) < 150 for count in counts.values())


def test_random_text_of_another_length() -> None:
    """A shorter text can be asked for."""
    assert len(random_text(rng(), 3)) == 3


@pytest.mark.parametrize("length", [-1, 0, MAX_LENGTH + 1])
def test_random_text_refuses_what_cannot_be_drawn(length: int) -> None:
    """A length that no picture has is an error."""
    with pytest.raises(CharsetError, match=f"1 to {MAX_LENGTH}"):
        random_text(rng(), length)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "0 characters"), ("n" * (MAX_LENGTH + 1), "6 characters"), ("na2oN", "'Nao'")],
)
def test_refuses_what_cannot_be_drawn(text: str, message: str) -> None:
    """An empty, a too long and a foreign text are refused with what is wrong."""
    with pytest.raises(CharsetError, match=message):
        draw(text, rng())


def test_samples_are_labelled_by_their_stems(tmp_path: Path) -> None:
    """The asked-for number of PNG files appears, in a new folder, each named by its own label."""
    folder = tmp_path / "new" / "samples"
    paths = write_samples(folder, 12, 5)
    assert sorted(paths) == sorted(folder.iterdir())
    assert len({path.stem for path in paths}) == 12
    for path in paths:
        assert path.suffix == ".png"
        assert set(path.stem) <= set(CHARSET)
        assert read(path).shape == (50, 200)


def test_samples_show_their_labels(tmp_path: Path) -> None:
    """A file's picture is the one drawn for its stem, with the seed's generator."""
    generator = rng(5)
    for path in write_samples(tmp_path, 3, 5):
        label = random_text(generator)
        assert path.stem == label
        np.testing.assert_array_equal(read(path), draw(label, generator))


def test_samples_depend_on_the_seed_only(tmp_path: Path) -> None:
    """The same seed writes the same bytes, whatever the count; another seed writes others."""
    few, many = write_samples(tmp_path / "few", 3, 5), write_samples(tmp_path / "many", 6, 5)
    others = write_samples(tmp_path / "others", 3, 6)
    assert [path.read_bytes() for path in few] == [path.read_bytes() for path in many[:3]]
    assert {path.name for path in few}.isdisjoint(path.name for path in others)


def test_samples_leave_other_files_alone(tmp_path: Path) -> None:
    """What else lies in the folder stays as it was."""
    (tmp_path / "notes.txt").write_text("mine")
    write_samples(tmp_path, 2, 0)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 3


def test_no_samples(tmp_path: Path) -> None:
    """A count of zero makes the folder and writes nothing."""
    assert write_samples(tmp_path / "empty", 0, 0) == []
    assert list((tmp_path / "empty").iterdir()) == []
