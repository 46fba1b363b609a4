"""From a Keras model to a lean ONNX graph."""

import logging
from collections import Counter

import keras
import numpy as np
import onnx
import onnxsim
import tensorflow as tf
import tf2onnx
from keras import layers

from captcha_rt_export.errors import ExportError

OPSET = 18
"""The newest that tf2onnx 1.17 writes."""

IR_VERSION = 8
"""It belongs to opset 18; a newer one would only exclude older runtimes."""

LOOPS = frozenset({"Loop", "Scan", "If"})
"""A recurrent layer that became one of these runs 2.9 times slower than a fused `LSTM`."""

FUSED = "Fused are LSTMs without masking, recurrent dropout or hard_sigmoid, in float32"


def convert(model: keras.Model) -> onnx.ModelProto:
    """Converts a Keras model with one input and one output.

    The batch stays symbolic, named `N`: with a fixed one a Keras LSTM becomes a `Loop`.

    Args:
        model: The plain inference graph.

    Returns:
        An ONNX model at opset 18, simplified, without metadata. Input and output are named as
        the Keras input and output layer.

    Raises:
        ExportError: If a recurrent layer did not become one `LSTM`, or the graph holds a branch
            or an operator of a foreign domain.
    """
    image = model.inputs[0]
    signature = [tf.TensorSpec((None, *image.shape[1:]), tf.float32, name=image.name)]
    logging.getLogger("tf2onnx").setLevel(
        logging.ERROR
    )  # it would report each variable that it removes
    raw, _ = tf2onnx.convert.from_keras(model, input_signature=signature, opset=OPSET)
    proto: onnx.ModelProto = onnxsim.simplify(raw)[0]

    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    del proto.graph.value_info[:]
    del proto.metadata_props[:]  # onnxsim adds some twenty
    used = {node.domain for node in proto.graph.node}
    for opset in [opset for opset in proto.opset_import if opset.domain not in used]:
        proto.opset_import.remove(opset)
    for node in proto.graph.node:  # their order would change from one process to the next
        attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
        del node.attribute[:]
        node.attribute.extend(attributes)
    proto.ir_version = IR_VERSION
    proto.producer_name = "captcha-rt-export"
    check_graph(proto)
    recurrent = sum(isinstance(layer, layers.RNN | layers.Bidirectional) for layer in model.layers)
    if operators(proto)["LSTM"] != recurrent:
        raise ExportError(
            f"of {recurrent} recurrent layers {operators(proto)['LSTM']} became an ONNX LSTM: "
            "the others were unrolled; build them without `unroll` or a fixed batch. " + FUSED
        )
    return proto


def with_softmax(proto: onnx.ModelProto, temperature: float) -> onnx.ModelProto:
    """Appends a softmax to a graph that gives logits.

    The documents' networks end in one; training leaves it out. In the graph the softmax takes a
    fifth of the time that NumPy takes.

    Args:
        proto: A graph of `convert` with the output `logits`.
        temperature: The logits are divided by it first; above 0.

    Returns:
        A graph with the output `probabilities` of the same shape.
    """
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    [output] = made.graph.output
    logits = output.name
    if temperature != 1:
        divisor = onnx.numpy_helper.from_array(np.asarray(temperature, np.float32), "temperature")
        made.graph.initializer.append(divisor)
        made.graph.node.append(onnx.helper.make_node("Div", [logits, "temperature"], ["divided"]))
        logits = "divided"
    output.name = "probabilities"
    made.graph.node.append(onnx.helper.make_node("Softmax", [logits], [output.name], axis=-1))
    check_graph(made)
    return made


def check_graph(proto: onnx.ModelProto) -> None:
    """Checks that a graph is fast and self-contained.

    Raises:
        ExportError: If it holds a loop, a branch, an operator of a foreign domain or external
            data, or ONNX's own checker refuses it.
    """
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the converted graph is no valid ONNX: {error}") from error
    loops = sorted(LOOPS & operators(proto).keys())
    if loops:
        raise ExportError(
            f"the converted graph holds {', '.join(loops)}: a recurrent layer was not fused. "
            + FUSED
        )
    foreign = sorted({f"{n.domain}.{n.op_type}" for n in proto.graph.node if n.domain})
    if foreign:
        raise ExportError(f"the converted graph holds foreign operators: {', '.join(foreign)}")
    if any(tensor.external_data for tensor in proto.graph.initializer):
        raise ExportError("the converted graph keeps weights in other files; a model is one file")


def operators(proto: onnx.ModelProto) -> Counter[str]:
    """Counts the operators of a graph."""
    return Counter(node.op_type for node in proto.graph.node)
