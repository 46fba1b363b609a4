import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers

from captcha_rt.decoders import to_probabilities
from captcha_rt_export.convert import check_graph, convert, operators, with_softmax
from captcha_rt_export.errors import ExportError
from captcha_rt_train.networks import Dimensions, crnn


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    """The CRNN with random weights, converted."""
    keras.utils.set_random_seed(0)
    return convert(crnn(Dimensions((200, 50, 1), 5, 20)))


def test_the_crnn_holds_two_bidirectional_lstms_and_no_loop(graph: onnx.ModelProto) -> None:
    """Recurrence is fused."""
    lstms = [node for node in graph.graph.node if node.op_type == "LSTM"]
    directions = [a.s for node in lstms for a in node.attribute if a.name == "direction"]
    assert directions == [b"bidirectional", b"bidirectional"]
    assert not {"Loop", "Scan", "If"} & operators(graph).keys()


def test_the_crnn_has_no_shape_arithmetic(graph: onnx.ModelProto) -> None:
    """All shapes but the batch are constants, and at most 25 of 74 nodes are left."""
    arithmetic = {"Shape", "Gather", "Cast", "Expand", "ReduceProd", "ConstantOfShape", "Unsqueeze"}
    assert not arithmetic & operators(graph).keys()
    assert len(graph.graph.node) <= 25
    # To rows of time steps, to time first, each LSTM's two directions side by side, and back.
    assert operators(graph)["Transpose"] <= 5


def test_the_graph_is_plain(graph: onnx.ModelProto) -> None:
    """The graph has opset 18, a named batch, Keras's names and no metadata."""
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", 18)]
    assert graph.ir_version == 8
    assert [value.name for value in graph.graph.input] == ["image"]
    assert [value.name for value in graph.graph.output] == ["logits"]
    for value in (*graph.graph.input, *graph.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "N"
    assert not graph.metadata_props


def test_batch_normalisation_is_folded() -> None:
    """Its scale goes into the convolution before it, so that it costs nothing."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(4, 3, padding="same")(image)
    x = layers.BatchNormalization(momentum=0.5)(x)
    model = keras.Model(image, layers.Activation("relu", name="scores")(x))
    data = np.random.default_rng(0).random((32, 8, 8, 1), np.float32)
    model(data, training=True)  # so that there are statistics to fold
    graph = convert(model)
    assert operators(graph)["BatchNormalization"] == 0
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    [scores] = session.run(None, {"image": data})
    assert np.abs(scores - model.predict(data, verbose=0)).max() < 1e-5


def test_a_loop_is_refused() -> None:
    """The message names the loop of an LSTM that tf2onnx can't fuse."""
    steps = keras.Input((6, 4), name="steps")
    x = layers.LSTM(3, return_sequences=True, recurrent_activation="hard_sigmoid")(steps)
    with pytest.raises(ExportError, match="holds Loop: a recurrent layer was not fused"):
        convert(keras.Model(steps, layers.Dense(2, name="scores")(x)))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_an_unrolled_lstm_is_refused(bidirectional: bool) -> None:
    """An unrolled LSTM would run, but 2.3 times slower than a fused one."""
    steps = keras.Input((6, 4), name="steps")
    lstm = layers.LSTM(3, return_sequences=True, unroll=True)
    x = layers.Bidirectional(lstm)(steps) if bidirectional else lstm(steps)
    with pytest.raises(ExportError, match="of 1 recurrent layers 0 became an ONNX LSTM"):
        convert(keras.Model(steps, layers.Dense(2, name="scores")(x)))


def test_foreign_operators_are_refused(graph: onnx.ModelProto) -> None:
    """A graph with operators that only another library can run is refused."""
    foreign = onnx.ModelProto()
    foreign.CopyFrom(graph)
    foreign.graph.node[0].domain = "com.example"
    foreign.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    with pytest.raises(ExportError, match=r"foreign operators: com\.example"):
        check_graph(foreign)


@pytest.mark.parametrize("temperature", [1.0, 0.4, 3.0])
def test_the_softmax_of_the_graph_is_the_decoders(temperature: float) -> None:
    """The graph's probabilities are those that `to_probabilities` computes."""
    rows = keras.Input((5, 4), name="rows")
    proto = convert(keras.Model(rows, layers.Dense(3, name="logits")(rows)))
    data = np.random.default_rng(0).normal(0, 9, (7, 5, 4)).astype(np.float32)

    def run(graph: onnx.ModelProto) -> np.ndarray:
        return onnxruntime.InferenceSession(graph.SerializeToString()).run(None, {"rows": data})[0]

    made = with_softmax(proto, temperature)
    assert [value.name for value in made.graph.output] == ["probabilities"]
    expected = to_probabilities(run(proto), "logits", temperature)
    np.testing.assert_allclose(run(made), expected, atol=1e-6)
    assert [value.name for value in proto.graph.output] == ["logits"]  # as it was
