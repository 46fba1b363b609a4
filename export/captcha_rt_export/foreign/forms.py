"""Tells what kind of model a file or a folder is, by its content."""

import re
import zipfile
from enum import Enum
from pathlib import Path
from typing import Final

from captcha_rt_export.errors import ExportError
from captcha_rt_export.run import Run


class Form(Enum):
    """The forms that models come in."""

    KERAS = "Keras (.keras)"
    H5 = "Keras (.h5)"
    SAVED_MODEL = "SavedModel"
    TFLITE = "TFLite"
    ONNX = "ONNX"
    HEADS = "a folder of models, one for each position"


_H5: Final = b"\x89HDF\r\n\x1a\n"
_KNOWN: Final = (
    "a .keras or .h5 file, the folder of a SavedModel, a .tflite or .onnx file, or the folder of a "
    "run of `captcha-rt train`"
)


def is_foreign(path: Path) -> bool:
    """Whether something was trained elsewhere, and is no run of `captcha-rt train`.

    A file is taken for a model, whatever is in it; so is one that isn't there, by its suffix.
    """
    if not path.is_dir():
        return path.exists() or path.suffix != ""
    if Run(path).settings_file.exists() or Run(path).manifest_file.exists():
        return False
    return (path / "saved_model.pb").exists() or bool(heads_of(path))


def form_of(path: Path) -> Form:
    """Tells what kind of model a file or a folder is.

    Raises:
        ExportError: If there is nothing, or nothing that is known; the message says what it seems
            to be.
    """
    if path.is_dir():
        return _form_of_folder(path)
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise ExportError(f"can't read {path}: {error.strerror}") from error
    if start.startswith(_H5):
        return Form.H5
    if start.startswith(b"PK\x03\x04"):
        return Form.KERAS if zipfile.is_zipfile(path) else _fail(path, "a zip file that is cut off")
    if start[4:8] == b"TFL3":
        return Form.TFLITE
    if path.suffix.lower() == ".onnx":
        return Form.ONNX
    if path.name in ("saved_model.pb", "keras_metadata.pb", "fingerprint.pb"):
        return _fail(path, f"one file of a SavedModel: name its folder, {path.parent}")
    if start.startswith(b"version https://git-lfs"):
        return _fail(path, "a Git LFS pointer, not the model: run `git lfs pull`")
    if start.lstrip().startswith((b"{", b"<")):
        return _fail(
            path,
            "text (JSON or HTML); the network without weights is no model: "
            '`model.save("model.keras")`',
        )
    if start.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return _fail(
            path,
            "a pickle, which runs code when it is loaded; in the notebook save the model with "
            '`model.save("model.keras")`, or with PyTorch `torch.onnx.export`',
        )
    return _fail(path, "of no known kind" if start else "empty")


def _form_of_folder(path: Path) -> Form:
    if (path / "saved_model.pb").is_file():
        return Form.SAVED_MODEL
    heads = heads_of(path)
    if len(heads) > 1:
        return Form.HEADS
    if heads:
        return _fail(path, f"a folder with one model: name that, {heads[0]}")
    return _fail(path, "a folder without saved_model.pb")


def heads_of(folder: Path) -> list[Path]:
    """The model files in a folder, or the folders of SavedModels, if there are several."""
    for suffix in (".keras", ".h5", ".hdf5"):
        found = [file for file in folder.iterdir() if file.suffix == suffix]
        if found:
            return found
    return [one for one in folder.iterdir() if (one / "saved_model.pb").is_file()]


def natural(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts names with the numbers in them as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def _fail(path: Path, what: str) -> Form:
    raise ExportError(f"{path} is {what}; a model is {_KNOWN}")
