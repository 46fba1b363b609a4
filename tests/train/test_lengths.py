"""Labels that are far longer than the others, and data sets that another recipe prepares."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from captcha_rt.recipe import Recipe
from captcha_rt.steps import Channel, Grey, Resize, Scale
from captcha_rt_train.data.lengths import skip_far_longer
from captcha_rt_train.data.samples import Dataset, with_recipe
from captcha_rt_train.data.sources import read_dataset
from captcha_rt_train.presets import load_preset
from captcha_rt_train.training.choosing import TRUNK, choose

RECIPE = load_preset(TRUNK).recipe


def labelled(folder: Path, texts: Sequence[str]) -> Dataset:
    """Pictures of 72 x 32 pixels, each with its text as label."""
    folder.mkdir()
    for number, text in enumerate(texts):
        picture = np.full((32, 72), 255, np.uint8)
        cv2.putText(picture, text[:4], (4, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 30, 2)
        picture[0, 0] = number
        cv2.imwrite(str(folder / f"{number:03}.png"), picture)
    rows = [f"{number:03}.png,{text}\n" for number, text in enumerate(texts)]
    (folder / "labels.csv").write_text("".join(["file,label\n", *rows]))
    return read_dataset(folder, RECIPE)


def test_one_long_label_widens_no_input(tmp_path: Path) -> None:
    """It is listed as a problem; the network is as wide as without it, and knows none of it."""
    texts = [f"{1234 + 17 * number}" for number in range(24)]
    right = labelled(tmp_path / "right", texts)
    wrong = labelled(tmp_path / "wrong", [*texts, "IMG_20240101_captcha_from_somewhere"])
    found = skip_far_longer(wrong)
    assert found.skipped == (
        ("024.png", "its label has 35 characters, nearly all others at most 4"),
    )
    assert found.charset == right.charset
    recipes = [choose(d, "own", 10, seed=0).preset.recipe for d in (right, found)]
    assert recipes[0] == recipes[1]
    assert skip_far_longer(right) == right


def test_a_few_long_labels_among_sixty(tmp_path: Path) -> None:
    """Three that were pasted by mistake; a twentieth of the labels is no mistake any more."""
    texts = [f"{1234 + 17 * number}" for number in range(57)]
    pasted = ["https://example.org/captcha"] * 3
    assert len(skip_far_longer(labelled(tmp_path / "x", [*texts, *pasted])).skipped) == 3
    assert not skip_far_longer(labelled(tmp_path / "y", [*texts[:50], *pasted])).skipped


def test_texts_of_several_lengths_all_stay(tmp_path: Path) -> None:
    """Twice as long as usual is not too long; neither are two long texts among few."""
    dataset = labelled(tmp_path / "x", ["12", "123", "1234", "12345678", "21098765"])
    assert skip_far_longer(dataset) == dataset
    assert skip_far_longer(labelled(tmp_path / "y", ["1", "12", "22"])).skipped == ()


def test_another_recipe_gives_what_reading_again_gives(tmp_path: Path) -> None:
    """The pictures are decoded once; what the recipe can't use is skipped with its reason."""
    labelled(tmp_path / "x", ["1234", "2345"])
    cv2.imwrite(str(tmp_path / "x" / "000.png"), np.full((32, 72, 3), 9, np.uint8))
    for recipe in (
        Recipe((Grey(over_white=True), Resize(48, 160), Scale())),
        Recipe((Channel(2), Resize(24, 80), Scale())),
        Recipe((Grey(over_white=True), Scale())),
    ):
        again = read_dataset(tmp_path / "x", recipe)
        found = with_recipe(read_dataset(tmp_path / "x", RECIPE), recipe)
        assert [s.name for s in found.samples] == [s.name for s in again.samples]
        for one, other in zip(found.samples, again.samples, strict=True):
            np.testing.assert_array_equal(one.tensor, other.tensor)
        assert (found.tensor_shape, found.charset, found.skipped) == (
            again.tensor_shape,
            again.charset,
            again.skipped,
        )
