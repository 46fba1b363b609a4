"""The recipe step `rows`: two rows of text are read as one line."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captcha_rt import Recipe, RecipeError, Solver, load_model
from captcha_rt.model import attach
from captcha_rt.steps import Rows

SAMPLES = Path(__file__).parents[1] / "samples"


@pytest.mark.parametrize("name", ["dnwnb", "px33m", "xge78"])
def test_text_in_two_rows_is_read(name: str, tmp_path: Path) -> None:
    """A picture whose halves stand below each other is read like the picture itself."""
    model = load_model()
    recipe = Recipe((Rows(2), *model.manifest.recipe.steps))
    file = tmp_path / "rows.onnx"
    graph = model.data[: model.manifest.graph.size]
    file.write_bytes(attach(graph, replace(model.manifest, recipe=recipe)))
    picture = cv2.imread(str(SAMPLES / f"{name}.png"))[:, :, ::-1]
    emptiest = 90 + int((255 - picture[:, 90:110].min(axis=2)).sum(axis=0).argmin())
    left, right = picture[:, :emptiest], picture[:, emptiest:]
    width = max(left.shape[1], right.shape[1])
    halves = [np.pad(h, ((0, 0), (0, width - h.shape[1]), (0, 0)), "edge") for h in (left, right)]
    answer = Solver(file).solve(np.concatenate(halves))
    assert (answer.text, answer.accepted) == (name, True)


@given(st.integers(2, 4), st.integers(12, 30), st.integers(0, 3), st.integers(1, 3))
def test_rows_are_cut_between_the_texts(count: int, high: int, shift: int, channels: int) -> None:
    """Each row's ink is whole and at its own place, also where the gap isn't in the middle."""
    part = np.full((high, 20, channels), 200, np.uint8)
    picture = np.concatenate([part] * count)
    for number in range(count):
        top = number * high + 4 + (shift if number % 2 else 0)
        picture[top : top + high - 8, 5:15:2] = 10 * number
    laid = Rows(count)(picture)
    assert laid.shape[1:] == (20 * count, channels)
    for number in range(count):
        ink = laid[:, 20 * number : 20 * (number + 1)]
        assert (ink == 10 * number).sum() == 5 * (high - 8) * channels
        assert set(np.unique(ink)) == {10 * number, 200}


def test_rows_says_what_it_cannot_use() -> None:
    """A picture that is too low, floats, and a count of one are refused."""
    with pytest.raises(RecipeError, match="3 pixels are too few for 2 rows"):
        Rows()(np.zeros((3, 9, 1), np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        Rows()(np.zeros((9, 9, 1), np.float32))
    with pytest.raises(RecipeError, match=r"count is a whole number in 2\.\.9"):
        Recipe.from_json([{"step": "rows", "count": 1}])
    assert Rows()(np.zeros((4, 1, 1), np.uint8)).shape == (2, 2, 1)
