"""Small changes to ONNX graphs: cut, in float32, with a free batch, other axes.

Each function returns a new graph; the one that it takes stays as it is.
"""

from collections.abc import Callable, Collection, Sequence
from itertools import zip_longest
from math import prod
from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

HALVES: Final = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_FLOATS: Final = (*HALVES, TensorProto.DOUBLE)
_PASSING: Final = ("Identity", "Transpose", "Squeeze", "Unsqueeze", "Reshape", "Concat")


def producers(proto: ModelProto) -> dict[str, NodeProto]:
    """The node that makes each tensor, by the tensor's name."""
    return {name: node for node in proto.graph.node for name in node.output}


def needed(proto: ModelProto, outputs: Sequence[str]) -> set[str]:
    """All tensors that some outputs are computed from, and the outputs."""
    made = producers(proto)
    found: set[str] = set()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        if name in made:
            waiting += filter(None, made[name].input)
    return found


def cut(proto: ModelProto, image: str, outputs: Sequence[str]) -> ModelProto:
    """Keeps what is computed from the picture on the way to some tensors, which are the outputs."""
    keep = needed(proto, outputs)
    result = copy(proto)
    graph = result.graph
    _replace(graph.node, [node for node in graph.node if keep & {*node.output}])
    _replace(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in keep])
    _replace(graph.input, [value for value in graph.input if value.name == image])
    known = {value.name: value for value in (*graph.output, *graph.value_info)}
    _replace(graph.output, [known.get(name) or ValueInfoProto(name=name) for name in outputs])
    return result


def is_half(proto: ModelProto) -> bool:
    """Whether a graph takes its picture, holds weights or computes in 16 bits."""
    casts = [node for node in proto.graph.node if node.op_type == "Cast"]
    types = [tensor.data_type for tensor in proto.graph.initializer]
    types += [attribute.i for node in casts for attribute in node.attribute]
    return not {proto.graph.input[0].type.tensor_type.elem_type, *types}.isdisjoint(HALVES)


def in_float32(proto: ModelProto) -> ModelProto:
    """Makes a graph of 16 or 64 bits compute in float32, with a float32 input.

    An input of whole numbers, as where the graph holds the preprocessing, becomes float32 too.
    """
    result = copy(proto)
    graph = result.graph
    for tensor in graph.initializer:
        if tensor.data_type in _FLOATS:
            tensor.CopyFrom(_tensor_in_float32(tensor))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i in _FLOATS:
                attribute.i = TensorProto.FLOAT
            elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type in _FLOATS:
                attribute.t.CopyFrom(_tensor_in_float32(attribute.t))
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type in _FLOATS:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    del graph.value_info[:]
    image = graph.input[0]
    if (kind := image.type.tensor_type.elem_type) != TensorProto.FLOAT:
        image.type.tensor_type.elem_type = TensorProto.FLOAT
        _rename_uses(result, image.name, "whole_numbers")
        graph.node.insert(0, helper.make_node("Cast", [image.name], ["whole_numbers"], to=kind))
    return result


def with_shape(
    proto: ModelProto, shape: Sequence[int | None], ranks: Sequence[int] = ()
) -> ModelProto:
    """Sets the axes of the input; None is the batch's `N`. The outputs' sizes are forgotten.

    Args:
        proto: The graph.
        shape: The axes of the input.
        ranks: The number of axes of each output, where they are known.
    """
    result = copy(proto)
    set_shape(result.graph.input[0], shape)
    del result.graph.value_info[:]
    for value, rank in zip_longest(result.graph.output, ranks):
        value.type.tensor_type.ClearField("shape")
        if rank is not None:
            axes = [f"{value.name}_{axis}" for axis in range(rank)]
            value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, axes))
    return result


def set_shape(value: ValueInfoProto, shape: Sequence[int | None]) -> None:
    """Sets the axes of an input or output, in place; None is the batch's `N`."""
    kind = value.type.tensor_type.elem_type or TensorProto.FLOAT
    sizes = ["N" if axis is None else axis for axis in shape]
    value.CopyFrom(helper.make_tensor_value_info(value.name, kind, sizes))


def free_batch(proto: ModelProto, batch: int) -> ModelProto:
    """Frees the batch of a graph that was exported for one size.

    The sizes that the exporter wrote into the graph are looked for in two places: in the shapes
    that `Reshape` takes, and in the first states of recurrent layers, which are zeros. Where a
    shape leaves open which axis is the batch, the parity test tells whether the choice was right.

    Args:
        proto: A simplified graph, so that all shapes are constants.
        batch: The size of the input's first axis.
    """
    fixed = _all_sizes(proto)
    image, ranks = fixed[proto.graph.input[0].name], [len(_sizes(v)) for v in proto.graph.output]
    result = with_shape(proto, [None, *image[1:]], ranks)
    constants = {tensor.name: tensor for tensor in result.graph.initializer}
    for node in result.graph.node:
        if node.op_type in ("LSTM", "GRU", "RNN"):
            for index in range(5, min(len(node.input), 7)):
                state = constants.get(node.input[index])
                if state is not None and not numpy_helper.to_array(state).any():
                    node.input[index] = ""  # zeros are the default, for any batch
    for node in result.graph.node:  # in the order of computation
        if node.op_type != "Reshape" or node.input[1] not in constants:
            continue
        free = _all_sizes(result).get(node.input[0], [])
        old, new = fixed.get(node.input[0]), fixed.get(node.output[0])
        if 0 in free and old and new:
            name = f"{node.output[0]}_shape"
            shape = np.asarray(_free_shape(new, old, free.index(0), batch), np.int64)
            result.graph.initializer.append(numpy_helper.from_array(shape, name))
            node.input[1] = name
    return result


def _free_shape(new: Sequence[int], old: Sequence[int], axis: int, batch: int) -> list[int]:
    """A shape whose batch axis is -1.

    Reshaping keeps the order of the numbers: the batch stays behind as many of them as before.

    Args:
        new: The new shape, for the batch that the graph was exported for.
        old: The shape before.
        axis: The axis of the old shape that holds the batch, alone or with time steps before it.
        batch: The size of the batch.
    """
    before = [prod(old[:axis]), prod(old[:axis]) * old[axis] // batch]
    starts = [prod(new[:index]) for index in range(len(new))]
    alone = [i for i, size in enumerate(new) if size == batch and starts[i] in before]
    shared = [i for i, size in enumerate(new) if starts[i] <= before[-1] <= starts[i] * size]
    freed = list(new)
    freed[(alone or shared or [0])[0]] = -1
    return freed


def with_prefix(proto: ModelProto) -> ModelProto:
    """Renames all tensors but the input, so that none has a name that is added later."""
    renamed: ModelProto = onnx.compose.add_prefix(proto, "network/", rename_inputs=False)
    return renamed


def with_outputs(
    proto: ModelProto, name: str, change: Callable[[list[str]], list[NodeProto]]
) -> ModelProto:
    """Replaces all outputs of a graph by one that is computed from them.

    Args:
        proto: The graph.
        name: The new output; the last node of `change` has to make it.
        change: Takes the names of the outputs, returns the nodes to append.
    """
    result = copy(proto)
    graph = result.graph
    graph.node.extend(change([value.name for value in graph.output]))
    _replace(graph.output, [_any_float(name)])
    return result


def with_reshaped_input(proto: ModelProto, shape: Sequence[int]) -> ModelProto:
    """Lets a graph take its input with other axes after the batch, of as many values."""
    result = copy(proto)
    [image] = result.graph.input
    constant(result, "taken_shape", [-1, *_sizes(image)[1:]])
    _rename_uses(result, image.name, "taken")
    node = helper.make_node("Reshape", [image.name, "taken_shape"], ["taken"])
    result.graph.node.insert(0, node)
    set_shape(image, [None, *shape])
    return result


def constant(proto: ModelProto, name: str, values: Collection[int]) -> None:
    """Adds whole numbers to a graph, in place."""
    proto.graph.initializer.append(numpy_helper.from_array(np.asarray(values, np.int64), name))


def last_node(proto: ModelProto, output: str) -> NodeProto | None:
    """The node that makes an output, past those that only pass it on; None if there is none."""
    made = producers(proto)
    while (node := made.get(output)) is not None and node.op_type == "Identity":
        output = node.input[0]
    return node


def without_softmax(proto: ModelProto) -> ModelProto | None:
    """Takes out the softmaxes that a graph ends with, one or one for each head.

    Returns:
        The graph with logits as its output; None if it doesn't end with a softmax. Whether the
        softmax was one over the classes, the caller has to check: then a softmax of the new output
        equals the old one.
    """
    result = copy(proto)
    made = producers(result)
    waiting = [result.graph.output[0].name]
    ends: list[NodeProto] = []
    while waiting:
        node = made.get(waiting.pop())
        if node is None:
            return None
        if node.op_type in ("Softmax", "LogSoftmax"):
            ends.append(node)
        elif node.op_type in _PASSING:
            waiting += node.input if node.op_type == "Concat" else node.input[:1]
        else:
            return None
    for node in ends:
        _rename_uses(result, node.output[0], node.input[0])
        node.op_type = "Identity"  # stays only where it makes the output
        del node.attribute[:]
    last = {value.name for value in result.graph.output}
    idle = [node for node in ends if node.output[0] not in last]
    _replace(result.graph.node, [node for node in result.graph.node if node not in idle])
    return result


def copy(proto: ModelProto) -> ModelProto:
    """A copy of a graph."""
    result = ModelProto()
    result.CopyFrom(proto)
    return result


def shape_of(value: ValueInfoProto) -> tuple[int | None, ...]:
    """The axes of an input or output; None where a size is free."""
    return tuple(size or None for size in _sizes(value))


def _sizes(value: ValueInfoProto) -> list[int]:
    """The axes of a tensor; 0 where a size is free."""
    return [axis.dim_value for axis in value.type.tensor_type.shape.dim]


def _all_sizes(proto: ModelProto) -> dict[str, list[int]]:
    """The axes of all tensors, as far as ONNX infers them; 0 where a size is free."""
    graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    return {v.name: _sizes(v) for v in (*graph.value_info, *graph.input, *graph.output)}


def _any_float(name: str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def _tensor_in_float32(tensor: TensorProto) -> TensorProto:
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)


def _rename_uses(proto: ModelProto, old: str, new: str) -> None:
    for node in proto.graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new


def _replace(field, values) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Replaces the values of a repeated field of a message."""
    kept = list(values)
    del field[:]
    field.extend(kept)
