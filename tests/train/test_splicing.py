"""Pictures that are spliced of two, and where a network sees the characters."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captcha_rt.charset import Charset
from captcha_rt.manifest import Manifest, Tensor
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Fit, Grey, Resize, Scale
from captcha_rt_train.data.augmentation import Augmentation
from captcha_rt_train.data.batches import Batches
from captcha_rt_train.data.samples import Sample
from captcha_rt_train.data.splicing import align, columns, splice

CELL = 10  # columns of a character in the pictures of these tests


@given(st.data())
def test_characters_are_found_where_the_scores_show_them(data: st.DataObject) -> None:
    """A character's place is the middle of its time steps, doubled characters included."""
    ids = data.draw(st.lists(st.integers(1, 3), max_size=6))
    runs: list[tuple[int, int]] = []  # class, time steps
    for before, after in pairwise([0, *ids]):
        gap = data.draw(st.integers(1 if before == after else 0, 3))
        runs += [(0, gap), (after, data.draw(st.integers(1, 3)))]
    runs.append((0, data.draw(st.integers(1, 3))))
    path = [number for number, count in runs for _ in range(count)]
    scores = np.zeros((1, len(path), 4), np.float32)
    scores[0, np.arange(len(path)), path] = 9
    expected, time = [], 0
    for number, count in runs:
        if number:
            expected.append((time + count / 2) / len(path))
        time += count
    found = align(scores, [ids], blank=0)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


def test_places_in_a_frame_are_columns_of_the_picture() -> None:
    """The margins and the scale of `fit` are taken out; other recipes keep the share."""
    places = np.array([0.25, 0.5, 0.75])
    shape = (30, 60, 1)
    in_frame = columns(places, shape, Recipe((Fit(60, 160), Scale())))  # 20 columns, 120, 20
    np.testing.assert_allclose(in_frame, (places * 160 - 20) / 2)
    np.testing.assert_allclose(columns(places, shape, Recipe((Resize(48, 99),))), places * 60)


def cells(text: str, height: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose columns are the characters' codes, and the columns of their middles."""
    row = np.repeat([ord(c) for c in text], CELL).astype(np.uint8)
    places = (np.arange(len(text)) + 0.5) * CELL
    return np.tile(row, (height, 1))[:, :, None], places


@given(
    st.text("abcdef", min_size=1, max_size=7),
    st.text("abcdef", min_size=1, max_size=7),
    st.sampled_from([20, 40]),
    st.integers(0, 99),
)
def test_a_spliced_picture_shows_its_label(left: str, right: str, height: int, seed: int) -> None:
    """It is cut between characters, whatever the heights; its width is near the left one's."""
    picture, places = cells(left)
    other, other_places = cells(right, height)
    found = splice(picture, other, (places, other_places), np.random.default_rng(seed))
    if min(len(left), len(right)) < 2:
        assert found is None
        return
    assert found is not None
    spliced, kept, dropped = found
    shown = "".join(map(chr, spliced[0, CELL // 2 :: CELL, 0])) if height == 20 else None
    assert 1 <= kept < len(left)
    assert 1 <= dropped < len(right)
    assert spliced.shape[0] == 20
    if shown is not None:
        assert shown == left[:kept] + right[dropped:]


def test_channels_that_differ_are_not_spliced() -> None:
    """A grey and a coloured picture stay as they are."""
    picture, places = cells("abc")
    coloured = np.repeat(picture, 3, axis=2)
    rng = np.random.default_rng(0)
    assert splice(picture, coloured, (places, places), rng) is None


@pytest.mark.parametrize("spliced", [0.0, 1.0])
def test_batches_splice_as_soon_as_the_places_are_known(spliced: float) -> None:
    """Inputs and labels change together; without places, or at 0, all labels are the samples'."""
    recipe = Recipe((Grey(), Resize(20, 30), Scale()))
    texts = ("abc", "def", "ace", "fb")
    samples = [
        Sample(None, text, text, cells(text)[0], recipe.apply(cells(text)[0])) for text in texts
    ]
    manifest = Manifest(
        name="m",
        charset=Charset("abcdef", blank=0),
        recipe=recipe,
        decoder="ctc",
        scores="logits",
        input=Tensor("image", (None, 20, 30, 1)),
        output=Tensor("logits", (None, 12, 7)),
    )
    changes = Augmentation(strength=0.01, spliced=spliced, after_steps=1)
    batches = Batches(samples, manifest, batch_size=40, augmentation=changes, repeat=10, seed=0)

    def labels() -> set[str]:
        return {"".join(manifest.charset.decode(i for i in row if i)) for row in batches[0][1]}

    assert labels() == set(texts)
    batches.locate([(np.arange(len(text)) + 0.5) / len(text) for text in texts])
    assert (labels() == set(texts)) == (spliced == 0)
    assert all(len(label) <= 3 for label in labels())
    again = batches[0]
    np.testing.assert_array_equal(again[1], batches[0][1])
