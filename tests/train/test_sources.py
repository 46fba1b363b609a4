"""Sources: several folders and generators in one TOML file."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from captcha_rt.recipe import Recipe
from captcha_rt.steps import Grey, Resize, Scale
from captcha_rt_train.data.corrections import read_corrections
from captcha_rt_train.data.sources import find_sources, read_dataset
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.generators import GENERATORS, foreign
from captcha_rt_train.generators.kaptcha import write_samples

RECIPE = Recipe((Grey(over_white=True), Resize(48, 160), Scale()))


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TOML file that names a folder beside it, a folder by a variable, and two generators."""
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
    file = tmp_path / "sources.toml"
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


def test_several_sources_are_one_data_set(sources: Path) -> None:
    """All sources' samples have one charset and one shape, and the names of their sources."""
    dataset = read_dataset(sources, RECIPE)
    assert [sample.source for sample in dataset.samples] == (
        ["words"] * 6 + ["digits"] * 4 + ["drawn"] * 3 + ["other"] * 2
    )
    assert (
        {sample.tensor.shape for sample in dataset.samples}
        == {dataset.tensor_shape}
        == {(48, 160, 1)}
    )
    digits = {i.name: i.label for i in dataset.samples if i.source == "digits"}
    assert digits["digits/01.png"] == "01"
    assert digits["digits/02.png"] == "99"  # corrected; the row of `words` is not for this source
    assert digits["digits/03.png"] == "03"
    assert set("0123456789") <= set(dataset.charset.characters)
    assert dataset.settings["words"].test == 0.5
    assert (dataset.settings["drawn"].test, dataset.settings["drawn"].epoch) == (0, 7)
    drawn = [sample for sample in dataset.samples if sample.path is None]
    assert [len(sample.label) for sample in drawn] == [6, 6, 6, 0, 0]


def test_generators_draw_by_the_seed(sources: Path) -> None:
    """The same seed draws the same pictures; another seed draws others."""
    tensors = [
        np.stack(
            [i.tensor for i in read_dataset(sources, RECIPE, seed=seed).samples if i.path is None]
        )
        for seed in (1, 1, 2)
    ]
    assert (tensors[0] == tensors[1]).all()
    assert not (tensors[0] == tensors[2]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no source"),
        ("[a]\n", r"\[a\] needs either a folder or a generator"),
        ('[a]\nfolder = "x"\ngenerator = "kaptcha"', r"\[a\] needs either a folder or a generator"),
        ('a = "x"', r"\[a\] needs either a folder or a generator"),
        ('[a]\nfolder = "x"\npictures = 3', r"\[a\] has no setting pictures"),
        ('[a]\ngenerator = "magic"', "no generator 'magic'; there are: kaptcha"),
        ('[a]\ngenerator = "kaptcha"', r"\[a\] needs a number of pictures above 0"),
        (
            '[a]\ngenerator = "kaptcha"\npictures = "3"',
            r"\[a\] needs a number of pictures above 0",
        ),
        ("[a", "can't read the sources in .*sources.toml"),
        ('[a]\nfolder = "words"\ncorrections = "none.csv"', "can't read the corrections in"),
    ],
)
def test_a_file_that_is_not_valid_is_refused(sources: Path, text: str, message: str) -> None:
    """The message names the file or the table, and says what is wrong."""
    sources.write_text(text)
    with pytest.raises(TrainingError, match=message):
        read_dataset(sources, RECIPE)


def test_sources_of_different_shapes_are_refused(sources: Path) -> None:
    """Without a step that resizes, a network can't take both; the message names the shapes."""
    with pytest.raises(TrainingError, match=r"words \(50, 200, 1\), digits \(40, 90, 1\)"):
        read_dataset(sources, Recipe((Grey(over_white=True), Scale())))


def test_the_command_dataset_takes_the_same_file(command, sources: Path) -> None:
    """`dataset` describes the pictures of all folders, and names the generators, which it skips."""
    result = command("dataset", sources)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "pictures: 10"
    assert "words: the file names; digits: the file names; drawn: 3 drawn by simplec" in lines[1]
    assert lines[2] == "sizes: 200 x 50 (6), 90 x 40 (4)"


def test_the_command_dataset_takes_generators_alone(command, tmp_path: Path) -> None:
    """A file without folders has no pictures to describe, which is no error."""
    file = tmp_path / "sources.toml"
    file.write_text('[drawn]\ngenerator = "kaptcha"\npictures = 3\n')
    result = command("dataset", file)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == "pictures: 0"


def test_corrections_need_their_columns(tmp_path: Path) -> None:
    """A file with other columns is refused instead of being read as one without corrections."""
    (tmp_path / "list.csv").write_text("picture,shown\na.png,b\n")
    with pytest.raises(TrainingError, match="can't read the corrections"):
        read_corrections(tmp_path / "list.csv", "words")


def test_a_correction_is_for_one_picture(tmp_path: Path) -> None:
    """Of pictures with one name, it is for that with the path, or with the wrong label."""
    labels = {"a/0.png": "12", "b/0.png": "78", "a/1.png": "34", "b/1.png": "34"}
    for name in labels:
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "set" / name), np.zeros((20, 40), np.uint8))
    rows = "".join(f"{name},{label}\n" for name, label in labels.items())
    (tmp_path / "set" / "labels.csv").write_text(f"file,label\n{rows}")
    (tmp_path / "right.csv").write_text(
        "data,picture,label,shown\nx,0.png,12,72\nx,b/1.png,34,35\nx,1.png,34,36\nx,2.png,1,2\n"
    )
    (tmp_path / "set.toml").write_text('[x]\nfolder = "set"\ncorrections = "right.csv"\n')
    [source] = find_sources(tmp_path / "set.toml")
    found = source.read_labels()
    assert source.folder is not None
    read = {path.relative_to(source.folder).as_posix(): label for path, label in found.items}
    assert read == labels | {"a/0.png": "72", "b/1.png": "35"}
    assert found.notes[0] == (
        "2 of 4 corrections in right.csv fit no picture, or several: 1.png, labelled 34, first"
    )


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_generators_draw_what_any_recipe_takes(name: str) -> None:
    """Any recipe takes the pictures; the same seed draws the same picture and label."""
    for seed in range(20):
        label, picture = GENERATORS[name](np.random.default_rng(seed))
        assert picture.dtype == np.uint8
        assert picture.shape[2] in (1, 3, 4)
        again, same = GENERATORS[name](np.random.default_rng(seed))
        assert (again, same.tolist()) == (label, picture.tolist())
        assert (label == "") == (name == "foreign")


def test_foreign_pictures_are_of_many_sizes_and_kinds() -> None:
    """There are empty and full pages, dark and light ones, and hardly two of the same size."""
    pictures = [foreign.draw(np.random.default_rng(seed)) for seed in range(200)]
    deviations = np.array([picture.std() for picture in pictures])
    means = np.array([picture.mean() for picture in pictures])
    assert len({picture.shape for picture in pictures}) > 150
    assert (deviations < 1).any()
    assert (deviations > 60).any()
    assert (means < 80).any()
    assert (means > 240).any()
