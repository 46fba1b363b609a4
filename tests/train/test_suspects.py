"""`captcha-rt suspects`: labels that trained networks contradict."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

from drawn import write_digits

from captcha_rt_train.data.sources import read_dataset
from captcha_rt_train.presets import load_preset
from captcha_rt_train.training.choosing import TRUNK
from captcha_rt_train.training.suspects import cut_folds


def test_wrong_labels_are_suspects(command, captcha_data: Path, tmp_path: Path) -> None:
    """Among 300 real pictures, those with changed labels are found, and few others."""
    pictures, run = tmp_path / "pictures", tmp_path / "run"
    pictures.mkdir()
    changed = {}
    for number, path in enumerate(sorted((captcha_data / "metu").glob("*.jpg"))[:300]):
        label = path.stem.partition("-")[2]
        name = f"{number}-{label}.jpg"
        if number % 100 == 42:
            wrong = str(9 - int(label[0])) + label[1:]
            name = f"{number}-{wrong}.jpg"
            changed[name] = (wrong, label)
        shutil.copy(path, pictures / name)
    options = ("--preset", "glyph", "--folds", "2", "--epochs", "25", "--labels", "stem-last")
    search = ("suspects", pictures, "-o", run, *options)
    found = command(*search)
    assert found.returncode == 0, found.stderr
    listed = {line.partition(":")[0] for line in found.stdout.splitlines()}
    assert set(changed) <= listed
    assert len(listed) < 30
    with (run / "suspects.csv").open(newline="") as file:
        rows = {row["picture"]: (row["label"], row["shown"]) for row in csv.DictReader(file)}
    assert rows.keys() == listed
    assert {name: rows[name] for name in changed} == changed
    again = json.loads(command(*search, "--json").stdout)  # nothing is trained again
    assert {suspect["picture"] for suspect in again} == listed


def test_suspects_need_no_option(command, tmp_path: Path) -> None:
    """Without a preset, two wrong labels among sixty are found; the networks lie beside it."""
    folder = tmp_path / "mine"
    labels = write_digits(folder, 60, seed=7)
    wrong = {f"{labels[n]}.png": str(9999 - int(labels[n])).zfill(4) for n in (20, 41)}
    lines = [f"{label}.png,{wrong.get(f'{label}.png', label)}" for label in labels]
    (folder / "labels.csv").write_text("file,label\n" + "\n".join(lines), "utf-8")
    result = command("suspects", folder, "--folds", "2", "--epochs", "2", "--json")
    assert result.returncode == 0, result.stderr
    found = {suspect["picture"]: suspect["shown"] for suspect in json.loads(result.stdout)}
    assert set(wrong) <= set(found)
    assert len(found) <= 4
    said = re.search(r"the networks read (\d+) of 60 pictures as they are labelled", result.stderr)
    assert said
    assert 30 <= int(said[1]) <= 60 - len(found)
    assert (tmp_path / "mine-suspects" / "suspects.csv").exists()


def test_networks_that_read_nothing_judge_nothing(command, tmp_path: Path) -> None:
    """No suspects among eight pictures are no sign of right labels."""
    write_digits(tmp_path / "few", 8, seed=3)
    wrong = tmp_path / "few" / "labels.csv"
    names = sorted(path.name for path in (tmp_path / "few").glob("*.png"))
    wrong.write_text(
        "file,label\n" + "".join(f"{n},{i:04}\n" for i, n in enumerate(names)), "utf-8"
    )
    result = command("suspects", tmp_path / "few", "--folds", "2", "--epochs", "1")
    assert result.returncode == 0, result.stderr
    assert "of 8 pictures as they are labelled: too few to find most wrong labels" in result.stderr


def test_copies_of_a_picture_are_in_one_fold(tmp_path: Path) -> None:
    """A network that has learned one copy says nothing about the other's label."""
    folder = tmp_path / "mine"
    labels = write_digits(folder, 8, seed=2)
    for n in (0, 3):
        shutil.copy(folder / f"{labels[n]}.png", folder / f"{labels[n + 1]}x.png")
    samples = read_dataset(folder, load_preset(TRUNK).recipe).samples
    folds = cut_folds(samples, 3)
    assert sorted(s.name for fold in folds for s in fold) == [s.name for s in samples]
    where = {s.label: number for number, fold in enumerate(folds) for s in fold}
    assert where[labels[0]] == where[f"{labels[1]}x"]
    assert where[labels[3]] == where[f"{labels[4]}x"]
    assert max(map(len, folds)) - min(map(len, folds)) <= 2
    copies = [replace(samples[0], name=str(n)) for n in range(3)]
    assert list(map(len, cut_folds(copies, 2))) == [3, 0]


def test_there_must_be_pictures(command, tmp_path: Path) -> None:
    """One line that says what is missing."""
    result = command("suspects", tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
