"""Turns what TensorFlow computes into a flat graph, and the graph into ONNX."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray
from tf2onnx import tf_loader

from captcha_rt_export.convert import OPSET
from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.recurrent import Stub, left_out, nodes

IMAGE: Final = "image"
"""The name of the graph's input."""


def trace_keras(
    model: Any,  # noqa: ANN401  (of either Keras)
    shape: Sequence[int | None],
    keras: Any,  # noqa: ANN401
) -> onnx.ModelProto:
    """Converts a Keras model with one input to ONNX; recurrent layers become one node each.

    Args:
        model: The model.
        shape: The sizes of its input's axes without the batch.
        keras: The package that it is of, `keras` or `tf_keras`.

    Returns:
        A graph with the outputs of the model, in their order.
    """

    def zeros(stub: Stub, number: int) -> Any:  # noqa: ANN401, ARG001
        return tf.zeros((1, *(size or 1 for size in stub.shape)))

    with left_out(keras, zeros) as stubs:
        model(tf.zeros((1, *shape)), training=False)
    specs = [
        tf.TensorSpec((None, *stub.shape), tf.float32, f"given{i}") for i, stub in enumerate(stubs)
    ]

    def call(image: Any, *given: Any) -> Any:  # noqa: ANN401
        with left_out(keras, lambda _, number: given[number]) as taken:
            scores = tf.nest.flatten(model(image, training=False))
        return [*(stub.taken for stub in taken), *scores]

    image = tf.TensorSpec((None, *shape), tf.float32, IMAGE)
    function = tf.function(call, autograph=False).get_concrete_function(image, *specs)
    inputs = [tensor.name for tensor in function.inputs if tensor.dtype != tf.resource]
    outputs = [tensor.name for tensor in function.outputs]
    proto = to_onnx(freeze(function), inputs, outputs)
    return write_in(proto, stubs, inputs[1:])


def freeze(function: Any) -> Any:  # noqa: ANN401  (TensorFlow's types)
    """The graph of a concrete function with its weights as constants and without calls."""
    names = [tensor.name for tensor in function.inputs if tensor.dtype != tf.resource]
    return tf_loader.from_function(function, names, [tensor.name for tensor in function.outputs])


def to_onnx(graph: Any, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:  # noqa: ANN401
    """Converts a flat graph to ONNX.

    Raises:
        ExportError: If tf2onnx can't convert an operation.
    """
    be_quiet()
    try:
        proto, _ = tf2onnx.convert.from_graph_def(
            graph, input_names=[*inputs], output_names=[*outputs], opset=OPSET
        )
    except Exception as error:
        raise ExportError(f"tf2onnx can't convert the network: {error}") from error
    rename_input(proto, inputs[0], IMAGE)
    converted: onnx.ModelProto = proto
    return converted


def be_quiet() -> None:
    """Keeps what tf2onnx and TensorFlow report of their own work off the screen."""
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def run_graph(
    graph: Any,  # noqa: ANN401
    image: str,
    outputs: Sequence[str],
) -> Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Makes a function of a flat graph: from a batch to the outputs, in their order."""
    with tf.Graph().as_default() as loaded:
        tf.import_graph_def(graph, name="")
    session = tf.compat.v1.Session(graph=loaded)
    return lambda rows: session.run([*outputs], {image: rows})


def write_in(
    proto: onnx.ModelProto, stubs: Sequence[Stub], given: Sequence[str]
) -> onnx.ModelProto:
    """Writes the recurrent layers into a graph that lacks them.

    Args:
        proto: The graph. Its first outputs are what the layers take; inputs after the first stand
            for what they give. It is changed.
        stubs: The layers.
        given: The names of these inputs.
    """
    graph = proto.graph
    taken = [output.name for output in graph.output[: len(stubs)]]
    del graph.output[: len(stubs)]
    del graph.input[1:]
    for stub, start, end in zip(stubs, taken, given, strict=True):
        for one in nodes(stub.layer, start, end):
            (graph.node if isinstance(one, onnx.NodeProto) else graph.initializer).append(one)
    ordered = _sorted(graph.node, {value.name for value in (*graph.input, *graph.initializer)})
    del graph.node[:]
    graph.node.extend(ordered)
    return proto


def open_graph(
    graph: Any,  # noqa: ANN401
) -> Callable[[Mapping[str, NDArray[np.float32]], Sequence[str]], list[NDArray[np.float32]]]:
    """Makes a function of a flat graph: from any tensors to any others, in their order."""
    with tf.Graph().as_default() as loaded:
        tf.import_graph_def(graph, name="")
    settings = tf.compat.v1.ConfigProto()
    # TensorFlow's optimizer leads the graph past tensors that are fed.
    settings.graph_options.rewrite_options.disable_meta_optimizer = True
    session = tf.compat.v1.Session(graph=loaded, config=settings)
    return lambda fed, wanted: session.run([*wanted], dict(fed))


def _sorted(every: Iterable[onnx.NodeProto], known: set[str]) -> list[onnx.NodeProto]:
    """The nodes in an order in which each tensor is made before it is taken."""
    ordered: list[onnx.NodeProto] = []
    waiting = list(every)
    known = {"", *known}
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            raise ExportError("the converted graph has a circle")
        ordered += ready
        known.update(name for node in ready for name in node.output)
        waiting = [node for node in waiting if not known.issuperset(node.output)]
    return ordered


def rename_input(proto: onnx.ModelProto, old: str, new: str) -> None:
    """Renames a graph's input."""
    for value in proto.graph.input:
        value.name = new if value.name == old else value.name
    for node in proto.graph.node:
        for position, name in enumerate(node.input):
            if name == old:
                node.input[position] = new
