"""Converts a Keras model to a small, fast ONNX graph."""

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
import onnxsim

from captcha_rt_export.errors import ExportError
from captcha_rt_export.graph import Graph
from captcha_rt_export.rewrite import rewrite

if TYPE_CHECKING:
    import keras

OPSET = 18
"""The newest opset that tf2onnx 1.17 writes."""

IR_VERSION = 8
"""The IR version that belongs to opset 18; a newer one would only exclude older runtimes."""

LOOPS = frozenset({"Loop", "Scan", "If"})
"""The operators that unfused recurrent layers become: 2.9 times slower than a fused `LSTM`."""

KNOWN: Final = frozenset({"com.microsoft.DynamicQuantizeLSTM"})
"""The operators of onnxruntime's own that a graph may hold: `forms.quantize` makes them."""

_FUSED = "only float32 LSTMs without masking, recurrent dropout or hard_sigmoid are fused"


def convert(model: "keras.Model") -> onnx.ModelProto:
    """Converts a Keras model with one input and one output.

    The batch axis stays symbolic, named `N`: with a fixed batch, a Keras LSTM becomes a `Loop`.

    Args:
        model: The model as it is used for inference.

    Returns:
        A simplified ONNX model at opset 18, without metadata. Its input and output have the names
        of the Keras input and output layers.

    Raises:
        ExportError: If a recurrent layer did not become one `LSTM`, or `check_graph` refuses the
            graph.
    """
    # TensorFlow takes seconds to load; graphs of other origin need only the rest of this module.
    import tensorflow as tf
    import tf2onnx
    from keras import layers

    image = model.inputs[0]
    signature = [tf.TensorSpec((None, *image.shape[1:]), tf.float32, name=image.name)]
    # At a lower level tf2onnx reports each variable that it removes.
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    raw, _ = tf2onnx.convert.from_keras(model, input_signature=signature, opset=OPSET)
    proto = tidy(raw)
    recurrent = sum(isinstance(layer, layers.RNN | layers.Bidirectional) for layer in model.layers)
    if operators(proto)["LSTM"] != recurrent:
        raise ExportError(
            f"of {recurrent} recurrent layers {operators(proto)['LSTM']} became an ONNX LSTM, the "
            f"others were unrolled: build them without `unroll` or a fixed batch; {_FUSED}"
        )
    return proto


def tidy(raw: onnx.ModelProto) -> onnx.ModelProto:
    """Simplifies a converted graph, and leaves out what says nothing about the network.

    Args:
        raw: A graph whose first axes are the batch.

    Returns:
        A new graph with the batch `N`, without metadata.

    Raises:
        ExportError: If `check_graph` refuses the graph.
    """
    proto = rewrite(onnxsim.simplify(raw)[0])
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    del proto.graph.value_info[:]
    del proto.metadata_props[:]  # onnxsim adds some twenty properties
    used = {node.domain for node in proto.graph.node}
    for opset in [opset for opset in proto.opset_import if opset.domain not in used]:
        proto.opset_import.remove(opset)
    for node in proto.graph.node:  # the order of attributes changes from process to process
        attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
        del node.attribute[:]
        node.attribute.extend(attributes)
    proto.ir_version = IR_VERSION
    proto.producer_name = "captcha-rt-export"
    check_graph(proto)
    return proto


def with_softmax(proto: onnx.ModelProto, temperature: float) -> onnx.ModelProto:
    """Appends a softmax to a graph that returns logits.

    The documents' networks end in a softmax, which training leaves out. In the graph the softmax
    takes a fifth of the time that NumPy takes.

    Args:
        proto: A graph of `convert` that returns logits; it is not changed.
        temperature: The number to divide the logits by before the softmax, above 0.

    Returns:
        A new graph with the output `probabilities`, of the shape of the logits.
    """
    extended = onnx.ModelProto()
    extended.CopyFrom(proto)
    [output] = extended.graph.output
    logits = output.name
    if temperature != 1 and not _cool(extended, logits, temperature):
        divisor = onnx.numpy_helper.from_array(np.asarray(temperature, np.float32), "temperature")
        extended.graph.initializer.append(divisor)
        extended.graph.node.append(
            onnx.helper.make_node("Div", [logits, "temperature"], ["divided"])
        )
        logits = "divided"
    output.name = "probabilities"
    extended.graph.node.append(onnx.helper.make_node("Softmax", [logits], [output.name], axis=-1))
    check_graph(extended)
    return extended


def _cool(proto: onnx.ModelProto, logits: str, temperature: float) -> bool:
    """Divides the weights of the dense layer that makes the logits; false if there is none."""
    graph = Graph(proto)
    node = graph.makers[logits]
    if node.op_type == "Reshape":
        node = graph.makers.get(node.input[0], node)
    constants = [graph.constant(name) for name in node.input[1:]]
    if node.op_type != "Gemm" or node.attribute or any(values is None for values in constants):
        return False
    if len(graph.users(node.output[0])) > (node.output[0] != logits):
        return False
    for at, values in enumerate(constants, 1):
        cooled = np.asarray(values, np.float32) / np.float32(temperature)
        node.input[at] = graph.add_constant(node.input[at], cooled)
    graph.tidy()
    return True


def check_graph(proto: onnx.ModelProto) -> None:
    """Checks that a graph is fast and self-contained.

    Raises:
        ExportError: If the graph holds a loop, a branch, an operator from outside of ONNX's own
            set (but `KNOWN`) or external data, or if ONNX's own checker refuses the graph.
    """
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the converted graph is not valid ONNX: {error}") from error
    loops = sorted(LOOPS & operators(proto).keys())
    if loops:
        raise ExportError(
            f"the converted graph holds {', '.join(loops)}: a recurrent layer was not fused; "
            f"{_FUSED}"
        )
    foreign = sorted({f"{n.domain}.{n.op_type}" for n in proto.graph.node if n.domain} - KNOWN)
    if foreign:
        raise ExportError(f"the converted graph holds foreign operators: {', '.join(foreign)}")
    if any(tensor.external_data for tensor in proto.graph.initializer):
        raise ExportError("the converted graph keeps weights in other files; a model is one file")


def operators(proto: onnx.ModelProto) -> Counter[str]:
    """Counts the operators of a graph."""
    return Counter(node.op_type for node in proto.graph.node)
