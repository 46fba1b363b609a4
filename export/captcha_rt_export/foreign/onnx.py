"""Loads `.onnx` files that other exporters wrote: tf2onnx, PyTorch, Keras itself, and others."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote
from typing import Any, Final

import numpy as np
import onnx
import onnx.version_converter
import onnxsim
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from captcha_rt.errors import ManifestError, NoManifestError
from captcha_rt.model import detach
from captcha_rt.session import import_onnxruntime
from captcha_rt_export.convert import IR_VERSION, OPSET, check_graph
from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.arrangement import Arrangement, listed
from captcha_rt_export.foreign.network import ForeignNetwork
from captcha_rt_export.foreign.surgery import (
    cut,
    free_batch,
    in_float32,
    is_half,
    last_node,
    needed,
    producers,
    set_shape,
    shape_of,
    with_shape,
)

_FLOATS: Final = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_PICTURES: Final = (*_FLOATS, TensorProto.UINT8)
_DOMAINS: Final = ("", "ai.onnx")
_OLDEST: Final = 13
"""The oldest opset that is taken as it is; since then axes are inputs of more operators."""

_CHOICES: Final = ("ArgMax", "TopK")  # what picks the best class


def load_onnx(
    path: Path, *, scores: str | None = None, shape: Sequence[int] | None = None
) -> ForeignNetwork:
    """Loads an ONNX file of another exporter, cut to the part that reads.

    Args:
        path: The file.
        scores: The tensor with the scores, or several heads with commas between them; None finds
            it out.
        shape: The input's axes after the batch, for those that the file leaves free.

    Raises:
        ExportError: If the file is one of captcha-rt's own or is damaged, or its input, its output
            or its batch can't be found out.
    """
    data = _read(path)
    original = _parse(path, data)
    names, notes = choose_outputs(original, scores)
    image = _choose_input(original, names)
    original = cut(original, image, names)
    _check_operators(path, original)
    given = shape_of(original.graph.input[0])
    batch = given[0]
    _check_axes(path, given, shape)
    axes = [size or wanted for size, wanted in zip(given[1:], shape or given[1:], strict=False)]
    run = _runner(with_shape(original, [batch, *axes]))
    arranged = Arrangement(run, len(names), [int(size or 0) for size in axes], batch)
    graph = _simplify(path, with_shape(in_float32(original), [batch, *axes], arranged.ranks), batch)
    graph = arranged.append_to(graph)
    _finish(graph, [None, *arranged.shape])
    try:
        check_graph(graph)
    except ExportError as error:
        raise ExportError(
            f"{path}: {error}. This is another exporter's file: name the Keras model itself, or "
            "export it again from PyTorch in evaluation mode with the batch as its only free axis"
        ) from error
    vocabulary = _vocabulary(original, arranged.shape)
    return ForeignNetwork(
        path=path,
        origin="ONNX",
        graph=graph,
        run=arranged.run,
        scores=arranged.scores,
        decoder="position" if len(names) > 1 else "ctc" if vocabulary else None,
        vocabulary=vocabulary,
        blank=0 if vocabulary else None,
        cut=tuple(notes),
        facts={
            "file": path.name,
            "sha256": hashlib.sha256(data).hexdigest(),
            "exporter": f"{original.producer_name} {original.producer_version}".strip(),
            **({"precision": "float16"} if is_half(original) else {}),
        },
    )


def _vocabulary(proto: ModelProto, axes: tuple[int, ...]) -> tuple[str, ...] | None:
    """The characters of a PaddleOCR recogniser, which RapidOCR's files hold; None of others.

    The blank stands before them, and in most of these networks a space after them.
    """
    held = {entry.key: entry.value for entry in proto.metadata_props}.get("character", "")
    characters = tuple(held.splitlines())
    for texts in (characters, (*characters, " ")):
        if characters and len(axes) == 2 and len(texts) == axes[-1] - 1:
            return texts
    return None


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ExportError(f"can't read {path}: {error.strerror or error}") from error
    try:
        name = detach(data).name
    except NoManifestError:
        return data
    except ManifestError as error:
        raise ExportError(f"{path}: {error}") from error
    raise ExportError(
        f"{path} is already a model of captcha-rt, named {name!r}: use it with "
        f"`captcha-rt solve PICTURE --model {quote(str(path))}`"
    )


def _parse(path: Path, data: bytes) -> ModelProto:
    try:
        proto: ModelProto = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own, which has no types
        raise ExportError(f"{path} is no ONNX model, or is cut off") from error
    try:
        onnx.external_data_helper.load_external_data_for_model(proto, str(path.parent))
        proto = onnx.shape_inference.infer_shapes(proto)
    except Exception as error:  # ONNX raises many kinds
        reason = (str(error).splitlines() or [""])[0]
        raise ExportError(
            f"{path}: {reason}; if it keeps its weights in another file, put that beside it"
        ) from error
    if not proto.graph.node:
        raise ExportError(f"{path} is no ONNX model, or one without a node")
    opset = max(entry.version for entry in proto.opset_import if entry.domain in _DOMAINS)
    if opset >= _OLDEST:
        return proto
    try:
        return onnx.version_converter.convert_version(proto, _OLDEST)
    except Exception as error:  # a C++ error without a type
        reason = (str(error).splitlines() or [""])[0]
        raise ExportError(
            f"{path} has the old opset {opset}, and can't be brought to {_OLDEST} ({reason}): "
            f"export it again with opset_version={OPSET}"
        ) from error


def choose_outputs(proto: ModelProto, wanted: str | None) -> tuple[list[str], list[str]]:
    """The tensors with the scores, and lines that say what is cut off after them.

    Args:
        proto: The graph.
        wanted: The tensors that the user names, with commas between them; None finds them.

    Raises:
        ExportError: If there is no such tensor, or no or more than one choice.
    """
    made = producers(proto)
    if wanted is not None:
        names = wanted.split(",")
        unknown = [name for name in names if name not in made]
        if unknown:
            raise ExportError(
                f"--scores: no tensor {unknown[0]!r}; the outputs are "
                f"{', '.join(value.name for value in proto.graph.output)}"
            )
        return _past_sigmoids(proto, names, [])
    values = {value.name: value.type.tensor_type for value in proto.graph.output}
    floats = [name for name, kind in values.items() if kind.elem_type in _FLOATS]
    dropped = [name for name in values if name not in floats]
    notes = [f"the output {name}, which holds no scores" for name in dropped]
    if not floats:
        chosen = [n for n in proto.graph.node if n.op_type in _CHOICES]
        keep = needed(proto, list(values))
        tensors = list(dict.fromkeys(n.input[0] for n in chosen if n.output[0] in keep))
        if not tensors:
            raise ExportError(
                f"no output holds scores: {_described(proto.graph.output)}; name the tensor before "
                "the decoding by --scores NAME"
            )
        return _past_sigmoids(proto, tensors, [*notes, "what picks the best class"])
    ranks = {name: len(values[name].shape.dim) for name in floats}
    lines = [name for name in floats if ranks[name] >= 3]
    if len(lines) == 1 and len(floats) > 1:
        notes += [f"the output {name}" for name in floats if name not in lines]
        floats = lines
    elif len(lines) > 1:
        raise ExportError(
            f"several outputs may hold the scores: {_described(proto.graph.output)}; choose one: "
            f"--scores {lines[0]}"
        )
    return _past_sigmoids(proto, floats, notes)


def _past_sigmoids(
    proto: ModelProto, names: list[str], notes: list[str]
) -> tuple[list[str], list[str]]:
    """Goes before a sigmoid: the best class is the same, and a softmax makes probabilities."""
    nodes = [last_node(proto, name) for name in names]
    if all(node is not None and node.op_type == "Sigmoid" for node in nodes):
        before = [node.input[0] for node in nodes if node is not None]
        return before, [*notes, "the sigmoid at the end; a softmax takes its place"]
    return names, notes


def _choose_input(proto: ModelProto, outputs: Sequence[str]) -> str:
    """The picture's input."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    keep = needed(proto, outputs)
    inputs = [v for v in proto.graph.input if v.name not in weights and v.name in keep]
    if len(inputs) == 1 and inputs[0].type.tensor_type.elem_type in _PICTURES:
        return str(inputs[0].name)
    pictures = [v for v in inputs if len(v.type.tensor_type.shape.dim) == 4]
    seen = _described(inputs)
    if len(pictures) == 1:
        others = ", ".join(v.name for v in inputs if v.name != pictures[0].name)
        raise ExportError(
            f"the scores {', '.join(outputs)} also depend on the input {others}: {seen}; name the "
            "tensor before that by --scores NAME, or export the model without it"
        )
    raise ExportError(
        f"the model takes {seen or 'nothing'}; a reader takes one picture of float32, so export "
        "it again with that input alone, or name the tensor with the scores by --scores NAME"
    )


def _check_operators(path: Path, proto: ModelProto) -> None:
    """Refuses operators that only some builds of onnxruntime know, such as a quantised LSTM."""
    foreign = {f"{n.domain}.{n.op_type}" for n in proto.graph.node if n.domain not in _DOMAINS}
    if foreign:
        raise ExportError(
            f"{path} holds operators that are not ONNX's own: {', '.join(sorted(foreign))}; export "
            "it again in float32, without quantisation or optimisation"
        )


def _check_axes(path: Path, given: tuple[int | None, ...], shape: Sequence[int] | None) -> None:
    """Checks that a size is known for each axis of the input after the batch."""
    if None in given[1:] and (shape is None or len(shape) != len(given) - 1):
        seen = "x".join("?" if size is None else str(size) for size in given[1:])
        raise ExportError(
            f"{path} takes {listed([given])} and leaves the size free, which a model file doesn't: "
            f"name it, with a number for each ?, by --input-shape {seen}, or by a --recipe that "
            "makes it"
        )


def _runner(proto: ModelProto) -> Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Runs the original graph on one batch, in the number format that it has."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session: Any = ort.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's exceptions share no base class
        reason = (str(error).splitlines() or [""])[0]
        raise ExportError(
            f"onnxruntime can't load the model: {reason}; if its opset is too new, export it "
            f"again with opset {OPSET}"
        ) from error
    [image] = session.get_inputs()
    kind = {"tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}
    dtype = kind.get(image.type, np.float32)

    def run(rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        fed = np.rint(rows) if dtype == np.uint8 else rows
        return [s.astype(np.float32) for s in session.run(None, {image.name: fed.astype(dtype)})]

    return run


def _simplify(path: Path, proto: ModelProto, batch: int | None) -> ModelProto:
    """The graph with constants folded, with a free batch."""
    try:
        graph: ModelProto = onnxsim.simplify(proto)[0]
        if batch:
            graph = onnxsim.simplify(free_batch(graph, batch))[0]
    except Exception as error:  # onnxsim raises whatever onnxruntime and ONNX raise
        reason = (str(error).splitlines() or [""])[0]
        free = (
            "; its batch is fixed, which may be the reason: export it again with a free batch"
            if batch
            else ""
        )
        raise ExportError(f"{path} can't be simplified: {reason}{free}") from error
    return graph


def _finish(graph: ModelProto, shape: Sequence[int | None]) -> None:
    """Removes what another exporter left, and writes down the axes of the output, in place."""
    del graph.graph.value_info[:]
    del graph.metadata_props[:]
    del graph.functions[:]
    set_shape(graph.graph.output[0], shape)
    used = {node.domain for node in graph.graph.node}
    for opset in [opset for opset in graph.opset_import if opset.domain not in used]:
        graph.opset_import.remove(opset)
    if max(opset.version for opset in graph.opset_import) <= OPSET:
        graph.ir_version = IR_VERSION
    graph.producer_name, graph.producer_version = "captcha-rt-export", ""
    graph.doc_string = graph.graph.doc_string = ""
    for node in graph.graph.node:
        node.doc_string = ""  # PyTorch writes the stack of the exporter's machine into it
        del node.metadata_props[:]


def _described(values: Sequence[onnx.ValueInfoProto]) -> str:
    return ", ".join(
        f"{v.name} {listed([shape_of(v)])} "
        f"{TensorProto.DataType.Name(v.type.tensor_type.elem_type).lower()}"
        for v in values
    )
