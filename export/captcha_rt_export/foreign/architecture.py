"""Reads the description of a Keras model from its file, without running code from the file.

A `.keras` or `.h5` file describes its layers in JSON. Keras 2 and 3 write it differently; here both
become one list of layers. Nothing is imported or built: so the description tells what is in a file
before Keras sees it.
"""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import h5py

from captcha_rt_export.errors import ExportError

MODELS: Final = frozenset({"Functional", "Model", "Sequential"})
"""The classes of models whose layers the file describes."""

_PYTHON: Final = frozenset({"Lambda", "TorchModuleWrapper", "__lambda__"})
"""The layers and functions whose file holds Python code or a pickle."""

_OPERATIONS: Final = frozenset({"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"})
"""How Keras 2 writes TensorFlow's functions between its layers."""

_PACKAGES: Final = ("keras.", "tf_keras.", "tensorflow.keras.", "tensorflow.python.keras.")
"""The packages of Keras's own classes."""

WEIGHTS_ONLY: Final = (
    "holds weights without the network; in the notebook build the model, `model.load_weights(…)`, "
    'and save all of it: `model.save("model.keras")`'
)


class Tensor(NamedTuple):
    """An output of a layer: the layer's name, its call and the number of the output."""

    layer: str
    call: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as a file describes it.

    Attributes:
        name: The layer's name, unique in the model.
        class_name: Its class, or the function for an operation between layers.
        kind: `"keras"` for a layer of Keras, `"operation"` for a function of Keras or TensorFlow,
            `"python"` for Python code in the file, `"custom"` for the class of somebody's own code.
        config: The layer's settings.
        sources: The outputs of other layers that it takes.
    """

    name: str
    class_name: str
    kind: str
    config: dict[str, Any]
    sources: tuple[Tensor, ...]

    @property
    def title(self) -> str:
        """The layer's name and class, for people."""
        return f"{self.name!r} ({self.class_name})"


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model as its file describes it.

    Attributes:
        path: The file.
        version: The version of Keras that wrote it, such as `2.9.0`.
        root: The description as it stands in the file.
        layers: The layers by name, in the order of the file; empty for a class of one's own.
        inputs: The names of the input layers.
        outputs: The outputs.
        loss: The loss that it was compiled with, a name or an empty text.
        vocabularies: The texts of each `StringLookup`, in the order of their ids.
    """

    path: Path
    version: str
    root: dict[str, Any]
    layers: dict[str, Layer]
    inputs: tuple[str, ...]
    outputs: tuple[Tensor, ...]
    loss: str
    vocabularies: tuple[tuple[str, ...], ...] = field(default=())

    @property
    def keras(self) -> int:
        """The major version of Keras: 2 (or 1) and 3 load differently."""
        return int(self.version.partition(".")[0] or 2)

    def shape(self, name: str) -> tuple[int | None, ...]:
        """The shape of an input with its batch; empty if the file doesn't say."""
        return input_shape(self.layers[name].config)


def read_architecture(path: Path) -> Architecture:
    """Reads the description in a `.keras` or `.h5` file.

    Raises:
        ExportError: If the file is damaged, or holds no description of a model.
    """
    try:
        if zipfile.is_zipfile(path):
            return _read_zip(path)
        return _read_h5(path)
    except ExportError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ExportError(f"{path} is damaged, or no model that Keras saved: {error}") from error


def input_shape(config: dict[str, Any]) -> tuple[int | None, ...]:
    """The shape with its batch that a layer's settings name; empty if they name none."""
    return tuple(config.get("batch_shape") or config.get("batch_input_shape") or ())


def objects(value: object) -> Iterator[dict[str, Any]]:
    """Walks through all objects with a class that a description holds."""
    if isinstance(value, dict):
        if "class_name" in value and "config" in value:
            yield value
        for inner in value.values():
            yield from objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


def kind_of(entry: dict[str, Any]) -> str:
    """The kind of an object with a class, as `Layer.kind` explains it."""
    name = str(entry["class_name"])
    if name in _PYTHON:
        return "python"
    if name.startswith("__"):  # a value, such as `__slice__`
        return "keras"
    if name in _OPERATIONS:
        return "operation"
    module = entry.get("module", "")
    if module == "":  # older files have names alone
        return "keras" if name in _layers_of_keras() else "custom"
    if module is None or not f"{module}.".startswith(_PACKAGES):
        return "custom"
    return "operation" if module.startswith(("keras.ops", "keras.src.ops")) else "keras"


def _read_zip(path: Path) -> Architecture:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if "config.json" not in names:
            raise ExportError(f"{path} {WEIGHTS_ONLY}" if names else f"{path} is empty")
        root = json.loads(archive.read("config.json"))
        metadata = json.loads(archive.read("metadata.json"))
        texts = [
            archive.read(name).decode().split("\n")
            for name in names
            if name.startswith("assets/") and name.endswith("vocabulary.txt")
        ]
    loss = (root.get("compile_config") or {}).get("loss")
    return describe_root(path, str(metadata["keras_version"]), root, loss, texts)


def _read_h5(path: Path) -> Architecture:
    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise ExportError(f"{path} {WEIGHTS_ONLY}")
        root = json.loads(_text(file.attrs["model_config"]))
        training = json.loads(_text(file.attrs.get("training_config", "{}")))
        version = _text(file.attrs.get("keras_version", "2"))
    return describe_root(path, version, root, training.get("loss"), [])


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def describe_root(
    path: Path, version: str, root: dict[str, Any], loss: object, texts: list[list[str]]
) -> Architecture:
    """Makes the description of a model from what its file holds.

    Args:
        path: The file.
        version: The version of Keras.
        root: The model as Keras serialises it: a class with its settings.
        loss: The loss that it was compiled with, as Keras serialises it.
        texts: The vocabularies that stand beside the description.
    """
    layers: dict[str, Layer] = {}
    inputs: tuple[str, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    config = root["config"]
    if root["class_name"] == "Sequential":
        entries = config if isinstance(config, list) else config["layers"]
        layers = _chain(entries, root.get("build_config"))
        inputs, outputs = (next(iter(layers)),), (Tensor(next(reversed(layers))),)
    elif root["class_name"] in MODELS and "layers" in config:
        names = {entry["name"] for entry in config["layers"]}
        for entry in config["layers"]:
            sources = tuple(dict.fromkeys(_tensors(entry.get("inbound_nodes"), names)))
            layers[entry["name"]] = _layer(entry["name"], entry, sources)
        inputs = tuple(tensor.layer for tensor in _tensors(config["input_layers"], names))
        outputs = tuple(_tensors(config["output_layers"], names))
    lookups = [entry for entry in objects(root) if entry["class_name"] == "StringLookup"]
    found = [_vocabulary(lookup["config"]) for lookup in lookups]
    # A lookup that was adapted has its texts in a file beside the description.
    found += [
        _vocabulary({**lookups[0]["config"], "vocabulary": text}) for text in texts if lookups
    ]
    return Architecture(
        path=path,
        version=version,
        root=root,
        layers=layers,
        inputs=inputs,
        outputs=outputs,
        loss=_name_of(loss),
        vocabularies=tuple(dict.fromkeys(texts for texts in found if texts)),
    )


def _chain(entries: list[dict[str, Any]], built: dict[str, Any] | None) -> dict[str, Layer]:
    """The layers of a `Sequential`, the first of which is an input."""
    layers: dict[str, Layer] = {}
    before: tuple[Tensor, ...] = ()
    first = entries[0]
    if first["class_name"] != "InputLayer":
        shape = input_shape(first["config"]) or tuple((built or {}).get("input_shape") or ())
        config = {"batch_shape": list(shape), "dtype": "float32"}
        layers["input"] = Layer("input", "InputLayer", "keras", config, ())
        before = (Tensor("input"),)
    for entry in entries:
        name = entry["config"].get("name") or entry["class_name"]
        layers[name] = _layer(name, entry, before)
        before = (Tensor(name),)
    return layers


def _layer(name: str, entry: dict[str, Any], sources: tuple[Tensor, ...]) -> Layer:
    kind, class_name = kind_of(entry), str(entry["class_name"]).rpartition(">")[2]
    if kind == "operation" and class_name in _OPERATIONS:
        function = entry["config"].get("function") or entry["config"].get("node_def") or class_name
        class_name = str(function)
    return Layer(name, class_name, kind, entry["config"], sources)


def _tensors(value: object, names: set[str]) -> Iterator[Tensor]:
    """Walks through the references to layers in a part of a description.

    Keras 3 writes `{"class_name": "__keras_tensor__", "config": {"keras_history": [layer, call,
    output]}}`, Keras 2 lists that start with these three.
    """
    if isinstance(value, dict):
        history = value.get("config", {}) if value.get("class_name") == "__keras_tensor__" else {}
        if "keras_history" in history:
            yield Tensor(*history["keras_history"])
            return
        for inner in value.values():
            yield from _tensors(inner, names)
    elif isinstance(value, list):
        match value:
            case [str(layer), int(call), int(output), *others] if layer in names:
                yield Tensor(layer, call, output)
                yield from _tensors(others, names)
            case _:
                for inner in value:
                    yield from _tensors(inner, names)


def _vocabulary(config: dict[str, Any]) -> tuple[str, ...]:
    """The texts of a `StringLookup` in the order of their ids, those for unknown texts included."""
    texts = config.get("vocabulary")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return ()
    unknown = config.get("oov_token") or "[UNK]"
    mask = config.get("mask_token")
    special = [] if mask is None else [str(mask)]
    special += [unknown] * int(config.get("num_oov_indices", 1))
    if texts[: len(special)] == special:  # `vocabulary=other.get_vocabulary()`
        return tuple(texts)
    return (*special, *texts)


def _name_of(loss: object) -> str:
    """The name of a loss; of several, as of one for each head, the first."""
    match loss:
        case str():
            return loss
        case {"class_name": "function", "config": str(name)} | {"class_name": str(name)}:
            return name
        case dict():
            return _name_of(next(iter(loss.values()), None))
        case [first, *_]:
            return _name_of(first)
    return ""


def _layers_of_keras() -> frozenset[str]:
    """The names of Keras's own layers, those that only Keras 2 had included."""
    from keras import layers

    return frozenset({*dir(layers), *MODELS, "CuDNNLSTM", "CuDNNGRU", "LocallyConnected2D"})
