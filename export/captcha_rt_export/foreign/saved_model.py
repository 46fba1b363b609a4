"""Loads a SavedModel: operations and weights, of Keras 2, Keras 3 or plain TensorFlow.

A SavedModel needs no code of its author's own, and no Keras. What reads is cut out of its graph of
operations, in the same sense as `cut` cuts layers.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.architecture import Architecture, describe_root
from captcha_rt_export.foreign.finish import ANOTHER, check_sizes
from captcha_rt_export.foreign.formats import natural
from captcha_rt_export.foreign.keras_file import Options
from captcha_rt_export.foreign.tracing import freeze

_DECODERS: Final = frozenset({"CTCGreedyDecoder", "CTCBeamSearchDecoder", "CTCLoss", "CTCLossV2"})

_GLUE: Final = frozenset(
    {"Log", "Add", "AddV2", "Transpose", "Cast", "Identity", "Maximum", "Minimum", "Mul"}
    | {"SelectV2"}  # Keras 3 takes a negative zero for less than zero before it picks a class
)
"""Operations that bring the scores into what TensorFlow's CTC, or what picks a class, takes."""

_OUTSIDE: Final = frozenset(
    {"PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles"}
)
"""Operations that reach out of the network: to Python or to files."""


@dataclass(frozen=True, slots=True)
class Operations:
    """The part of a SavedModel that reads.

    Attributes:
        graph: A flat graph without variables.
        image: The name of the picture's tensor, such as `image:0`.
        scores: The names of the tensors with the scores.
        decoder: `"ctc"` where a CTC operation was cut off.
        blank: The index of the blank, -1 for the last class; None if unknown.
        lines: What was cut off, a line each.
        layers: The layers that the operations are named after, in order.
    """

    graph: Any
    image: str
    scores: tuple[str, ...]
    decoder: Literal["ctc"] | None
    blank: int | None
    lines: tuple[str, ...]
    layers: tuple[str, ...]


def load_saved_model(folder: Path, options: Options) -> Operations:
    """Loads a SavedModel's function for serving, and cuts out what reads.

    Args:
        folder: The folder with `saved_model.pb`.
        options: What the user typed.

    Raises:
        ExportError: If it can't be loaded, or has no such function, picture or scores.
    """
    if not options.trust:
        _check_operations(folder)
    loaded = _loaded(folder)
    signatures = loaded.signatures
    name = "serving_default" if "serving_default" in signatures else next(iter(signatures), None)
    if name is None:
        raise ExportError(
            f"{folder} has no signature, so nothing says what it takes and gives; in the notebook: "
            '`model.export("folder")` with Keras 3, `model.save("folder")` with Keras 2'
        )
    function = signatures[name]
    # TensorFlow flattens the outputs in the order of their names' letters: 10 comes before 2.
    order = {
        output: position for position, output in enumerate(sorted(function.structured_outputs))
    }
    names = sorted(order, key=natural)
    architecture = read_metadata(folder)
    if architecture is not None and {*order} == {tensor.layer for tensor in architecture.outputs}:
        names = [tensor.layer for tensor in architecture.outputs]
    outputs = [function.outputs[order[name]].name for name in names]
    return _cut(folder, freeze(function), outputs, options)


def _loaded(folder: Path) -> Any:  # noqa: ANN401
    """Loads a SavedModel, with its weights in memory."""
    with ExitStack() as stack:
        readable = folder
        if {*str(folder)} & {*"*?[]\\"}:  # TensorFlow takes such a path for a pattern
            readable = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "model"
            shutil.copytree(folder, readable)
        try:
            return tf.saved_model.load(str(readable))
        except Exception as error:
            raise ExportError(f"{folder} can't be loaded: {error}") from error


def read_metadata(folder: Path) -> Architecture | None:
    """Reads how Keras 2 describes a model beside its operations; None if it doesn't."""
    try:
        data = (folder / "keras_metadata.pb").read_bytes()
        nodes = [dict(_fields(node)) for number, node in _fields(data) if number == 1]
        text = next(node[5] for node in nodes if node.get(3) == b"root")
        root = json.loads(text, object_hook=_without_tuple)
        training = root.get("training_config") or {}
        version = str(root.get("keras_version", "2"))
        return describe_root(folder, version, root, training.get("loss"), [])
    except (OSError, ValueError, KeyError, TypeError, IndexError, StopIteration):
        return None


def _without_tuple(value: dict[str, Any]) -> Any:  # noqa: ANN401
    """Makes a list of what Keras 2 writes for a tuple."""
    return value["items"] if value.get("class_name") == "__tuple__" else value


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Walks through the fields of a protobuf message that hold bytes."""

    def varint(position: int) -> tuple[int, int]:
        number = shift = 0
        while True:
            byte = message[position]
            number |= (byte & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if byte < 0x80:
                return number, position

    position = 0
    while position < len(message):
        tag, position = varint(position)
        length, position = varint(position)
        if tag & 7 == 2:
            yield tag >> 3, message[position : position + length]
            position += length


def _check_operations(folder: Path) -> None:
    """Refuses operations that reach out of the network."""
    file = saved_model_pb2.SavedModel()
    try:
        file.ParseFromString((folder / "saved_model.pb").read_bytes())
    except Exception as error:
        raise ExportError(f"{folder}/saved_model.pb is damaged: {error}") from error
    graphs = [meta.graph_def for meta in file.meta_graphs]
    operations = {node.op for graph in graphs for node in graph.node}
    for graph in graphs:
        operations |= {n.op for function in graph.library.function for n in function.node_def}
    if outside := sorted(operations & _OUTSIDE):
        raise ExportError(
            f"{folder} holds {', '.join(outside)}: operations that read or write files, or call "
            "Python. If you know where the model comes from: --trust"
        )


def _cut(
    folder: Path,
    graph: Any,  # noqa: ANN401
    outputs: list[str],
    options: Options,
) -> Operations:
    """Cuts a flat graph to what reads."""
    nodes = {node.name: node for node in graph.node}

    def source(tensor: str) -> Any:  # noqa: ANN401
        return nodes[tensor.removeprefix("^").partition(":")[0]]

    def ancestors(tensors: list[str]) -> list[Any]:
        found: dict[str, Any] = {}
        waiting = list(tensors)
        while waiting:
            node = source(waiting.pop(0))
            if node.name not in found:
                found[node.name] = node
                waiting.extend(node.input)
        return list(found.values())

    def strip(tensor: str, operations: frozenset[str]) -> str:
        while (node := source(tensor)).op in operations:
            tensor = node.input[2 if node.op == "SelectV2" else 0]
        return tensor

    scores, ends = [], []
    for output in outputs:
        before = ancestors([output])
        end = next((node for node in before if node.op in _DECODERS), None)
        if end is None and _type(source(output)) in (types_pb2.DT_STRING, types_pb2.DT_INT64):
            end = next((node for node in before if node.op == "ArgMax"), None)
        if end is not None:
            ends.append(end)
            output = strip(end.input[0], _GLUE)
        # A sigmoid for each class: the softmax that follows takes its place.
        scores.append(strip(output, frozenset({"Identity", "Sigmoid"})))
    if options.scores is not None:
        scores, ends = [_named(folder, graph, options.scores)], []
    scores = list(dict.fromkeys(scores))
    needed = ancestors(scores)
    layers = _layers(graph)
    image = _image(folder, [node for node in needed if node.op == "Placeholder"], layers)
    for node in needed:
        node.attr.pop("_output_shapes", None)
    size = image.attr["shape"].shape
    for dimension, axis in zip(size.dim[1:], options.shape or (), strict=False):
        dimension.size = axis
    size.dim[0].size = -1
    check_sizes(folder, [axis.size if axis.size > 0 else None for axis in size.dim[1:]])
    outside = (types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT)
    every = [
        node.name
        for node in graph.node
        if node.op == "Placeholder" and node.attr["dtype"].type not in outside
    ]
    used = {node.name for node in needed}
    pruned = tf.compat.v1.graph_util.extract_sub_graph(
        graph, [source(tensor).name for tensor in scores]
    )
    ctc = next((node for node in ends if node.op in _DECODERS), None)
    blank = int(ctc.attr["blank_index"].i) if ctc is not None and "blank_index" in ctc.attr else -1
    return Operations(
        graph=pruned,
        image=f"{image.name}:0",
        scores=tuple(tensor if ":" in tensor else f"{tensor}:0" for tensor in scores),
        decoder=None if ctc is None else "ctc",
        blank=None if ctc is None else blank,
        lines=tuple(
            [f"the input {name!r}" for name in every if name not in used]
            + [f"all from the operation {end.op} on" for end in ends]
        ),
        layers=layers,
    )


def _named(folder: Path, graph: Any, name: str) -> str:  # noqa: ANN401
    """The last operation of a layer: TensorFlow names operations `call/model/layer/Operation`."""
    pattern = re.compile(rf"(^|/){re.escape(name)}(_\d+)?/")  # Keras 3 numbers its traces
    found = [node for node in graph.node if node.op != "Const" and pattern.search(f"{node.name}/")]
    taken = {tensor.partition(":")[0] for node in found for tensor in node.input}
    last = [node.name for node in found if node.name not in taken]
    if len(last) == 1:
        return str(last[0])
    raise ExportError(
        f"{folder} --scores: no layer {name!r}; there are {', '.join(_layers(graph))}"
    )


def _layers(graph: Any) -> tuple[str, ...]:  # noqa: ANN401
    """The layers that the operations of a flat graph are named after."""
    parts = [node.name.split("/") for node in graph.node]
    return tuple(dict.fromkeys(part[2] for part in parts if len(part) > 3))


def _type(node: Any) -> int:  # noqa: ANN401
    """The type of a node's first output, as far as its attributes name it."""
    for name in ("T", "dtype", "output_type", "out_type", "Tout"):
        if name in node.attr:
            return int(node.attr[name].type)
    return int(types_pb2.DT_STRING if "String" in node.op or "Join" in node.op else 0)


def _image(folder: Path, inputs: list[Any], layers: tuple[str, ...]) -> Any:  # noqa: ANN401
    if len(inputs) == 1:
        return inputs[0]
    seen = ", ".join(
        f"{node.name!r} {tuple(one.size for one in node.attr['shape'].shape.dim)}"
        for node in inputs
    )
    raise ExportError(
        f"{folder}: the scores depend on {seen or 'no input'}; captcha-rt has only a picture to "
        'give. In the notebook: `keras.Model(picture, scores).export("folder")`, or name the '
        f"layer of the scores: {ANOTHER}; there are {', '.join(layers)}"
    )
