"""Loads the part of a Keras model that reads, from a `.keras` or `.h5` file.

The description in the file is changed before Keras sees it: the layers that don't read are left out
(`cut`), the batch is free, and everything computes in float32. So no code from the file runs, but
Lambda layers that are trusted.
"""

import json
import re
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import h5py

from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.architecture import Architecture, Layer, kind_of, objects
from captcha_rt_export.foreign.custom import import_custom
from captcha_rt_export.foreign.cut import Cut
from captcha_rt_export.foreign.keras_config import change_config, name_of, without_the_rest

KERAS2: Final = "pip install 'captcha-rt-export[keras2]'"

_OUTSIDE: Final = re.compile(
    r"(^|[._])(io|py_func\w*|numpy_func\w*|saved_model|load\w*|summary|WriteFile|ReadFile)([._]|$)"
)
"""The functions of TensorFlow that reach files, or Python."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user types about a model's file.

    Attributes:
        custom: The Python file that defines layers of its author's own code; `--custom`.
        trust: Whether Python code in the model's file may run; `--trust`.
        scores: The layer whose output are the scores; `--scores`.
        shape: The sizes of the input's axes without the batch, where the file leaves some open;
            `--input-shape`.
    """

    custom: Path | None = None
    trust: bool = False
    scores: str | None = None
    shape: tuple[int, ...] | None = None


def load_keras(architecture: Architecture, cut: Cut | None, options: Options) -> tuple[Any, str]:
    """Loads a Keras model, cut to what reads.

    Args:
        architecture: The description in the model's file.
        cut: What to build; None builds all, for a model of a class of its author's own.
        options: What the user typed.

    Returns:
        The model, of Keras 3 or `tf_keras`, whose outputs are the scores of the cut; and the name
        and version of the Keras that runs it.

    Raises:
        ExportError: If the file needs code that wasn't named, or Keras can't load it.
    """
    reading = _reading(architecture, cut)
    check_code(architecture, reading, options)
    errors = []
    for name in _candidates(architecture, reading):
        keras = import_module(name)
        custom = {} if options.custom is None else import_custom(options.custom, keras)
        _check_defined(architecture, reading, custom, options)
        root = change_config(architecture, cut, options.shape, custom)
        try:
            model = _load(architecture, root, keras, _registered(root, custom), options)
        except Exception as error:  # noqa: BLE001  (Keras raises errors of any kind)
            errors.append(f"{name} {keras.__version__}: {type(error).__name__}: {_first(error)}")
            continue
        return _to_scores(model, cut, keras), f"{name} {keras.__version__}"
    hint = ""
    if architecture.keras < 3 and find_spec("tf_keras") is None:
        hint = f"; Keras {architecture.version} wrote it, which {KERAS2} loads"
    if options.trust and any(kind_of(entry) == "python" for entry in reading):
        hint += (
            "; a Lambda knows nothing that its notebook imported: write it as a function of the "
            "layer's name, and name the file with --custom FILE.py"
        )
    elif options.custom is None:
        hint += "; if that is of your own code, name the file that defines it: --custom FILE.py"
    raise ExportError(f"{architecture.path} can't be loaded: {'; '.join(errors)}{hint}")


def check_code(architecture: Architecture, reading: list[dict[str, Any]], options: Options) -> None:
    """Refuses Python code in the file, unless it is trusted or replaced.

    Raises:
        ExportError: If a layer that reads holds Python code, and nobody typed `--trust`.
    """
    for entry in reading:
        layer = Layer(name_of(entry), str(entry["class_name"]), kind_of(entry), entry["config"], ())
        function = str(layer.config.get("function", "")) if layer.kind == "operation" else ""
        if _OUTSIDE.search(function) and not options.trust:
            raise ExportError(
                f"{architecture.path}: the layer {layer.name!r} calls {function}, which reaches "
                "out of the network. If you know where the file comes from: --trust"
            )
        if layer.kind == "python" and not options.trust and options.custom is None:
            raise ExportError(
                f"{architecture.path}: the layer {layer.title} holds Python code, which runs when "
                "it is loaded, and could do anything. If you know where the file comes from: "
                f"--trust. Better: write the function `def {layer.name}(x): …` into a file and "
                f"type --custom FILE.py; or {_as_operations(architecture)}"
            )


def _as_operations(architecture: Architecture) -> str:
    """How to save a model without code, as operations."""
    method = "export" if architecture.keras >= 3 else "save"
    return f'`model.{method}("folder")` in the notebook'


def _reading(architecture: Architecture, cut: Cut | None) -> list[dict[str, Any]]:
    """All objects with a class in the layers that are built."""
    if cut is None:
        return list(objects(architecture.root))
    return [
        entry
        for entry in objects(without_the_rest(architecture.root, cut)["config"])
        if entry["class_name"] != "__keras_tensor__"
    ]


def _candidates(architecture: Architecture, reading: list[dict[str, Any]]) -> list[str]:
    """The Keras packages that may load a file, the one that fits best first."""
    if architecture.keras >= 3:
        return ["keras"]
    old = find_spec("tf_keras") is not None
    # Keras 3 loads it, but computes something else: its hard_sigmoid has another slope.
    differs = "hard_sigmoid" in json.dumps(architecture.root)
    operation = next((e for e in reading if kind_of(e) == "operation"), None)
    if not old and (differs or operation is not None):
        what = "hard_sigmoid" if operation is None else name_of(operation)
        raise ExportError(
            f"{architecture.path} is of Keras {architecture.version}, and Keras 3 reads its "
            f"{what} differently or not at all: {KERAS2}"
        )
    return ["tf_keras"] if old else ["keras"]


def _check_defined(
    architecture: Architecture,
    reading: list[dict[str, Any]],
    custom: dict[str, Any],
    options: Options,
) -> None:
    """Checks that each layer of its author's own code is defined in the file that was named."""
    for entry in reading:
        name = str(entry["class_name"])
        if name == "__lambda__":  # of a layer that `rewrite` replaces, else `_load` refuses it
            continue
        if kind_of(entry) == "python" and not options.trust and name_of(entry) not in custom:
            raise ExportError(
                f"{options.custom} defines no function {name_of(entry)!r}, which is to stand for "
                f"the Lambda layer of that name in {architecture.path}"
            )
        wanted = str(entry["config"] if name == "function" else name).rpartition(">")[2]
        if kind_of(entry) != "custom" or wanted in custom:
            continue
        if options.custom is not None:
            raise ExportError(f"--custom {options.custom} doesn't define {wanted!r}")
        raise ExportError(
            f"{architecture.path}: {name_of(entry)!r} is a {wanted}, its author's own code. Name "
            "the file that defines it: --custom FILE.py (it is run); or "
            f"{_as_operations(architecture)}, which needs no code"
        )


def _registered(root: dict[str, Any], custom: dict[str, Any]) -> dict[str, Any]:
    """The classes and functions also under the names that they were registered with."""
    names = {str(entry["class_name"]) for entry in objects(root)}
    names |= {str(entry.get("registered_name")) for entry in objects(root)}
    package = {n: custom[n.rpartition(">")[2]] for n in names if n.rpartition(">")[2] in custom}
    return {**custom, **package}


def _load(
    architecture: Architecture,
    root: dict[str, Any],
    keras: ModuleType,
    custom: dict[str, Any],
    options: Options,
) -> Any:  # noqa: ANN401  (a model of either Keras)
    """Loads a copy of the file with another description."""
    if not options.trust and any(e["class_name"] == "__lambda__" for e in objects(root)):
        raise ExportError("a function in it is Python code: --trust, if you know its origin")
    with tempfile.TemporaryDirectory() as folder:
        copied = (
            Path(folder) / f"model{'.keras' if zipfile.is_zipfile(architecture.path) else '.h5'}"
        )
        shutil.copyfile(architecture.path, copied)
        if copied.suffix == ".keras":
            _replace_in_zip(architecture.path, copied, json.dumps(root))
        else:
            _replace_in_h5(copied, root)
        settings: dict[str, Any] = {"compile": False, "custom_objects": custom}
        if options.trust:
            settings["safe_mode"] = False
        return keras.models.load_model(copied, **settings)


def _replace_in_zip(source: Path, target: Path, config: str) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.infolist():
            data = config.encode() if item.filename == "config.json" else old.read(item)
            new.writestr(item.filename, data)


def _replace_in_h5(path: Path, root: dict[str, Any]) -> None:
    config = root["config"]
    entries = config if isinstance(config, list) else config.get("layers", [])
    names = {name_of(entry) for entry in entries}
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(root).encode()
        weights = file["model_weights"]
        kept = [name for name in weights.attrs["layer_names"] if _decoded(name) in names]
        if kept:
            weights.attrs["layer_names"] = kept


def _decoded(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _to_scores(model: Any, cut: Cut | None, keras: ModuleType) -> Any:  # noqa: ANN401
    """The model from the picture to the scores alone."""
    if cut is None:
        return model
    if isinstance(model, keras.Sequential):
        scores = [model.get_layer(cut.scores[0].layer).output]
    else:
        scores = model.outputs[: len(cut.scores)]
    return keras.Model(model.inputs[0], scores)


def _first(error: BaseException) -> str:
    """The line of an error that names the cause: Keras wraps it into pages of settings."""
    text = str(error).partition("Exception encountered: ")[2] or str(error)
    return (text.strip().splitlines() or [""])[0][:300]
