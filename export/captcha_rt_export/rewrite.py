"""Rewrites a float graph so that it does less work for the same results.

The results differ by float32's rounding only. It is what onnxruntime leaves as it is.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from captcha_rt_export.graph import AFFINE, Graph, ints

_POINTWISE: Final = frozenset({"Relu", *AFFINE})  # with a constant, of one other factor


def rewrite(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Rewrites a float graph until nothing more can be left out.

    Args:
        proto: A graph of standard operators, with constant weights; it is not changed. One with
            loops or branches is left as it is.

    Returns:
        A graph with the same inputs, outputs and results.
    """
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(proto)
    if any(attribute.HasField("g") for node in proto.graph.node for attribute in node.attribute):
        return rewritten  # loops and branches, whose bodies use tensors as well
    del rewritten.graph.value_info[:]  # shapes that change
    while any(rule(Graph(rewritten)) for rule in _RULES):
        pass
    Graph(rewritten).tidy()
    for number, node in enumerate(rewritten.graph.node):
        node.name = node.name or f"node_{number}"
    return rewritten


def _turn_constants(graph: Graph) -> bool:
    """Transposes the constants of a normalisation instead of its input and result."""
    for first in graph.nodes:
        if first.op_type != "Transpose":
            continue
        middle: list[onnx.NodeProto] = []
        last = graph.only_user(first.output[0])
        while last is not None and graph.factor(last) is not None:
            middle.append(last)
            last = graph.only_user(last.output[0])
        if last is None or last.op_type != "Transpose" or not middle:
            continue
        there, back = (ints(node, "perm") for node in (first, last))
        factors = [graph.factor(node) for node in middle]
        if (
            not there
            or [there[axis] for axis in back] != sorted(there)
            or any(factor is None or factor.ndim != len(there) for factor in factors)
        ):
            continue
        for node, factor in zip(middle, factors, strict=True):
            assert factor is not None  # noqa: S101  (for the type checker)
            node.input[1] = graph.add_constant(node.input[1], factor.transpose(back))
        graph.bypass(first)
        graph.bypass(last)
        return True
    return False


def _fold_scales(graph: Graph) -> bool:
    """Scales a convolution's weights instead of what its ReLU returns, where no scale is negative.

    A scale for each channel is what a batch normalisation after a ReLU leaves. In float32 it takes
    a thirtieth of the ensemble's time, in 8 bits a tenth.
    """
    for convolution in graph.nodes:
        if convolution.op_type != "Conv":
            continue
        found = graph.chain(convolution, "Relu", "Mul")
        scale = graph.factor(found[1]) if found else None
        weights = graph.constant(convolution.input[1])
        if found is None or scale is None or weights is None or not _per_channel(scale, weights):
            continue
        if (scale <= 0).any() or any(
            graph.constant(name) is None for name in convolution.input[2:]
        ):
            continue
        flat = scale.reshape(-1)
        by_filter = flat.reshape(-1, *[1] * (weights.ndim - 1))
        convolution.input[1] = graph.add_constant(convolution.input[1], weights * by_filter)
        for name in convolution.input[2:]:  # the bias, if there is one
            bias = graph.constant(name)
            if bias is not None:
                convolution.input[2] = graph.add_constant(name, bias * flat)
        graph.bypass(found[1])
        return True
    return False


def _per_channel(constant: NDArray[np.float32], weights: NDArray[np.float32]) -> bool:
    """Whether a constant holds a number for each of a convolution's filters."""
    return constant.shape[-weights.ndim + 1 :] == (len(weights), *[1] * (weights.ndim - 2))


def _pool_first(graph: Graph) -> bool:
    """Pools before a number is added for each channel, so that there is a quarter to add to."""
    for pool in graph.nodes:
        before = graph.makers.get(pool.input[0]) if pool.op_type == "MaxPool" else None
        if before is None or before.op_type != "Add" or graph.only_user(pool.input[0]) is None:
            continue
        constant = graph.factor(before)
        if constant is None or len(pool.output) > 1:
            continue
        if constant.ndim and set(constant.shape[-len(ints(pool, "kernel_shape")) :]) != {1}:
            continue  # it differs from row to row
        graph.swap(before, pool)
        return True
    return False


def _flat_longer(graph: Graph) -> bool:
    """Reshapes the rows of a dense layer only after its bias and ReLU."""
    for reshape in graph.nodes:
        if reshape.op_type != "Reshape":
            continue
        before, after = (
            graph.shapes.get(name, []) for name in (reshape.input[0], reshape.output[0])
        )
        user = graph.only_user(reshape.output[0])
        if user is None or user.op_type not in _POINTWISE or len(before) != 2:
            continue
        factor = graph.factor(user)
        if user.op_type in AFFINE and (factor is None or factor.ndim > 1):
            continue
        if before[-1] is not None and before[-1:] == after[-1:]:
            graph.swap(reshape, user)
            return True
    return False


def _reshape_once(graph: Graph) -> bool:
    """Leaves rows flat between two dense layers."""
    for first in graph.nodes:
        second = graph.only_user(first.output[0]) if first.op_type == "Reshape" else None
        if second is None or second.op_type != "Reshape":
            continue
        before, after = (graph.shapes.get(name, []) for name in (first.input[0], second.output[0]))
        if len(before) == len(after) == 2 and before[1] is not None and before[1] == after[1]:
            graph.bypass(first)
            graph.bypass(second)
            return True
    return False


def _join_bias(graph: Graph) -> bool:
    """Makes one operator of a dense layer's product and bias, so that 8 bits take both."""
    for product in graph.nodes:
        if product.op_type != "MatMul" or len(graph.shapes.get(product.input[0], [])) != 2:
            continue
        weights = graph.constant(product.input[1])
        found = graph.chain(product, "Add")
        bias = graph.factor(found[0]) if found else None
        if found is None or weights is None or bias is None or bias.shape != weights.shape[1:]:
            continue
        product.op_type = "Gemm"
        product.input.append(found[0].input[1])
        product.output[0] = found[0].output[0]
        graph.nodes.remove(found[0])
        return True
    return False


def _join_heads(graph: Graph) -> bool:
    """Multiplies once where several dense layers of one input end side by side."""
    for concat in graph.nodes:
        if concat.op_type != "Concat" or len(concat.input) < 2:
            continue
        heads = [list(_head(graph, name)) for name in concat.input]
        if not all(len(head) == 3 for head in heads):
            continue
        products, sums, reshapes = zip(*heads, strict=True)
        if len({product.input[0] for product in products}) > 1:
            continue
        shape = graph.shapes.get(reshapes[0].output[0], [])
        width = graph.shapes.get(products[0].output[0], [None])[-1]
        if len(shape) != 3 or shape[1:] != [1, width] or ints(concat, "axis") not in ([1], [-2]):
            continue
        weights = [graph.constant(product.input[1]) for product in products]
        biases = [graph.factor(addition) for addition in sums]
        if any(w is None or w.shape != weights[0].shape for w in weights) or any(  # type: ignore[union-attr]
            b is None or b.ndim != 1 for b in biases
        ):
            continue
        name = concat.output[0]
        joined = graph.add_constant(products[0].input[1], np.concatenate(weights, axis=1))  # type: ignore[arg-type]
        bias = graph.add_constant(sums[0].input[1], np.concatenate(biases))  # type: ignore[arg-type]
        to = graph.add_constant("heads", np.array([-1, len(heads), int(width or 0)], np.int64))
        make = onnx.helper.make_node
        graph.insert(
            concat,
            make("MatMul", [products[0].input[0], joined], [f"{name}_product"], f"{name}_product"),
            make("Add", [f"{name}_product", bias], [f"{name}_sum"], f"{name}_sum"),
            make("Reshape", [f"{name}_sum", to], [name], f"{name}_heads"),
        )
        graph.nodes.remove(concat)
        graph.tidy()
        return True
    return False


def _head(graph: Graph, name: str) -> Iterator[onnx.NodeProto]:
    """A dense layer that ends in a tensor: the product, the sum and the reshape."""
    found: list[onnx.NodeProto] = []
    for operator in ("Reshape", "Add", "MatMul"):
        node = graph.makers.get(name)
        if node is None or node.op_type != operator or graph.only_user(name) is None:
            return
        found.append(node)
        name = node.input[0]
    yield from reversed(found)


def _fold_shifts(graph: Graph) -> bool:
    """Adds a normalisation's shift to the bias of a dense layer instead of to the features."""
    for shift in graph.nodes:
        values = graph.factor(shift) if shift.op_type == "Add" else None
        found = graph.chain(shift, "Transpose", "Reshape", "Gemm")
        if values is None or found is None or found[2].attribute:
            continue
        weights, bias = (graph.constant(name) for name in found[2].input[1:])
        shape = [1, *(side or 0 for side in graph.shapes.get(shift.output[0], [])[1:])]
        if weights is None or bias is None or len(weights) != np.prod(shape):
            continue
        features = np.broadcast_to(values, shape).transpose(ints(found[0], "perm")).reshape(-1)
        folded = bias + (features.astype(np.float64) @ weights).astype(np.float32)
        found[2].input[2] = graph.add_constant(found[2].input[2], folded)
        graph.bypass(shift)
        return True
    return False


def _join_directions(graph: Graph) -> bool:
    """Puts a recurrent layer's two directions side by side by one transposition."""
    for layer in graph.nodes:
        if layer.op_type not in ("LSTM", "GRU"):
            continue
        cuts: dict[str, list[object]] = {}
        concat: onnx.NodeProto | None = None
        for user in graph.users(layer.output[0]):
            found = graph.chain(user, "Squeeze", "Concat")
            if found is not None and user.op_type == "Slice" and len(user.input) == 4:
                concat = found[1]
                start_and_axis = (graph.constant(user.input[at]) for at in (1, 3))
                values = [None if value is None else value.tolist() for value in start_and_axis]
                cuts[found[0].output[0]] = values
        if concat is None or ints(concat, "axis") not in ([2], [-1]):
            continue
        if [cuts.get(half) for half in concat.input] != [[[0], [1]], [[1], [1]]]:
            continue
        name = concat.output[0]
        to = graph.add_constant("directions", np.array([0, 0, -1], np.int64))
        make = onnx.helper.make_node
        turned = make("Transpose", [layer.output[0]], [f"{name}_turned"], perm=[0, 2, 1, 3])
        graph.insert(concat, turned, make("Reshape", [f"{name}_turned", to], [name]))
        graph.nodes.remove(concat)
        graph.tidy()
        return True
    return False


def _trim(graph: Graph) -> bool:
    """Leaves out the last rows and columns of a convolution that a pooling drops.

    A pooling of 2 x 2 drops the last of 15 columns: a quarter of the ensemble's last convolutions
    is computed for nothing.
    """
    for pool in graph.nodes:
        size = graph.shapes.get(pool.input[0], [])[2:] if pool.op_type == "MaxPool" else []
        if None in size or any(ints(pool, "pads")) or any(ints(pool, "ceil_mode")):
            continue
        kernel = ints(pool, "kernel_shape")
        steps = ints(pool, "strides") or [1] * len(kernel)
        for axis, (side, step, taken) in enumerate(zip(size, steps, kernel, strict=False)):
            dropped = (side - taken) % step  # type: ignore[operator]  # None was ruled out
            edits: list[Callable[[], None]] = []
            if dropped and _can_shrink(graph, pool.input[0], axis, dropped, edits):
                for edit in edits:
                    edit()
                return True
    return False


def _can_shrink(
    graph: Graph, name: str, axis: int, by: int, edits: list[Callable[[], None]]
) -> bool:
    """Whether a tensor can be computed without its last rows or columns.

    Args:
        graph: The graph.
        name: The tensor's name.
        axis: The spatial axis, from 0.
        by: The number of rows or columns to leave out, at least one.
        edits: Gets what has to be done to leave them out.
    """
    node = graph.makers.get(name)
    if node is None or graph.only_user(name) is None:
        return False
    step = (ints(node, "strides") or [1] * 9)[axis]
    match node.op_type:
        case "Relu":
            pass
        case "Mul" | "Add":
            constant = graph.factor(node)
            shape = graph.shapes[name]
            if constant is None or (constant.ndim and constant.ndim != len(shape)):
                return False
            if constant.ndim and constant.shape[axis + 2] > 1:
                kept = np.take(constant, range(constant.shape[axis + 2] - by), axis + 2)
                edits.append(partial(_set_input, graph, node, 1, kept))
        case "MaxPool" if not any(ints(node, "pads")) and not any(ints(node, "ceil_mode")):
            by *= step
        case "Conv" if step == 1 and not ints(node, "auto_pad"):
            pads = next((a for a in node.attribute if a.name == "pads"), None)
            if pads is not None:
                end = len(pads.ints) // 2 + axis
                saved = min(by, pads.ints[end])
                edits.append(partial(pads.ints.__setitem__, end, pads.ints[end] - saved))
                by -= saved
        case _:
            return False
    return by == 0 or _can_shrink(graph, node.input[0], axis, by, edits)


def _set_input(graph: Graph, node: onnx.NodeProto, at: int, values: NDArray[np.float32]) -> None:
    node.input[at] = graph.add_constant(node.input[at], values)


_RULES: Final[Sequence[Callable[[Graph], bool]]] = (
    _turn_constants,
    _fold_scales,
    _pool_first,
    _flat_longer,
    _reshape_once,
    _join_heads,
    _join_bias,
    _fold_shifts,
    _join_directions,
    _trim,
)
