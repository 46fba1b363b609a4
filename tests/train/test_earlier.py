"""The pictures of an earlier run, beside those of a folder."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from captcha_rt.recipe import Recipe
from captcha_rt.steps import Grey, Resize, Scale
from captcha_rt_export.run import Run, SampleFile
from captcha_rt_train.data.duplicates import hash_pixels, skip_duplicates
from captcha_rt_train.data.earlier import EARLIER, HELD_BACK, NEW, add_earlier
from captcha_rt_train.data.samples import Dataset
from captcha_rt_train.data.sources import read_dataset

RECIPE = Recipe((Grey(over_white=True), Resize(48, 160), Scale()))


def written(folder: Path, pictures: Mapping[str, int]) -> Path:
    """Writes pictures, each in one level of grey; their names are the labels."""
    folder.mkdir()
    for name, level in pictures.items():
        cv2.imwrite(str(folder / name), np.full((8, 24), level, np.uint8))
    return folder


@pytest.fixture
def earlier(tmp_path: Path) -> Run:
    """A run that learned from `ab` and `CD`, and held back `ef`."""
    folder = written(tmp_path / "old", {"ab.png": 1, "CD.png": 2, "ef.png": 3})
    run = Run(tmp_path / "old-run")
    parts = {"ab": "training", "CD": "training", "ef": "validation"}
    run.write_split([SampleFile(folder / f"{t}.png", t, part) for t, part in parts.items()])
    return run


def sources(dataset: Dataset) -> dict[str, str]:
    return {sample.label: sample.source for sample in dataset.samples}


def test_copies_of_old_pictures_are_not_new(tmp_path: Path, earlier: Run) -> None:
    """What was held back once stays held back under another path; the label is the folder's."""
    new = written(tmp_path / "new", {"gh.png": 4, "ab.bmp": 1, "eg.png": 3})
    dataset = add_earlier(read_dataset(new, RECIPE), earlier, RECIPE, new)
    expected = {"gh": NEW, "ab": EARLIER, "CD": EARLIER, "eg": HELD_BACK}
    assert sources(dataset) == expected
    assert len(dataset.samples) == 4
    assert skip_duplicates(dataset) == dataset


def test_a_copy_beside_the_old_picture_is_not_new(tmp_path: Path, earlier: Run) -> None:
    """A folder that has both is no reason to validate on what was learned."""
    cv2.imwrite(str(tmp_path / "old" / "ab.bmp"), np.full((8, 24), 1, np.uint8))
    cv2.imwrite(str(tmp_path / "old" / "gh.png"), np.full((8, 24), 4, np.uint8))
    dataset = add_earlier(read_dataset(tmp_path / "old", RECIPE), earlier, RECIPE, tmp_path / "old")
    found = {sample.name: sample.source for sample in dataset.samples}
    assert (found["ab.bmp"], found["ab.png"], found["gh.png"]) == (EARLIER, EARLIER, NEW)


def test_a_moved_folder_is_not_new(tmp_path: Path, earlier: Run) -> None:
    """Its pictures are known by their pixels, and none of them is said to be gone."""
    old = tmp_path / "old"
    pixels = {s.name: hash_pixels(s.picture).hex() for s in read_dataset(old, RECIPE).samples}
    earlier.write_split([replace(f, pixels=pixels[f.path.name]) for f in earlier.samples()])
    cv2.imwrite(str(old / "gh.png"), np.full((8, 24), 4, np.uint8))
    old.rename(tmp_path / "moved")
    dataset = add_earlier(
        read_dataset(tmp_path / "moved", RECIPE), earlier, RECIPE, tmp_path / "moved"
    )
    assert sources(dataset) == {"ab": EARLIER, "CD": EARLIER, "ef": HELD_BACK, "gh": NEW}
    assert not any("gone" in note for note in dataset.notes)
    (tmp_path / "moved" / "ab.png").unlink()
    dataset = add_earlier(
        read_dataset(tmp_path / "moved", RECIPE), earlier, RECIPE, tmp_path / "moved"
    )
    assert any(note.startswith("1 pictures of the earlier run are gone") for note in dataset.notes)


def test_a_label_that_was_taken_away_does_not_come_back(tmp_path: Path, earlier: Run) -> None:
    """The earlier run's label of a picture counts only where the folder has none to say."""
    old = tmp_path / "old"
    cv2.imwrite(str(old / "gh.png"), np.full((8, 24), 4, np.uint8))
    rows = "file,label\nab.png,\nCD.png,CD\nef.png,ef\ngh.png,gh\n"
    (old / "labels.csv").write_text(rows)
    found = add_earlier(read_dataset(old, RECIPE), earlier, RECIPE, old)
    assert sources(found) == {"CD": EARLIER, "ef": HELD_BACK, "gh": NEW}
    shutil.copytree(old, tmp_path / "copy")
    found = add_earlier(read_dataset(tmp_path / "copy", RECIPE), earlier, RECIPE, tmp_path / "copy")
    assert sources(found) == {"CD": EARLIER, "ef": HELD_BACK, "gh": NEW}
    (old / "labels.csv").write_text("file,label\ngh.png,gh\n")  # of the new one alone
    found = add_earlier(read_dataset(old, RECIPE), earlier, RECIPE, old)
    assert sources(found) == {"ab": EARLIER, "CD": EARLIER, "ef": HELD_BACK, "gh": NEW}


def test_old_labels_are_folded_as_the_new_ones(tmp_path: Path, earlier: Run) -> None:
    """`--fold-case` is for both; `CD` becomes `cd`."""
    new = written(tmp_path / "new", {"GH.png": 4})
    dataset = read_dataset(new, RECIPE, fold_case=True)
    found = add_earlier(dataset, earlier, RECIPE, new, fold_case=True)
    assert sources(found).keys() == {"gh", "ab", "cd", "ef"}
    assert found.charset.characters == "abcdefgh"


def test_old_labels_are_checked_by_the_charset(tmp_path: Path, earlier: Run) -> None:
    """`--charset` leaves out old pictures with other characters, and says which."""
    new = written(tmp_path / "new", {"gh.png": 4})
    dataset = read_dataset(new, RECIPE, characters="abefgh")
    found = add_earlier(dataset, earlier, RECIPE, new, characters="abefgh")
    assert sources(found).keys() == {"gh", "ab", "ef"}
    assert found.charset.characters == "abefgh"
    assert found.skipped[-1][1] == "characters outside of the charset: CD"


def test_another_file_of_a_run_is_no_model(command, tmp_path: Path, earlier: Run) -> None:
    """`--from` takes a run or its model.keras, and not that model for any file beside it."""
    earlier.model_file.touch()
    history = earlier.folder / "history.csv"
    history.touch()
    result = command("train", tmp_path / "old", "--from", history)
    assert result.returncode == 2
    assert f"--from {history}: no run with a model.keras" in " ".join(result.stderr.split())
