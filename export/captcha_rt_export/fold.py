"""Folds the columns of a picture into channels, for a first convolution in 8 bits."""

from collections.abc import Iterable
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from captcha_rt_export.graph import Graph, ints

_CHANNELS: Final = 4  # onnxruntime's fast 8-bit convolutions take input channels in fours
_FILTERS: Final = 32  # two of its registers


def fold_columns(
    graph: Graph,
    convolutions: Iterable[onnx.NodeProto],
    ranges: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]],
) -> None:
    """Makes channels of neighbouring columns of the picture that convolutions see.

    A picture has one or three channels, for which onnxruntime has no fast 8-bit convolution. Its
    columns lie side by side in memory, so a reshape makes one column of four, with four times the
    channels. With a filter for each column of the result that becomes one the numbers are the same.
    There are more zeros to multiply, and yet the general model takes 0.84 of the time.

    Args:
        graph: A graph of `convert`, which is changed.
        convolutions: Its first convolutions; those whose picture can't be folded stay as they are.
        ranges: The smallest and the largest value of each tensor; gets those of the new ones.
    """
    folded: dict[tuple[str, int], str] = {}
    for convolution in convolutions:
        columns = _columns(graph, convolution)
        if columns is None:
            continue
        picture = convolution.input[0]
        if (picture, columns) not in folded:
            name = folded[picture, columns] = _fold_picture(graph, convolution, columns)
            if picture in ranges:
                lowest, highest = ranges[picture]
                zero = np.zeros_like(lowest)  # the padding
                ranges[name] = np.minimum(lowest, zero), np.maximum(highest, zero)
        _fold_kernels(graph, convolution, columns)
        found = graph.chain(convolution, "Relu")
        last = found[0] if found else convolution
        result = last.output[0]
        _unfold(graph, last)
        if result in ranges:
            ranges[last.output[0]] = ranges[result]
        convolution.input[0] = folded[picture, columns]


def _columns(graph: Graph, convolution: onnx.NodeProto) -> int | None:
    """The number of columns to see as one; None if the convolution or the width doesn't allow it.

    It is the smallest that gives as many filters as fill onnxruntime's registers.
    """
    weights = graph.constant(convolution.input[1])
    if convolution.op_type != "Conv" or weights is None or weights.ndim != 4:
        return None
    sides = [*graph.shapes.get(convolution.input[0], []), *graph.shapes[convolution.output[0]]]
    if weights.shape[1] % _CHANNELS == 0 or len(sides) != 8 or None in (*sides[1:4], *sides[5:]):
        return None
    if any(graph.constant(name) is None for name in convolution.input[2:]):
        return None
    if ints(convolution, "group") not in ([], [1]) or ints(convolution, "auto_pad"):
        return None
    if ints(convolution, "dilations") not in ([], [1, 1]):
        return None
    step = (ints(convolution, "strides") or [1, 1])[1]
    before, after = int(sides[3] or 0), int(sides[7] or 0)
    possible = [
        columns
        for columns in (_CHANNELS, 2 * _CHANNELS)
        if not (columns % step or before % columns or after % (columns // step))
    ]
    full = [columns for columns in possible if columns // step * len(weights) >= _FILTERS]
    return min(full) if full else max(possible, default=None)


def _fold_picture(graph: Graph, convolution: onnx.NodeProto, columns: int) -> str:
    """Puts the folded picture before a convolution; returns its name."""
    picture = convolution.input[0]
    channels, height, width = (side or 0 for side in graph.shapes[picture][1:])
    name = f"{convolution.name}_picture"
    make = onnx.helper.make_node
    maker = graph.makers.get(picture)
    nodes = []
    rows = f"{name}_rows"  # channels last
    if maker is not None and maker.op_type == "Transpose" and ints(maker, "perm") == [0, 3, 1, 2]:
        rows = maker.input[0]
    elif channels == 1:
        rows = maker.input[0] if maker is not None and maker.op_type == "Reshape" else picture
    else:
        nodes.append(make("Transpose", [picture], [rows], rows, perm=[0, 2, 3, 1]))
    shape = np.array([-1, height, width // columns, columns * channels], np.int64)
    to = graph.add_constant(f"{name}_shape", shape)
    nodes.append(make("Reshape", [rows, to], [f"{name}_columns"], f"{name}_columns"))
    nodes.append(make("Transpose", [f"{name}_columns"], [name], name, perm=[0, 3, 1, 2]))
    graph.insert(convolution, *nodes)
    return name


def _fold_kernels(graph: Graph, convolution: onnx.NodeProto, columns: int) -> None:
    """Gives a convolution on a folded picture its kernels, for several columns of its result."""
    weights = graph.constant(convolution.input[1])
    assert weights is not None  # noqa: S101  (`_columns` has seen them)
    pads = ints(convolution, "pads") or [0] * 4
    strides = ints(convolution, "strides") or [1, 1]
    filters, channels, height, width = weights.shape
    count = columns // strides[1]  # columns of the result that become one
    first, last = -pads[1] // columns, ((count - 1) * strides[1] - pads[1] + width - 1) // columns
    wide = np.zeros((count, filters, columns, channels, height, last - first + 1), np.float32)
    for column, tap in np.ndindex(count, width):
        at = column * strides[1] - pads[1] + tap
        wide[column, :, at % columns, :, :, at // columns - first] = weights[..., tap]
    shape = count * filters, columns * channels, *wide.shape[-2:]
    convolution.input[1] = graph.add_constant(convolution.input[1], wide.reshape(shape))
    for name in convolution.input[2:]:  # the bias, if there is one
        bias = graph.constant(name)
        if bias is not None:
            convolution.input[2] = graph.add_constant(name, np.tile(bias, count))
    before, after = graph.shapes[convolution.input[0]][-1], graph.shapes[convolution.output[0]][-1]
    right = (after or 0) // count + last - (before or 0) // columns
    for name in ("kernel_shape", "pads", "strides"):
        for attribute in [a for a in convolution.attribute if a.name == name]:
            convolution.attribute.remove(attribute)
    convolution.attribute.extend(
        [
            onnx.helper.make_attribute("kernel_shape", wide.shape[-2:]),
            onnx.helper.make_attribute("pads", [pads[0], -first, pads[2], right]),
            onnx.helper.make_attribute("strides", [strides[0], 1]),
        ]
    )


def _unfold(graph: Graph, last: onnx.NodeProto) -> None:
    """Takes the columns apart that a node returns as one; the node's output has a new name."""
    result = last.output[0]
    filters, height, width = (side or 0 for side in graph.shapes[result][1:])
    last.output[0] = f"{last.name}_folded"
    shape = np.array([-1, height, width, filters], np.int64)
    to = graph.add_constant(f"{last.name}_shape", shape)
    names = [f"{last.name}_rows", f"{last.name}_columns"]
    make = onnx.helper.make_node
    nodes = (
        make("Transpose", [last.output[0]], [names[0]], names[0], perm=[0, 2, 3, 1]),
        make("Reshape", [names[0], to], [names[1]], names[1]),
        make("Transpose", [names[1]], [result], f"{last.name}_unfolded", perm=[0, 3, 1, 2]),
    )
    at = next(i for i, node in enumerate(graph.nodes) if node is last)
    for node in reversed(nodes):
        graph.nodes.insert(at + 1, node)
