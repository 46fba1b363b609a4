"""Pictures with equal pixels: copies are skipped, and so are labels that contradict each other."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from captcha_rt.recipe import Recipe
from captcha_rt.steps import Grey, Resize, Scale
from captcha_rt_train.data.description import describe
from captcha_rt_train.data.duplicates import skip_duplicates
from captcha_rt_train.data.samples import Dataset
from captcha_rt_train.data.sources import read_dataset

RECIPE = Recipe((Grey(over_white=True), Resize(48, 160), Scale()))


def written(folder: Path, pictures: Mapping[str, tuple[str, int]]) -> Path:
    """Writes pictures, each in one level of grey, and their labels."""
    folder.mkdir()
    for name, (_, level) in pictures.items():
        cv2.imwrite(str(folder / name), np.full((8, 24), level, np.uint8))
    rows = [f"{name},{label}\n" for name, (label, _) in pictures.items()]
    (folder / "labels.csv").write_text("".join(["file,label\n", *rows]))
    return folder


def labels(dataset: Dataset) -> dict[str, str]:
    return {sample.name: sample.label for sample in dataset.samples}


def test_copies_are_skipped(tmp_path: Path) -> None:
    """The first one is left, also if the others have another format; the reason names it."""
    pictures = {"1.png": ("ab", 7), "2.bmp": ("ab", 7), "3.png": ("cd", 8), "4.png": ("ab", 7)}
    dataset = read_dataset(written(tmp_path / "x", pictures), RECIPE)
    found = skip_duplicates(dataset)
    assert labels(found) == {"1.png": "ab", "3.png": "cd"}
    reason = "has the pixels and the label of 1.png"
    assert found.skipped == (("2.bmp", reason), ("4.png", reason))
    assert skip_duplicates(found) == found


def test_labels_that_contradict_are_all_skipped(tmp_path: Path) -> None:
    """Each reason names a picture with another label; a character that only they had is gone."""
    pictures = {
        "1.png": ("ab", 7),
        "2.png": ("ab", 7),
        "3.png": ("ax", 7),
        "4.png": ("cd", 8),
        "5.png": ("AB", 9),
        "6.png": ("ab", 9),
    }
    folder = written(tmp_path / "x", pictures)
    found = skip_duplicates(read_dataset(folder, RECIPE))
    assert labels(found) == {"4.png": "cd"}
    assert dict(found.skipped) == {
        "1.png": "has the pixels of 3.png, which is labelled 'ax', not 'ab'",
        "2.png": "has the pixels of 3.png, which is labelled 'ax', not 'ab'",
        "3.png": "has the pixels of 1.png, which is labelled 'ab', not 'ax'",
        "5.png": "has the pixels of 6.png, which is labelled 'ab', not 'AB'",
        "6.png": "has the pixels of 5.png, which is labelled 'AB', not 'ab'",
    }
    assert found.charset.characters == "cd"
    given = skip_duplicates(read_dataset(folder, RECIPE, characters="abcdxAB"))
    assert given.charset.characters == "abcdxAB"
    groups = describe(folder).duplicates
    assert sorted(name for group in groups for name in group.paths) == sorted(dict(found.skipped))


def test_copies_in_several_sources(tmp_path: Path) -> None:
    """A picture that validates is no copy of one that is trained on."""
    folder = written(tmp_path / "x", {"1.png": ("ab", 7), "2.png": ("cd", 8)})
    other = written(tmp_path / "y", {"1.png": ("ab", 7), "2.png": ("ef", 9)})
    found = skip_duplicates(read_dataset(folder, RECIPE, validation=str(other)))
    assert labels(found) == {"1.png": "ab", "2.png": "cd", "validation/2.png": "ef"}
    assert found.skipped == (("validation/1.png", "has the pixels and the label of 1.png"),)


def test_equal_bytes_in_another_shape_are_another_picture(tmp_path: Path) -> None:
    """A hash of the bytes alone would take them for copies."""
    pictures = {"1.png": ("ab", 7), "2.png": ("ab", 7)}
    folder = written(tmp_path / "x", pictures)
    cv2.imwrite(str(folder / "2.png"), np.full((24, 8), 7, np.uint8))
    assert skip_duplicates(read_dataset(folder, RECIPE)).skipped == ()
