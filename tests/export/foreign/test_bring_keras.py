"""Keras models of other people's notebooks, through the command: the original's texts come out."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import cv2
import foreign_models
import keras
import numpy as np
import pytest

from captcha_rt import Solver, decode_image, load_model

Call = Callable[..., CompletedProcess[str]]
CHARACTERS = "72bxy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of random stripes, 32 x 16 pixels, whose names are labels that nobody reads."""
    made = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(9)
    for number, picture in enumerate(foreign_models.pictures(16, 32, 1, count=20, seed=7)):
        label = "".join(rng.choice(list(CHARACTERS), 5)) + f"_{number}"
        cv2.imwrite(str(made / f"{label}.png"), np.rint(255 * picture))
    return made


def inputs(model: Path, folder: Path) -> np.ndarray:
    recipe = load_model(model).manifest.recipe
    return np.stack([recipe.apply(decode_image(path)) for path in sorted(folder.iterdir())])


def texts(model: Path, folder: Path) -> list[str]:
    solver = Solver(model, device="cpu")
    return [solver.solve(path).text for path in sorted(folder.iterdir())]


def ctc_texts(scores: Any, blank: int) -> list[str]:
    """The texts that Keras's own greedy decoder reads."""
    lengths = np.full(len(scores), scores.shape[1])
    decoded, _ = keras.ops.ctc_decode(scores, lengths, strategy="greedy", mask_index=blank)
    rows = keras.ops.convert_to_numpy(decoded)[0]
    return ["".join(CHARACTERS[i] for i in row if 0 <= i < len(CHARACTERS)) for row in rows]


def test_keras_ios_example(call: Call, tmp_path: Path, folder: Path) -> None:
    """The example's training model, label input and CTC layer inside, is read as Keras reads it."""
    keras.utils.set_random_seed(3)  # a few steps with other seeds may give one answer to all
    model = foreign_models.keras_io(keras)
    file, out = tmp_path / "captcha.keras", tmp_path / "captcha.onnx"
    model.save(file)
    told = ["--recipe", "grey,scale,resize:16x32,transpose", "--charset", CHARACTERS]
    result = call("export", file, "-o", out, "--pictures", folder, *told)
    assert result.returncode == 0, result.stderr
    assert "same texts" in result.stdout
    assert "cut off: " in result.stdout
    original = keras.Model(model.inputs[0], model.get_layer("dense2").output)
    scores = original.predict(inputs(out, folder), verbose=0)
    expected = ctc_texts(scores, blank=5)
    assert len(set(expected)) > 1
    assert texts(out, folder) == expected
    assert load_model(out).manifest.charset.blank == 5


def test_heads_in_a_saved_model(call: Call, tmp_path: Path, folder: Path) -> None:
    """Document 000's heads, exported as a SavedModel, are read one character each."""
    model = foreign_models.document_000(keras)
    file, out = tmp_path / "heads", tmp_path / "heads.onnx"
    model.export(file, verbose=False)
    told = ["--recipe", "rgb,scale,resize:24x40", "--charset", CHARACTERS]
    result = call("export", file, "-o", out, "--pictures", folder, *told)
    assert result.returncode == 0, result.stderr
    heads = model.predict(inputs(out, folder), verbose=0)
    best = np.stack(heads, axis=1).argmax(axis=2)
    assert texts(out, folder) == ["".join(CHARACTERS[i] for i in row) for row in best]
