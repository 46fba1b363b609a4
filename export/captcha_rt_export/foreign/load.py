"""Loads a model that was trained elsewhere, and makes a network of it that the runtime can run."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnx
import tensorflow as tf
from numpy.typing import NDArray

from captcha_rt_export.convert import LOOPS, operators
from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.architecture import Architecture, read_architecture
from captcha_rt_export.foreign.cut import Cut, cut
from captcha_rt_export.foreign.finish import (
    ANOTHER,
    EXACT,
    ROUNDED,
    check_sizes,
    finish,
    one_output,
    rank_of,
    side_by_side,
    to_scores,
)
from captcha_rt_export.foreign.formats import Format, format_of, heads_of, natural
from captcha_rt_export.foreign.keras_config import IN_FLOAT32, advice, changes
from captcha_rt_export.foreign.keras_file import Options, load_keras
from captcha_rt_export.foreign.loops import without_loops
from captcha_rt_export.foreign.network import ForeignNetwork
from captcha_rt_export.foreign.saved_model import load_saved_model, read_metadata
from captcha_rt_export.foreign.surgery import in_float32, is_half
from captcha_rt_export.foreign.tflite import FROM_KERAS, load_tflite
from captcha_rt_export.foreign.tracing import be_quiet, run_graph, to_onnx, trace_keras

_SAVE_LAYERS: Final = 'Save the layers: `model.save("model.keras")` in the notebook'


def load_foreign(
    path: Path,
    *,
    custom: Path | None = None,
    trust: bool = False,
    scores: str | None = None,
    shape: tuple[int, ...] | None = None,
) -> ForeignNetwork:
    """Loads a model of Keras, TensorFlow or TFLite, cut to the part that reads.

    Args:
        path: A `.keras` or `.h5` file of Keras 2 or 3, the folder of a SavedModel, or a `.tflite`
            file.
        custom: A Python file that defines layers of the author's own code; it is run.
        trust: Whether Python code in the model's file may run.
        scores: The layer whose output are the scores; None finds it.
        shape: The sizes of the input's axes without the batch, where the file leaves some open.

    Returns:
        The network. Its graph has been compared with the original on noise.

    Raises:
        ExportError: If the model can't be loaded or converted; the message names the option to
            type.
    """
    be_quiet()
    options = Options(custom, trust, scores, shape)
    format_ = format_of(path)
    if format_ in (Format.KERAS, Format.H5):
        return _from_keras(path, options)
    if format_ is Format.SAVED_MODEL:
        return _from_saved_model(path, options)
    if format_ is Format.TFLITE:
        return _from_tflite(path, options)
    if format_ is Format.HEADS:
        return _from_heads(path, options)
    raise ExportError(f"{path} is {format_.value}, which is read in another way")


def _from_keras(path: Path, options: Options) -> ForeignNetwork:
    architecture = read_architecture(path)
    with _naming(architecture.layers):
        return _from_layers(path, architecture, options)


def _from_layers(path: Path, architecture: Architecture, options: Options) -> ForeignNetwork:
    found = cut(architecture, options.scores) if architecture.layers else None
    model, keras = load_keras(architecture, found, options)
    shape = options.shape or _shape_of(model, architecture)
    check_sizes(path, shape)
    proto = trace_keras(model, shape, import_module(keras.partition(" ")[0]))
    network = tf.function(lambda rows: tf.nest.flatten(model(rows, training=False)))

    def run(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return to_scores([output.numpy() for output in network(tf.constant(rows))])

    helps = advice(architecture)
    graph, kind = finish(one_output(proto, path), run, path, advice=helps)
    origin = f"Keras {architecture.version} ({'.keras' if path.suffix == '.keras' else '.h5'})"
    network_ = ForeignNetwork(
        path=path,
        origin=origin,
        graph=graph,
        run=run,
        scores=kind,
        advice=helps,
        facts=_facts(path, origin, keras, architecture),
    )
    return _described(network_, architecture, found, changes(architecture))


@contextmanager
def _naming(layers: Iterable[str]) -> Iterator[None]:
    """Lets an error that asks for a layer name the last ones."""
    try:
        yield
    except ExportError as error:
        last = list(layers)[-8:]
        if ANOTHER not in str(error) or not last:
            raise
        raise ExportError(f"{error}; the last layers are {', '.join(last)}") from error


def _shape_of(model: Any, architecture: Architecture) -> tuple[int | None, ...]:  # noqa: ANN401
    """The sizes of the input's axes without the batch, None for an open one."""
    if getattr(model, "inputs", None):
        return tuple(model.inputs[0].shape)[1:]
    built = architecture.root.get("build_config") or {}  # of a class of one's own
    return tuple(built.get("input_shape") or ())[1:]


def _from_saved_model(path: Path, options: Options) -> ForeignNetwork:
    found = load_saved_model(path, options)
    # Before tf2onnx, which takes long to convert loops, and fuses only some of them.
    proto = without_loops(found.graph, found.image, found.scores)
    if proto is None:
        proto = to_onnx(found.graph, [found.image], found.scores)
    if LOOPS & operators(proto).keys():
        raise ExportError(
            f"{path} holds a masked or an unknown recurrent layer as a loop of single operations, "
            f"which is slow. {_SAVE_LAYERS}"
        )
    function = run_graph(found.graph, found.image, found.scores)
    half = is_half(proto)
    if half:
        proto = in_float32(proto)

    def run(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return to_scores(function(rows))

    with _naming(found.layers):
        graph, kind = finish(
            one_output(proto, path),
            run,
            path,
            allowed=ROUNDED if half else EXACT,
            advice=_SAVE_LAYERS,
        )
    architecture = read_metadata(path)
    origin = "SavedModel" if architecture is None else f"SavedModel of Keras {architecture.version}"
    facts = _facts(path, origin, f"tensorflow {tf.__version__}", architecture)
    network = ForeignNetwork(
        path=path,
        origin=origin,
        graph=graph,
        run=run,
        scores=kind,
        decoder=found.decoder or _by_shape(graph, len(found.scores)),
        blank=_index(found.blank, graph),
        cut=(*found.lines, *([f"numbers of 16 bits: {IN_FLOAT32}"] if half else [])),
        advice=_SAVE_LAYERS,
        facts={**facts, **({"precision": "float16"} if half else {})},
    )
    if architecture is None or not architecture.layers:
        return network
    try:
        return _described(network, architecture, cut(architecture), ())
    except ExportError:  # the description beside the operations is only a hint
        return network


def _from_tflite(path: Path, options: Options) -> ForeignNetwork:
    loaded = load_tflite(path)
    outputs = {value.name: value for value in loaded.proto.graph.output}
    names = list(outputs)
    if options.scores is not None:
        if options.scores not in outputs:
            raise ExportError(
                f"--scores: no output {options.scores!r}; there are {', '.join(names)}"
            )
        del loaded.proto.graph.output[:]
        loaded.proto.graph.output.append(outputs[options.scores])
    places = [names.index(value.name) for value in loaded.proto.graph.output]

    def run(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        found = loaded.run(rows)
        return to_scores([found[place] for place in places])

    allowed = ROUNDED if loaded.rounded else EXACT
    with _naming(names):
        proto = one_output(loaded.proto, path)
        graph, kind = finish(proto, run, path, allowed=allowed, advice=FROM_KERAS)
    facts = _facts(path, "TFLite", f"tensorflow {tf.__version__}", None)
    cuts: tuple[str, ...] = ()
    if loaded.rounded:
        facts["precision"] = "int8"
        cuts = (f"8 bits: ONNX rounds in another way, so probabilities may differ. {FROM_KERAS}",)
    decoder = _by_shape(graph, len(places))
    return ForeignNetwork(
        path, "TFLite", graph, run, kind, decoder, cut=cuts, advice=FROM_KERAS, facts=facts
    )


def _from_heads(folder: Path, options: Options) -> ForeignNetwork:
    """Loads several models of one position each as one network with several heads."""
    files = sorted(heads_of(folder), key=lambda file: natural(file.name))
    load = _from_saved_model if files[0].is_dir() else _from_keras
    networks = [load(file, options) for file in files]
    if {rank_of(network.graph) for network in networks} != {2}:
        raise ExportError(
            f"{folder}: each model in a folder has to answer (N, classes), one position"
        )
    proto = side_by_side([network.graph for network in networks])

    def run(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack([network.run(rows) for network in networks], axis=1)

    graph, kind = finish(one_output(proto, folder), run, folder)
    names = ", ".join(file.name for file in files)
    return replace(
        networks[0],
        path=folder,
        origin=f"{len(files)} models, one for each position: {names}",
        graph=graph,
        run=run,
        scores=kind,
        decoder="position",
        blank=None,
        cut=tuple(dict.fromkeys(line for network in networks for line in network.cut)),
        facts={**networks[0].facts, "file": folder.name, "sha256": sha256(folder), "files": names},
    )


def _described(
    network: ForeignNetwork,
    architecture: Architecture,
    found: Cut | None,
    changed: tuple[str, ...],
) -> ForeignNetwork:
    """Adds what the description in the file tells."""
    classes = int(network.graph.graph.output[0].type.tensor_type.shape.dim[-1].dim_value)
    fitting = [v for v in architecture.vocabularies if len(v) in (classes, classes - 1)]
    decoder = network.decoder or (None if found is None else found.decoder)
    blank = None if found is None else _index(found.blank, network.graph)
    return replace(
        network,
        decoder="glyph" if rank_of(network.graph) == 2 else decoder,
        vocabulary=fitting[0] if fitting else None,
        blank=network.blank if network.blank is not None else blank,
        cut=tuple(dict.fromkeys([*network.cut, *(found.lines if found else ()), *changed])),
    )


def _index(blank: int | None, graph: onnx.ModelProto) -> int | None:
    """The index of the blank, where -1 stands for the last class."""
    if blank is None:
        return None
    classes = graph.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    return blank % int(classes)


def _by_shape(graph: onnx.ModelProto, heads: int) -> Literal["position", "glyph"] | None:
    """How the scores are read, as far as the outputs' shapes tell."""
    if heads > 1:
        return "position"
    return "glyph" if rank_of(graph) == 2 else None


def _facts(path: Path, origin: str, runs: str, architecture: Architecture | None) -> dict[str, Any]:
    """What a model's card says about where the model comes from."""
    facts: dict[str, Any] = {
        "file": path.name,
        "sha256": sha256(path),
        "format": origin,
        "read by": runs,
    }
    if architecture is not None:
        layers = architecture.layers.values()
        facts["classes"] = sorted({layer.class_name for layer in layers})
    return facts


def sha256(path: Path) -> str:
    """The SHA-256 of a file, or of all files in a folder with their names."""
    digest = hashlib.sha256()
    if path.is_file():
        digest.update(path.read_bytes())
        return digest.hexdigest()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(path).as_posix()} {content}\n".encode())
    return digest.hexdigest()
