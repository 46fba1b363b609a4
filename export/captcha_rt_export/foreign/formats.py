"""Tells what kind of model a file or a folder is, by its content."""

import re
import zipfile
from enum import Enum
from pathlib import Path
from shlex import quote
from typing import Final

from captcha_rt_export.errors import ExportError
from captcha_rt_export.run import Run


class Format(Enum):
    """The formats that models come in."""

    KERAS = "Keras (.keras)"
    H5 = "Keras (.h5)"
    SAVED_MODEL = "SavedModel"
    TFLITE = "TFLite"
    ONNX = "ONNX"
    HEADS = "a folder of models, one for each position"


_H5: Final = b"\x89HDF\r\n\x1a\n"
_SAVE: Final = '`model.save("model.keras")`'
_TORCH: Final = '`torch.onnx.export(model, picture, "model.onnx")`'
_CHECKPOINT: Final = (
    "a checkpoint, weights without the network; in the notebook build the model, "
    f"`model.load_weights(…)`, and save all of it: {_SAVE}"
)
_INSIDE: Final = ("saved_model.pb", "config.json", ".keras", ".h5", ".hdf5", ".onnx", ".tflite")
"""How the names of models end, in a zip file that somebody made of one."""

_KNOWN: Final = (
    "a model is a .keras or .h5 file, the folder of a SavedModel, a .tflite or .onnx file, or the "
    "folder of a run of `captcha-rt train`"
)


def is_foreign(path: Path) -> bool:
    """Whether something was trained elsewhere, and is no run of `captcha-rt train`.

    A file is taken for a model, whatever is in it; so is one that isn't there, by its suffix.
    """
    if not path.is_dir():
        return path.exists() or path.suffix != "" or _is_checkpoint(path)
    if Run(path).settings_file.exists() or Run(path).manifest_file.exists():
        return False
    return (path / "saved_model.pb").exists() or bool(heads_of(path)) or _is_checkpoint(path)


def format_of(path: Path) -> Format:
    """Tells what kind of model a file or a folder is.

    Raises:
        ExportError: If there is nothing, or nothing that is known; the message says what it seems
            to be.
    """
    if path.is_dir():
        return _format_of_folder(path)
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        if _is_checkpoint(path):
            return _fail(path, _CHECKPOINT)
        raise ExportError(f"can't read {path}: {error.strerror}") from error
    if start.startswith(_H5):
        return Format.H5
    if start.startswith(b"PK\x03\x04"):
        return _format_of_zip(path)
    if start[4:8] == b"TFL3":
        return Format.TFLITE
    what = _what_instead(path, start)
    if what is None and path.suffix.lower() == ".onnx":
        return Format.ONNX
    return _fail(path, what or f"of no known kind; {_KNOWN}")


def _what_instead(path: Path, start: bytes) -> str | None:
    """What a file is that is no model, and what helps; None if that isn't known."""
    if not start:
        return f"empty; {_KNOWN}"
    if path.name in ("saved_model.pb", "keras_metadata.pb", "fingerprint.pb"):
        return f"one file of a SavedModel: name its folder, {path.parent}"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the model: run `git lfs pull`"
    if start.lstrip().startswith((b"{", b"<")):
        return (
            "text (JSON or HTML): a page in the model's place, so download the model again; or the "
            f"network without weights, so save it with them in the notebook: {_SAVE}"
        )
    if start.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return (
            "a pickle, which runs code when it is loaded; in the notebook save the model with "
            f"{_SAVE}, or with PyTorch {_TORCH}"
        )
    if path.suffix == ".index" or ".data-00" in path.name:
        return _CHECKPOINT
    if path.suffix == ".pb":
        return (
            "a graph without a SavedModel around it, as TensorFlow 1 froze them: `python -m "
            f"tf2onnx.convert --graphdef {quote(str(path))} --inputs IMAGE:0 --outputs SCORES:0 "
            "--output model.onnx` makes a file that can be named here"
        )
    return None


def _format_of_zip(path: Path) -> Format:
    if not zipfile.is_zipfile(path):
        return _fail(path, "a zip file that is cut off")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/data.pkl") for name in names):
        return _fail(path, f"a file of PyTorch; export the model there: {_TORCH}")
    models = [name for name in names if name.endswith(_INSIDE) and ".weights." not in name]
    if "config.json" in names or not models:
        return Format.KERAS
    inside = models[0].removesuffix("saved_model.pb").removesuffix("config.json")
    return _fail(
        path,
        f"a zip file around a model: `python -m zipfile -e {quote(str(path))} unpacked`, and name "
        f"unpacked/{inside}",
    )


def _format_of_folder(path: Path) -> Format:
    if (path / "saved_model.pb").is_file():
        return Format.SAVED_MODEL
    if (path / "config.json").is_file() and (path / "model.weights.h5").is_file():
        return _fail(
            path,
            "a .keras file that was unpacked: pack it again, `python -m zipfile -c model.keras "
            f"{quote(f'{path}/.')}`, and name model.keras",
        )
    heads = heads_of(path)
    if len(heads) > 1:
        return Format.HEADS
    if heads:
        return _fail(path, f"a folder with one model: name that, {heads[0]}")
    if _is_checkpoint(path):
        return _fail(path, _CHECKPOINT)
    return _fail(path, f"a folder without saved_model.pb; {_KNOWN}")


def _is_checkpoint(path: Path) -> bool:
    """Whether a folder holds a checkpoint of TensorFlow, or a path is how one is named."""
    return any(path.glob("*.index")) or Path(f"{path}.index").is_file()


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


def _fail(path: Path, what: str) -> Format:
    raise ExportError(f"{path} is {what}")
