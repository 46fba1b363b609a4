"""`captcha-rt suspects`: labels that trained networks contradict."""

import csv
import json
import shutil
from pathlib import Path


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


def test_suspects_need_a_folder_to_train_in(command, tmp_path: Path) -> None:
    """One line that says which option is missing."""
    result = command("suspects", tmp_path)
    assert result.returncode == 2
    assert "--out" in result.stderr
    assert "Traceback" not in result.stderr
