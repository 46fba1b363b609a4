"""Keras models of other people's notebooks, through the command: the original's texts come out."""

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType
from typing import Any, NamedTuple

import cv2
import foreign_models
import keras
import numpy as np
import pytest

from captcha_rt import Solver, decode_image, load_model
from captcha_rt_export.foreign.recipes import parse_recipe

Call = Callable[..., CompletedProcess[str]]

UNKNOWN = "\ufffd"  # what `--charset` takes for a class that means no character
KERAS2 = pytest.mark.skipif(
    importlib.util.find_spec("tf_keras") is None, reason="needs the extra keras2"
)
BOTH = ("keras", "tf_keras")
FORMATS = (".keras", ".h5", "")  # the last is a SavedModel


class Notebook(NamedTuple):
    """A network as a notebook builds it, and what its author knows of it.

    Attributes:
        make: Builds and trains it, with one of the packages.
        size: The height and width of the pictures.
        recipe: What the notebook does to a picture.
        layer: The layer of the scores, where the model's outputs are something else.
        ctc: Whether the scores are decoded as CTC's, with the blank last.
        charset: The characters of the classes.
        packages: The packages of Keras that it is built with.
    """

    make: Callable[[ModuleType], Any]
    size: tuple[int, int]
    recipe: str
    layer: str = ""
    ctc: bool = False
    charset: str = "72bxy"
    packages: tuple[str, ...] = BOTH


NOTEBOOKS = {
    "keras.io": Notebook(
        foreign_models.keras_io,
        (16, 32),
        "grey,scale,resize:16x32,transpose",
        "dense2",
        ctc=True,
        packages=("keras",),
    ),
    "document 000": Notebook(foreign_models.document_000, (24, 40), "rgb,scale,resize:24x40"),
    "document 003": Notebook(
        foreign_models.document_003, (16, 40), "grey,scale,resize:16x40,transpose"
    ),
    "document 004": Notebook(
        foreign_models.document_004,
        (16, 32),
        "grey,scale,resize:16x32,transpose",
        ctc=True,
        charset=UNKNOWN + "72bxy",
    ),
    "image_ocr": Notebook(
        foreign_models.image_ocr,
        (16, 32),
        "grey,scale,resize:16x32,transpose",
        "dense2",
        ctc=True,
        packages=("keras",),
    ),
    "captcha_break": Notebook(
        foreign_models.captcha_break,
        (16, 32),
        "grey,scale,resize:16x32",
        "scores",
        ctc=True,
        packages=("keras",),
    ),
    "five heads": Notebook(
        foreign_models.five_heads, (16, 40), "grey,scale,resize:16x40", packages=("tf_keras",)
    ),
}


def read(notebook: Notebook, scores: Any) -> list[str]:
    """The texts that the notebook reads: by Keras's own greedy decoder, or the best class each."""
    if isinstance(scores, list):
        scores = np.stack(scores, axis=1)
    rows = np.asarray(scores).argmax(axis=2)
    if notebook.ctc:
        blank = scores.shape[2] - 1
        lengths = np.full(len(scores), scores.shape[1])
        decoded, _ = keras.ops.ctc_decode(scores, lengths, strategy="greedy", mask_index=blank)
        rows = keras.ops.convert_to_numpy(decoded)[0]
    characters = dict(enumerate(notebook.charset))
    return ["".join(characters.get(i, "") for i in row) for row in rows.tolist()]


def labelled(folder: Path, notebook: Notebook, predict: Callable[[Any], Any]) -> dict[str, str]:
    """Draws pictures of stripes, named as the notebook reads them; returns the texts by name."""
    folder.mkdir()
    channels = 3 if notebook.recipe.startswith("rgb") else 1
    drawn = foreign_models.pictures(*notebook.size, channels, count=40, seed=7)
    for number, picture in enumerate(drawn):
        cv2.imwrite(str(folder / f"{number}.png"), np.rint(255 * picture))
    paths = sorted(folder.iterdir())
    recipe = parse_recipe(notebook.recipe)
    rows = np.stack([recipe.apply(decode_image(path)) for path in paths])
    texts = {}
    for path, text in zip(paths, read(notebook, predict(rows)), strict=True):
        if text:
            name = f"{text}_{path.name}"
            path.rename(folder / name)
            texts[name] = text
        else:
            path.unlink()
    assert len(texts) > 20
    # They differ, so that the comparison means something; how much is up to rounding.
    assert len({*texts.values()}) > 1
    return texts


def predictor(package: ModuleType, notebook: Notebook, model: Any) -> Callable[[Any], Any]:
    """The scores of the trained model, before it is saved."""
    if notebook.layer:
        model = package.Model(model.inputs[0], model.get_layer(notebook.layer).output)
    return lambda rows: model(rows, training=False)


def save(package: ModuleType, model: Any, path: Path) -> Path:
    """Saves a model in the format that the suffix names; without a suffix as a SavedModel."""
    if path.suffix or package is not keras:
        model.save(path)
    else:
        model.export(path, verbose=False)
    return path


def check(call: Call, model: Path, folder: Path, notebook: Notebook, texts: dict[str, str]) -> None:
    """Exports a model by one command; the file reads all pictures as the original does."""
    out = folder.parent / f"{model.name}.onnx"
    told = ["--recipe", notebook.recipe, "--charset", notebook.charset]
    result = call("export", model, "-o", out, "--pictures", folder, *told)
    assert result.returncode == 0, result.stderr
    assert "same texts" in result.stdout
    solver = Solver(out, device="cpu")
    assert {name: solver.solve(folder / name).text for name in texts} == texts
    blank = load_model(out).manifest.charset.blank
    assert blank == (len(notebook.charset) if notebook.ctc else None)


@pytest.mark.parametrize(
    ("name", "package"),
    [
        pytest.param(name, package, marks=[KERAS2] if package == "tf_keras" else [])
        for name, notebook in NOTEBOOKS.items()
        for package in notebook.packages
    ],
)
def test_a_notebooks_model(call: Call, tmp_path: Path, name: str, package: str) -> None:
    """Saved in each of three formats, a notebook's model reads the same after one command."""
    notebook, module = NOTEBOOKS[name], importlib.import_module(package)
    module.utils.set_random_seed(3)
    model = notebook.make(module)
    texts = labelled(tmp_path / "pictures", notebook, predictor(module, notebook, model))
    for suffix in FORMATS:
        saved = save(module, model, tmp_path / f"model{suffix}")
        check(call, saved, tmp_path / "pictures", notebook, texts)


@pytest.mark.parametrize("package", ["keras", pytest.param("tf_keras", marks=KERAS2)])
def test_a_folder_of_models(call: Call, tmp_path: Path, package: str) -> None:
    """Document 001's network for each digit: a folder of them, in each format, reads them all."""
    notebook = Notebook(foreign_models.document_001, (20, 40), "grey,scale,resize:20x40")
    module = importlib.import_module(package)
    module.utils.set_random_seed(3)
    models = [foreign_models.document_001(module, digit) for digit in (1, 2)]
    texts = labelled(
        tmp_path / "pictures", notebook, lambda rows: [m(rows, training=False) for m in models]
    )
    for number, suffix in enumerate(FORMATS):
        folder = tmp_path / f"digits{number}"
        folder.mkdir()
        for digit, model in zip((9, 10), models, strict=True):
            save(module, model, folder / f"digit{digit}_weights[1]{suffix}")
        check(call, folder, tmp_path / "pictures", notebook, texts)
