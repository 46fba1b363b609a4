"""Several folders and generators in one TOML file."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from captcha_rt.recipe import Recipe
from captcha_rt.steps import Grey, Resize, Scale
from captcha_rt_train import foreign
from captcha_rt_train.corrections import read_corrections
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.kaptcha import write_samples
from captcha_rt_train.mix import GENERATORS, read_mix

RECIPE = Recipe((Grey(over_white=True), Resize(48, 160), Scale()))


@pytest.fixture
def mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a folder beside it, one that a variable leads to, and two generators."""
    write_samples(tmp_path / "words", 6, seed=0)
    elsewhere = tmp_path / "elsewhere" / "digits"
    elsewhere.mkdir(parents=True)
    for number in range(4):
        picture = np.full((40, 90, 3), 255 - number, np.uint8)
        cv2.imwrite(str(elsewhere / f"0{number}.png"), picture)
    (tmp_path / "right.csv").write_text(
        "data,picture,label,shown\ndigits,02.png,02,99\nwords,03.png,03,77\n"
    )
    monkeypatch.setenv("ELSEWHERE", str(elsewhere.parent))
    file = tmp_path / "mix.toml"
    file.write_text(
        """
        [words]
        folder = "words"
        test = 0.5
        epoch = 20
        [digits]
        folder = "$ELSEWHERE/digits"
        labels = "stem"
        corrections = "right.csv"
        [drawn]
        generator = "simplecaptcha"
        pictures = 3
        epoch = 7
        [other]
        generator = "foreign"
        pictures = 2
        """
    )
    return file


def test_a_mix_is_one_data_set(mix: Path) -> None:
    """All sources' pictures with one charset and one shape, each with the name of its source."""
    dataset = read_mix(mix, RECIPE)
    assert [item.source for item in dataset.items] == (
        ["words"] * 6 + ["digits"] * 4 + ["drawn"] * 3 + ["other"] * 2
    )
    assert {item.tensor.shape for item in dataset.items} == {dataset.tensor_shape} == {(48, 160, 1)}
    digits = {i.name: i.label for i in dataset.items if i.source == "digits"}
    assert digits["digits/01.png"] == "01"
    assert digits["digits/02.png"] == "99"  # corrected; the row of `words` is not for this source
    assert digits["digits/03.png"] == "03"
    assert set("0123456789") <= set(dataset.charset.characters)
    assert dataset.shares["words"].test == 0.5
    assert (dataset.shares["drawn"].test, dataset.shares["drawn"].epoch) == (0, 7)
    drawn = [item for item in dataset.items if item.path is None]
    assert [len(item.label) for item in drawn] == [6, 6, 6, 0, 0]


def test_a_mix_is_drawn_by_its_seed(mix: Path) -> None:
    """The same seed draws the same pictures, another one others."""
    tensors = [
        np.stack([i.tensor for i in read_mix(mix, RECIPE, seed=seed).items if i.path is None])
        for seed in (1, 1, 2)
    ]
    assert (tensors[0] == tensors[1]).all()
    assert not (tensors[0] == tensors[2]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no source"),
        ("[a]\n", r"\[a\] has either a folder or a generator"),
        ('[a]\nfolder = "x"\ngenerator = "kaptcha"', r"\[a\] has either a folder or a generator"),
        ('a = "x"', r"\[a\] has either a folder or a generator"),
        ('[a]\nfolder = "x"\npictures = 3', r"\[a\] has no setting pictures"),
        ('[a]\ngenerator = "magic"', "no generator 'magic'; there are: kaptcha"),
        ('[a]\ngenerator = "kaptcha"', r"\[a\] has a number of pictures above 0"),
        ("[a", "can't read the sources in .*mix.toml"),
        ('[a]\nfolder = "words"\ncorrections = "none.csv"', "can't read the corrections in"),
    ],
)
def test_a_file_that_is_no_mix_is_refused(mix: Path, text: str, message: str) -> None:
    """The message says where and what."""
    mix.write_text(text)
    with pytest.raises(TrainingError, match=message):
        read_mix(mix, RECIPE)


def test_corrections_need_their_columns(tmp_path: Path) -> None:
    """A file with other columns is refused, and not read as one without corrections."""
    (tmp_path / "list.csv").write_text("picture,shown\na.png,b\n")
    with pytest.raises(TrainingError, match="can't read the corrections"):
        read_corrections(tmp_path / "list.csv", "words")


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_generators_draw_grey_or_rgba(name: str) -> None:
    """What any recipe takes; the same for the same seed."""
    for seed in range(20):
        label, picture = GENERATORS[name](np.random.default_rng(seed))
        assert picture.dtype == np.uint8
        assert picture.shape[2] in (1, 4)
        again, same = GENERATORS[name](np.random.default_rng(seed))
        assert (again, same.tolist()) == (label, picture.tolist())
        assert (label == "") == (name == "foreign")


def test_foreign_pictures_are_of_many_sizes_and_kinds() -> None:
    """Empty pages and full ones, dark and light ones, hardly two of a size."""
    pictures = [foreign.draw(np.random.default_rng(seed)) for seed in range(200)]
    deviations = np.array([picture.std() for picture in pictures])
    means = np.array([picture.mean() for picture in pictures])
    assert len({picture.shape for picture in pictures}) > 150
    assert (deviations < 1).any()
    assert (deviations > 60).any()
    assert (means < 80).any()
    assert (means > 240).any()
