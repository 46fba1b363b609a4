"""Brings a converted network into what the runtime reads, and tries it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from captcha_rt_export.convert import check_graph, tidy
from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.network import Run
from captcha_rt_export.foreign.surgery import set_shape, shape_of

SCORES: Final = "scores"
"""The name of the graph's output."""

Scores = Literal["logits", "probabilities"]

_SUMS_TO_ONE: Final = 1e-3
"""A softmax in float32 sums to one within this."""

EXACT: Final = 1e-3
"""A converted graph differs from the original by less than this part of the scores' range."""

ROUNDED: Final = 0.1
"""The same of an original in 8 or 16 bits, whose roundings are others than ONNX's in float32."""

ANOTHER: Final = "--scores LAYER"
"""What a message asks for, where another layer than the last one has the scores."""


def one_output(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Makes one output of several heads, `(N, L, C)`, and leaves out axes of the size 1.

    Args:
        proto: A graph; it is changed.
        path: The model's file, for messages.

    Raises:
        ExportError: If the outputs have shapes that no decoder reads.
    """
    graph = proto.graph
    shapes = [shape_of(value) for value in graph.output]
    if len(shapes) > 1 and len(set(shapes)) > 1:
        raise ExportError(
            f"{path}: the outputs have different shapes, {', '.join(map(str, shapes))}; name the "
            f"layer whose output are the scores: {ANOTHER}"
        )
    names = [value.name for value in graph.output]
    rest = [position for position, size in enumerate(shapes[0]) if position and size == 1]
    rank = len(shapes[0])
    if rank == 3 and len(names) > 1:
        rest = rest[:1]
    elif rank < 4:
        rest = []
    if rank - len(rest) not in ((2,) if len(names) > 1 else (2, 3)):
        raise ExportError(
            f"{path}: the scores have the shape {shapes[0]}; captcha-rt reads (N, time steps or "
            f"positions, classes) or (N, classes). Name another layer: {ANOTHER}"
        )
    if rest:
        graph.initializer.append(numpy_helper.from_array(np.array(rest, np.int64), "ones"))
        squeezed = [f"{name}/squeezed" for name in names]
        for name, new in zip(names, squeezed, strict=True):
            graph.node.append(helper.make_node("Squeeze", [name, "ones"], [new]))
        names = squeezed
    if len(names) > 1:
        graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "heads"))
        for name in names:
            graph.node.append(helper.make_node("Unsqueeze", [name, "heads"], [f"{name}/head"]))
        heads = [f"{name}/head" for name in names]
        graph.node.append(helper.make_node("Concat", heads, [SCORES], axis=1))
    else:
        graph.node.append(helper.make_node("Identity", names, [SCORES]))
    axes = ["N", *[None] * (rank - len(rest) - 1 + (len(names) > 1))]
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(SCORES, onnx.TensorProto.FLOAT, axes))
    return proto


def side_by_side(graphs: Sequence[onnx.ModelProto]) -> onnx.ModelProto:
    """Puts graphs with the same input beside each other, an output of each."""
    merged = onnx.ModelProto()
    merged.CopyFrom(graphs[0])
    image = merged.graph.input[0]
    for field in (merged.graph.node, merged.graph.initializer, merged.graph.output):
        del field[:]
    for number, graph in enumerate(graphs):
        one = onnx.compose.add_prefix(graph, f"{number}/")
        own = one.graph.input[0].name
        for node in one.graph.node:
            node.input[:] = [image.name if name == own else name for name in node.input]
        merged.graph.node.extend(one.graph.node)
        merged.graph.initializer.extend(one.graph.initializer)
        merged.graph.output.extend(one.graph.output)
    return merged


def rank_of(graph: onnx.ModelProto) -> int:
    """The number of axes of a graph's output."""
    return len(graph.graph.output[0].type.tensor_type.shape.dim)


def to_scores(outputs: Sequence[Any]) -> NDArray[np.float32]:
    """What `one_output` does to a graph, done to the original's outputs."""
    arrays = [np.asarray(output, np.float32) for output in outputs]
    rank = arrays[0].ndim
    if len(arrays) > 1:
        return np.stack([array.reshape(len(array), array.shape[-1]) for array in arrays], axis=1)
    if rank < 4:
        return arrays[0]
    ones = tuple(axis for axis in range(1, rank) if arrays[0].shape[axis] == 1)
    return np.squeeze(arrays[0], ones)


def check_sizes(path: Path, shape: Sequence[int | None]) -> None:
    """Asks for the size of the network's input where the file leaves it open.

    Args:
        path: The model's file.
        shape: The sizes of the input's axes without the batch, None for an open one.

    Raises:
        ExportError: If an axis is open.
    """
    if None in shape or not shape:
        seen = "x".join("?" if size is None else str(size) for size in shape) or "?x?x?"
        raise ExportError(
            f"{path} takes pictures of any size, and a model file is for one. Name the size of "
            f"the network's input, all its axes in their order: --input-shape {seen}"
        )


def finish(
    proto: onnx.ModelProto, run: Run, path: Path, *, allowed: float = EXACT, advice: str = ""
) -> tuple[onnx.ModelProto, Scores]:
    """Simplifies a graph, compares it with the original on noise, and looks at its scores.

    The check on real pictures comes later; this one tells a wrong conversion from a wrong recipe.

    Args:
        proto: A graph with one output, as `one_output` makes it.
        run: Runs the original.
        path: The model's file, for messages.
        allowed: The part of the scores' range that the graph may differ by from the original.
        advice: What helps where it differs by more, for messages.

    Returns:
        The graph, and what its output holds: `"logits"` or `"probabilities"`.

    Raises:
        ExportError: If the graph holds loops, has open axes or computes something else.
    """
    check_sizes(path, shape_of(proto.graph.input[0])[1:])
    try:
        graph = tidy(proto)
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from error
    [image], [output] = graph.graph.input, graph.graph.output
    shape = shape_of(image)
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    sizes = [size for size in shape[1:] if size is not None]
    rows = np.random.default_rng(0).random((3, *sizes), np.float32)
    expected = run(rows)
    if not np.isfinite(expected).all():
        raise ExportError(
            f"{path}: the network answers with numbers that aren't finite: its "
            "weights are damaged, or its training diverged"
        )
    if len(expected) != len(rows):
        raise ExportError(
            f"{path} answers {expected.shape} to {len(rows)} pictures, whose first axis is not "
            f"that of the pictures. Name the layer before they are turned: {ANOTHER}"
        )
    for batch in (1, 3):
        try:
            [found] = session.run(None, {image.name: rows[:batch]})
        except Exception as error:
            raise ExportError(
                f"{path} runs only at a fixed batch: {error}; save it with a free batch, "
                "`keras.Input(shape=…)` without `batch_size`"
            ) from error
        if found.shape != expected[:batch].shape:
            raise ExportError(f"{path}: ONNX answers {found.shape}, the original {expected.shape}")
        difference = float(np.abs(found - expected[:batch]).max())
        if difference > allowed * max(float(np.ptp(expected)), 1e-3):
            message = f"{path}: the converted network differs from the original by {difference:.2e}"
            raise ExportError(f"{message}. {advice}" if advice else message)
    set_shape(output, (None, *expected.shape[1:]))
    check_graph(graph)
    certain = np.abs(expected.sum(-1) - 1).max() < _SUMS_TO_ONE and expected.min() >= 0
    return graph, "probabilities" if certain else "logits"
