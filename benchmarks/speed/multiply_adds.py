"""The work of a graph: multiply-adds and bytes of its dense, convolutional and recurrent layers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import onnx

# The operators that multiply, each with the positions of its two factors among the inputs.
_PRODUCTS: Final = {
    **dict.fromkeys(("MatMul", "Gemm", "Conv", "ConvTranspose", "LSTM", "GRU", "RNN"), (0, 1)),
    **dict.fromkeys(("MatMulInteger", "ConvInteger"), (0, 1)),
    **dict.fromkeys(("QLinearMatMul", "QLinearConv"), (0, 3)),
}


@dataclass(frozen=True, slots=True)
class Product:
    """A node that multiplies, and the smallest cost that it can have.

    Attributes:
        operator: The operator's name.
        multiply_adds: The number of multiply-adds for the whole batch.
        kind: `"int8"` or `"float32"`, the type of the factors.
        moved: The bytes of activations that the node reads and writes.
    """

    operator: str
    multiply_adds: int
    kind: str
    moved: int


def multiply_adds(proto: onnx.ModelProto, batch: int = 1) -> int:
    """The multiply-adds of a graph.

    Args:
        proto: A graph whose inputs have the batch as first axis; in float32 or quantised.
        batch: The batch size.

    Raises:
        ValueError: If a shape can't be known.
    """
    return sum(product.multiply_adds for product in products(proto, batch))


def products(proto: onnx.ModelProto, batch: int = 1) -> list[Product]:
    """The products of a graph, in order.

    Each value between two products counts as written once and read once, in one byte if it is
    quantised and in four if not: an ideal product would apply activation and rounding itself.

    Args:
        proto: A graph whose inputs have the batch as first axis; in float32 or quantised.
        batch: The batch size.

    Raises:
        ValueError: If a shape can't be known.
    """
    shapes = infer_shapes(proto, batch)
    constants = {tensor.name for tensor in proto.graph.initializer}
    producers = {name: node for node in proto.graph.node for name in node.output}

    def dequantised(name: str) -> bool:
        return name in producers and producers[name].op_type == "DequantizeLinear"

    def is_weight(name: str) -> bool:
        return name in constants or (dequantised(name) and producers[name].input[0] in constants)

    def shape(name: str) -> tuple[int, ...]:
        if name not in shapes:
            raise ValueError(f"the shape of {name!r} can't be known")
        return shapes[name]

    found = []
    for node in proto.graph.node:
        if node.op_type not in _PRODUCTS:
            continue
        factors = [node.input[place] for place in _PRODUCTS[node.op_type]]
        linear = node.op_type.startswith("QLinear")
        int8 = linear or "Integer" in node.op_type or all(map(dequantised, factors))
        read = sum(math.prod(shape(name)) for name in factors if not is_weight(name))
        written = sum(math.prod(shape(name)) for name in node.output if name)
        writes_int8 = linear or _is_quantised(proto, node.output[0])
        moved = read * (1 if int8 else 4) + written * (1 if writes_int8 else 4)
        count = _count(node, shape)
        found.append(Product(node.op_type, count, "int8" if int8 else "float32", moved))
    return found


def infer_shapes(proto: onnx.ModelProto, batch: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a graph's values by name; unknown shapes are missing.

    Args:
        proto: A graph whose inputs have the batch as first axis.
        batch: The batch size.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    for value in fixed.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = batch
    graph = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        axes = value.type.tensor_type.shape.dim
        ranked = value.type.tensor_type.HasField("shape")
        if ranked and all(axis.HasField("dim_value") for axis in axes):
            shapes[value.name] = tuple(axis.dim_value for axis in axes)
    return shapes


def _is_quantised(proto: onnx.ModelProto, name: str) -> bool:
    """Whether all nodes that use a value quantise it, directly or after a ReLU."""
    users = [node for node in proto.graph.node if name in node.input]
    return bool(users) and all(
        node.op_type == "QuantizeLinear"
        or (node.op_type == "Relu" and _is_quantised(proto, node.output[0]))
        for node in users
    )


def _count(node: onnx.NodeProto, shape: Callable[[str], tuple[int, ...]]) -> int:
    """The multiply-adds of one product."""
    left, right = (shape(node.input[place]) for place in _PRODUCTS[node.op_type])
    if node.op_type in ("LSTM", "GRU", "RNN"):  # (T, N, ...); each step has all gates' weights
        return math.prod(left[:2]) * (math.prod(right) + math.prod(shape(node.input[2])))
    if node.op_type == "ConvTranspose":  # each input meets all weights of its channel
        return math.prod(left) * math.prod(right[1:])
    results = math.prod(shape(node.output[0]))
    if "Conv" in node.op_type:  # each result needs all weights of its filter
        return results * math.prod(right[1:])
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return results * left[-2 if transposed else -1]
