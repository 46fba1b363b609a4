"""The forms of a graph that compute in 8 bits, and how they are made from the float graph."""

import tempfile
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QDQQuantizer,
    QuantType,
    TensorData,
    TensorsData,
    create_calibrator,
    quantize_dynamic,
)

from captcha_rt.tiles import MARK
from captcha_rt_export.fold import fold_columns
from captcha_rt_export.graph import Graph

Part: TypeAlias = Literal["first", "inner", "last", "recurrent"]
"""A part of a graph that may compute in 8 bits: the products that see the picture, those that make
the scores, those between, and the LSTMs."""

Form: TypeAlias = frozenset[Part]
"""The parts that compute in 8 bits; the rest is float32."""

Ranges: TypeAlias = Mapping[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""The smallest and the largest value of each tensor on real pictures."""

FLOAT32: Final[Form] = frozenset()
INNER: Final[Form] = frozenset({"inner"})
PRODUCTS: Final[Form] = frozenset({"first", "inner", "last"})

_PRODUCTS: Final = "Conv", "MatMul", "Gemm"
_STEPS: Final = 64  # on each side of zero: 7 bits
_FILTERS, _WEIGHTS = 48, 320  # from so many filters, of so many weights each, tiles pay


def form_name(form: Form) -> str:
    """What computes in 8 bits, for people: `"float32"`, or such as `"8 bits: inner, last"`."""
    parts = [part for part in ("first", "inner", "last", "recurrent") if part in form]
    return f"8 bits: {', '.join(parts)}" if parts else "float32"


def forms(proto: onnx.ModelProto) -> list[Form]:
    """The forms in which a graph is worth to be measured, float32 first.

    The first products and the last are little of the work and most of the loss. LSTMs gain in 8
    bits wherever they lose nothing: with them goes every form but one.

    Args:
        proto: A graph of `convert`.
    """
    parts = set(find_parts(proto).values())
    products: list[Form] = [
        INNER,
        INNER | {"last"},
        INNER | {"first"},
        INNER | {"first", "last"},
    ]
    recurrent: Form = frozenset({"recurrent"})
    found = [FLOAT32, *products]
    if "recurrent" in parts:
        found = [FLOAT32, recurrent, INNER, *(form | recurrent for form in products)]
    return list(dict.fromkeys(form & parts for form in found))


def find_parts(proto: onnx.ModelProto) -> dict[str, Part]:
    """The part of each product and each LSTM, by the node's name.

    A product is of the first if none is before it, and of the last if none is behind it.
    """
    nodes = list(proto.graph.node)
    weighty = [node for node in nodes if node.op_type in (*_PRODUCTS, "LSTM")]
    behind: set[str] = set()  # the tensors that a product has made
    before: set[str] = set()  # the tensors that a product will take
    inner: dict[str, list[bool]] = {node.name: [False, False] for node in weighty}
    for node in nodes:
        if behind.intersection(node.input):
            behind.update(node.output)
            if node.name in inner:
                inner[node.name][0] = True
        elif node in weighty:
            behind.update(node.output)
    for node in reversed(nodes):
        if before.intersection(node.output):
            before.update(node.input)
            if node.name in inner:
                inner[node.name][1] = True
        elif node in weighty:
            before.update(node.input)
    found: dict[str, Part] = {}
    for node in weighty:
        after_one, before_one = inner[node.name]
        if node.op_type == "LSTM":
            found[node.name] = "recurrent"
        else:
            found[node.name] = ("inner" if after_one else "first") if before_one else "last"
    return found


def measure_ranges(proto: onnx.ModelProto, rows: NDArray[np.float32]) -> Ranges:
    """Measures the ranges of a graph's tensors.

    Args:
        proto: A graph of `convert`, with one input.
        rows: `(N, ...)` float32, inputs from real pictures.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        onnx.save(proto, path)
        calibrator = create_calibrator(
            path,
            [*_PRODUCTS, "Relu", "Add"],
            augmented_model_path=str(path.with_name("outputs.onnx")),
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(_Rows(proto.graph.input[0].name, rows))
        ranges: TensorsData = calibrator.compute_data()
    return {name: tensor.range_value for name, tensor in ranges.items()}


def quantize(proto: onnx.ModelProto, ranges: Ranges, form: Form) -> onnx.ModelProto:
    """Makes a graph that computes in 8 bits.

    Products get `QuantizeLinear` and `DequantizeLinear` around them, which onnxruntime fuses, and
    LSTMs become its `DynamicQuantizeLSTM`. Weights are signed, with a scale for each filter, and
    use 7 bits: with 8 bits, processors without VNNI add pairs of products with saturation.
    Activations are unsigned; their ranges are those that real pictures reach.

    Args:
        proto: A graph of `convert`; it is not changed.
        ranges: Its tensors' ranges.
        form: The parts that compute in 8 bits.
    """
    if not form:
        return proto
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    parts = find_parts(proto)
    chosen = {name for name, part in parts.items() if part in form and part != "recurrent"}
    if chosen:
        known = dict(ranges)
        graph = Graph(made)
        firsts = [node for node in graph.nodes if parts.get(node.name) == "first"]
        if "first" in form:
            _round_filters(graph, firsts)
            fold_columns(graph, firsts, known)
        else:
            _pool_in_float(graph, firsts)
        graph.tidy()
        made = _quantize_products(made, chosen, known)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantized.onnx"
        onnx.save(made, path)
        if "recurrent" in form:
            quantize_dynamic(
                path,
                path,
                ["LSTM"],
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
            )
        made = onnx.load(path)
    _mark_for_tiles(made)
    del made.graph.value_info[:]
    del made.metadata_props[:]
    made.ir_version = proto.ir_version
    made.producer_name = proto.producer_name
    return made


def _quantize_products(proto: onnx.ModelProto, chosen: Set[str], ranges: Ranges) -> onnx.ModelProto:
    """Puts the products, and the pointwise operators behind them, into 8 bits."""
    graph = Graph(proto)
    nodes = set(chosen)
    for node in graph.nodes:
        before = graph.makers.get(node.input[0]) if node.input else None
        if before is None:
            continue
        if node.op_type == "Relu" and before.name in chosen:
            nodes.add(node.name)
        if node.op_type == "Add" and before.op_type == "MaxPool":  # a shift of a normalisation
            user = graph.only_user(node.output[0])
            shift = graph.factor(node)
            if user is not None and user.name in chosen and shift is not None:
                nodes.add(node.name)
                _widen(graph, node, shift)
    graph.tidy()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        onnx.shape_inference.infer_shapes_path(_saved(proto, path), path)
        tensors = {
            name: TensorData(lowest=lowest, highest=highest)
            for name, (lowest, highest) in ranges.items()
        }
        quantizer = QDQQuantizer(
            onnx.load(path),
            per_channel=True,
            reduce_range=True,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, tensors),
            nodes_to_quantize=sorted(nodes),
            nodes_to_exclude=[],
            op_types_to_quantize=[*_PRODUCTS, "Relu", "Add"],
            extra_options={},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        made: onnx.ModelProto = quantizer.model.model
    graph = Graph(made)
    for node in [node for node in graph.nodes if node.name in chosen]:
        _leave_in_float(graph, node)
    return made


def _leave_in_float(graph: Graph, product: onnx.NodeProto) -> None:
    """Lets a dense layer return float32 where its bytes would only be turned into it again."""
    found = graph.chain(product, "QuantizeLinear", "DequantizeLinear")
    if product.op_type == "Conv" or found is None:
        return
    user = graph.only_user(found[1].output[0])
    if user is not None and user.op_type in ("Relu", *_PRODUCTS):
        return
    product.output[0] = found[1].output[0]
    for node in found:
        graph.nodes.remove(node)


def _mark_for_tiles(proto: onnx.ModelProto) -> None:
    """Marks the weights that `captcha_rt.tiles` may move, where convolutions gain by it."""
    graph = Graph(proto)
    for convolution in [node for node in graph.nodes if node.op_type == "Conv"]:
        node = graph.makers.get(convolution.input[1])
        if node is None or node.op_type != "DequantizeLinear" or len(node.input) < 3:
            continue
        weights, zeros = (graph.constant(name) for name in (node.input[0], node.input[2]))
        if weights is None or zeros is None or weights.dtype != np.int8 or zeros.any():
            continue
        if weights.max(initial=-128) > _STEPS:  # another exporter's: one more than 127 is no byte
            continue
        alone = all(len(graph.users(name)) == 1 for name in (*node.input, *node.output))
        if alone and len(weights) >= _FILTERS and weights[0].size >= _WEIGHTS:
            for place, values in ((0, weights), (2, zeros)):
                node.input[place] = graph.add_constant(f"{MARK}{node.input[place]}", values)
    graph.tidy()


def _saved(proto: onnx.ModelProto, path: Path) -> Path:
    onnx.save(proto, path)
    return path


def _widen(graph: Graph, node: onnx.NodeProto, shift: NDArray[np.float32]) -> None:
    """Repeats a shift for each channel along the width: runs of 32 bytes took 27 us, of 1920 19."""
    width = graph.shapes.get(node.output[0], [None])[-1]
    if width is not None and shift.ndim == 4 and shift.shape[-1] == 1:
        node.input[1] = graph.add_constant(node.input[1], np.repeat(shift, width, axis=-1))


def _round_filters(graph: Graph, convolutions: Iterable[onnx.NodeProto]) -> None:
    """Rounds weights to the steps of 8 bits, such that the errors of each filter add up to zero.

    Most of a picture is of one colour, to which a filter answers by the sum of its weights.
    """
    for convolution in convolutions:
        weights = graph.constant(convolution.input[1])
        if convolution.op_type != "Conv" or weights is None:
            continue
        flat = weights.reshape(len(weights), -1)
        steps = np.abs(flat).max(axis=1, keepdims=True) / _STEPS
        exact = np.divide(flat, steps, out=np.zeros_like(flat), where=steps > 0)
        rounded = np.round(exact)
        for values, errors in zip(rounded, rounded - exact, strict=True):
            excess = round(float(errors.sum()))
            up = np.sign(excess)
            for at in np.argsort(-up * errors)[: abs(excess)]:  # those that are too far already
                values[at] -= up
        made = (rounded * steps).astype(np.float32).reshape(weights.shape)
        convolution.input[1] = graph.add_constant(convolution.input[1], made)


def _pool_in_float(graph: Graph, convolutions: Iterable[onnx.NodeProto]) -> None:
    """Moves the ReLU of float convolutions behind their pooling, which gives the same.

    Else onnxruntime moves `QuantizeLinear` before the pooling, and pools bytes that lie channel by
    channel, for which it has no fast code: this took 0.8 of 1.4 ms.
    """
    for convolution in convolutions:
        found = graph.chain(convolution, "Relu", "MaxPool")
        if found is not None:
            graph.swap(found[0], found[1])


class _Rows(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Yields the inputs one by one, as onnxruntime's calibration asks for them."""

    def __init__(self, name: str, rows: NDArray[np.float32]) -> None:
        self._rows = iter([{name: row[None]} for row in rows])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._rows, None)
