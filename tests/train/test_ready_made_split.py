"""A split that others have made, folded case, and composed characters."""

import json
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest

from captcha_rt.errors import CaptchaRTError
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Grey, Resize, Scale
from captcha_rt_train.data.samples import Dataset, split
from captcha_rt_train.data.sources import read_dataset
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.generators.kaptcha import write_samples

RECIPE = Recipe((Grey(over_white=True), Resize(48, 160), Scale()))


def draw(folder: Path, *names: str) -> Path:
    """Writes tiny pictures of these names, each with a content of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for level, name in enumerate(names):
        picture = np.full((8, 24), level, np.uint8)
        (folder / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    return folder


def parts(dataset: Dataset, test: float = 0.0) -> dict[str, list[str]]:
    """The labels of each part of the split."""
    found = split(dataset, validation=0.1, test=test, seed=0)
    return {part: [sample.label for sample in samples] for part, samples in found.items()}


@pytest.mark.parametrize("name", ["val", "valid", "holdout"])
def test_a_folder_validates(tmp_path: Path, name: str) -> None:
    """With `--validation FOLDER`, its pictures validate, and all others are for training."""
    train = draw(tmp_path / "train", "ab.png", "cd.png", "ef.png")
    held_back = draw(tmp_path / name, "1.png", "2.png")
    (held_back / "labels.csv").write_text("file,label\n1.png,gh\n2.png,ij\n")
    dataset = read_dataset(train, RECIPE, validation=str(held_back))
    assert parts(dataset) == {
        "test": [],
        "validation": ["gh", "ij"],
        "training": ["ab", "cd", "ef"],
    }
    assert dataset.charset.characters == "abcdefghij"
    assert dataset.form == "stem"
    assert dataset.labels.splitlines() == [
        "labels: from the file names; 3 pictures",
        "validation: labels: from labels.csv, columns file and label; 2 pictures",
    ]
    tested = parts(dataset, test=0.4)
    assert (len(tested["test"]), tested["validation"]) == (1, ["gh", "ij"])


def test_a_form_of_names_counts_for_both_folders(tmp_path: Path) -> None:
    """`--labels stem-last` reads the names in the folder that validates, too."""
    train = draw(tmp_path / "train", "12345-67890.png", "12346-67891.png")
    draw(tmp_path / "val", "12347-67892.png")
    dataset = read_dataset(train, RECIPE, labels="stem-last", validation=str(tmp_path / "val"))
    assert parts(dataset)["validation"] == ["67892"]


@pytest.mark.parametrize("labels", ["auto", "train.txt", "stem", "all.csv"])
def test_a_label_file_validates(tmp_path: Path, labels: str) -> None:
    """With `--validation FILE`, the pictures in it are not for training, whatever labels them."""
    folder = draw(tmp_path / "set", "ab.png", "cd.png", "ef.png", "gh.png")
    (folder / "val.txt").write_text("cd.png\tcd\ngh.png\tgh\n")
    if labels in ("auto", "train.txt"):
        (folder / "train.txt").write_text("ab.png\tab\nef.png\tef\n")
    if labels == "all.csv":
        rows = "ab.png,ab\ncd.png,cd\nef.png,ef\ngh.png,gh\n"
        (folder / "all.csv").write_text(f"file,label\n{rows}")
    for validation in ("val.txt", str(folder / "val.txt")):
        dataset = read_dataset(folder, RECIPE, labels=labels, validation=validation)
        assert parts(dataset) == {"test": [], "validation": ["cd", "gh"], "training": ["ab", "ef"]}
        assert not [name for name, _ in dataset.skipped if not name.startswith("validation/")]


def test_a_toml_file_takes_a_folder_that_validates(tmp_path: Path) -> None:
    """All pictures of its sources are for training then; a table may also validate as a whole."""
    draw(tmp_path / "a", "ab.png", "cd.png")
    draw(tmp_path / "b", "ef.png", "gh.png")
    file = tmp_path / "sources.toml"
    file.write_text('[a]\nfolder = "a"\n')
    dataset = read_dataset(file, RECIPE, validation=str(tmp_path / "b"))
    assert parts(dataset) == {"test": [], "validation": ["ef", "gh"], "training": ["ab", "cd"]}
    file.write_text('[a]\nfolder = "a"\nvalidation = 0\n[b]\nfolder = "b"\nvalidation = 1\n')
    assert parts(read_dataset(file, RECIPE))["validation"] == ["ef", "gh"]
    file.write_text('[b]\nfolder = "b"\nvalidation = 1\n')
    with pytest.raises(TrainingError, match="no picture is left for training"):
        parts(read_dataset(file, RECIPE))


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ("none", "--validation none: neither a fraction, nor another folder"),
        ("set", "--validation set: neither a fraction, nor another folder, nor a label file"),
        ("stem", "--validation stem: neither a fraction"),
        ("re:(", "no regular expression"),
        ("empty", "--validation empty: no picture files"),
        ("bad.csv", "--validation bad.csv: .*0 of 1 rows fit"),
    ],
)
def test_what_can_not_validate_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, validation: str, message: str
) -> None:
    """The message names what was given."""
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "set", "ab.png", "cd.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "set" / "bad.csv").write_text("file,label\n9.png,x\n")
    with pytest.raises(CaptchaRTError, match=message):
        read_dataset(Path("set"), RECIPE, validation=validation)


def test_case_is_folded(tmp_path: Path) -> None:
    """Labels of all sources and the charset become small letters, and the hint at them goes."""
    folder = draw(tmp_path / "set", "aCd.png", "AcD.png", "xx.png")
    dataset = read_dataset(folder, RECIPE)
    assert dataset.charset.characters == "ACDacdx"
    assert "--fold-case" in dataset.notes[0]
    for characters in (None, "acdx", "ACDacdx"):
        dataset = read_dataset(folder, RECIPE, fold_case=True, characters=characters)
        assert [sample.label for sample in dataset.samples] == ["acd", "acd", "xx"]
        assert dataset.charset.characters == "acdx"
        assert (dataset.notes, dataset.skipped) == ((), ())


def test_the_charset_is_composed(tmp_path: Path) -> None:
    """Characters that a Mac has decomposed, in names or in `--charset`, are single classes."""
    decomposed = unicodedata.normalize("NFD", "가나다é")
    folder = draw(tmp_path / "set", f"{decomposed}.png", f"{decomposed[:2]}.png")
    for characters in (None, decomposed):
        dataset = read_dataset(folder, RECIPE, characters=characters)
        assert sorted(dataset.charset.characters) == sorted("가나다é")
        assert dataset.skipped == ()


def test_corrections_fit_names_of_a_mac(tmp_path: Path) -> None:
    """A file of corrections from Excel, with a byte order mark and composed names."""
    folder = draw(tmp_path / "set", unicodedata.normalize("NFD", "é1.png"), "a2.png")
    (tmp_path / "right.csv").write_text(
        "data,picture,label,shown\nset,é1.png,é1,é7\n", encoding="utf-8-sig"
    )
    file = tmp_path / "sources.toml"
    file.write_text(f'[set]\nfolder = "{folder}"\ncorrections = "right.csv"\n')
    assert sorted(s.label for s in read_dataset(file, RECIPE).samples) == ["a2", "é7"]


def test_dataset_shows_what_was_noticed(command, tmp_path: Path) -> None:
    """Remarks are lines on stderr, and a field of the JSON."""
    draw(tmp_path, "aCd.png", "AcD.png", "._aCd.png")
    result = command("dataset", tmp_path)
    passed_over, hint = result.stderr.splitlines()
    assert passed_over == "passed over: 1 hidden file"
    assert "--fold-case" in hint
    values = json.loads(command("dataset", tmp_path, "--json").stdout)
    assert values["notes"] == [passed_over, hint]
    assert command("dataset", tmp_path, "--quiet").stderr == ""


def test_train_takes_a_ready_made_split(command, tmp_path: Path) -> None:
    """`--validation FILE` and `--fold-case` are in the model's facts, and the split is as given."""
    folder = tmp_path / "set"
    write_samples(folder, 24, seed=1)
    names = sorted(path.name for path in folder.iterdir())
    (folder / "val.csv").write_text(
        "file,label\n" + "".join(f"{name},{name[:5].upper()}\n" for name in names[:4])
    )
    options = ("--preset", "crnn", "--epochs", "1", "--validation", "val.csv", "--fold-case")
    result = command("train", folder, "-o", tmp_path / "run", *options)
    assert result.returncode in (0, 1), result.stderr  # 1: in an epoch it has learned nothing
    assert "skipped" not in result.stderr  # what the list leaves out is trained on
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    training = manifest["training"]
    assert training["pictures"] == {"test": 0, "validation": 4, "training": 20}
    assert (training["validated_on"], training["fold_case"]) == ("val.csv", True)
    assert set(manifest["accuracy"]) == {"validation"}
    rows = (tmp_path / "run" / "pictures.csv").read_text()
    assert all(f"{name},{name[:5]},validation" in rows for name in names[:4])
    again = command("train", folder, "-o", tmp_path / "run", *options[:4], "--resume")
    assert again.returncode == 2
