"""What is rewritten in float graphs, and the forms in 8 bits, on small graphs of every kind."""

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from captcha_rt.tiles import MARK, move_zero_points
from captcha_rt_export.convert import check_graph, operators
from captcha_rt_export.fold import fold_columns
from captcha_rt_export.forms import (
    FLOAT32,
    INNER,
    find_parts,
    form_name,
    forms,
    measure_ranges,
    quantize,
)
from captcha_rt_export.graph import Graph
from captcha_rt_export.rewrite import rewrite

Array = NDArray[np.float32]


class _Maker:
    """Makes a graph, node by node."""

    def __init__(self, *shape: int) -> None:
        self.shape = ("N", *shape)
        self.last = "image"
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(0)

    def weights(self, *shape: int) -> str:
        return self.constant(self.random.normal(size=shape).astype(np.float32))

    def constant(self, values: NDArray[np.generic] | list[int]) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(
        self, operator: str, *inputs: str, source: str | None = None, **attributes: object
    ) -> str:
        name = f"{operator}{len(self.nodes)}"
        takes = [self.last if source is None else source, *inputs]
        self.nodes.append(make_node(operator, takes, [name], name, **attributes))
        self.last = name
        return name

    def convolution(self, filters: int, channels: int, pad: int = 1) -> None:
        weights, bias = self.weights(filters, channels, 3, 3), self.weights(filters)
        pads = [pad] * 4
        self.add("Conv", weights, bias, kernel_shape=[3, 3], pads=pads, group=1, dilations=[1, 1])
        self.add("Relu")

    def pool(self) -> None:
        self.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])

    def dense(self, inputs: int, outputs: int) -> None:
        self.add("MatMul", self.weights(inputs, outputs))
        self.add("Add", self.weights(outputs))

    def model(self) -> onnx.ModelProto:
        self.nodes[-1].output[0] = "scores"
        value = make_tensor_value_info
        graph = make_graph(
            self.nodes,
            "graph",
            [value("image", onnx.TensorProto.FLOAT, self.shape)],
            [value("scores", onnx.TensorProto.FLOAT, None)],
            self.constants,
        )
        made = make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=8)
        return onnx.shape_inference.infer_shapes(
            made
        )  # with the shapes within, as onnxsim writes them

    def rows(self, count: int = 3) -> Array:
        return self.random.random((count, *self.shape[1:]), np.float32)


def run(proto: onnx.ModelProto, rows: Array) -> Array:
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return np.asarray(session.run(None, {"image": rows})[0])


def normalised(scale: Array, *, turned: bool) -> _Maker:
    """A convolution, a batch normalisation after its ReLU, and a pooling that drops a column."""
    made = _Maker(1, 8, 15)
    made.convolution(4, 1)
    axis = -1 if turned else 1
    if turned:
        made.add("Transpose", perm=[0, 2, 3, 1])
    for operator, values in (("Mul", scale), ("Add", np.arange(4))):
        shaped = np.moveaxis(values.reshape(1, 4, 1, 1), 1, axis)
        made.add(operator, made.constant(shaped.astype(np.float32)))
    if turned:
        made.add("Transpose", perm=[0, 3, 1, 2])
    made.pool()
    made.convolution(4, 4)
    return made


def normalisation() -> _Maker:
    return normalised(np.array([1, 2, 0.5, 3]), turned=False)


def turned_normalisation() -> _Maker:
    return normalised(np.array([1, 2, 0.5, 3]), turned=True)


def normalised_features() -> _Maker:
    """A normalisation before the dense layer that makes the scores."""
    made = normalisation()
    made.add("Add", made.constant(np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)))
    made.add("Transpose", perm=[0, 2, 3, 1])
    made.add("Reshape", made.constant([-1, 4 * 4 * 7]))
    made.dense(4 * 4 * 7, 5)
    return made


def normalised_rows() -> _Maker:
    """A scale for each row, as a batch normalisation over the rows leaves."""
    made = _Maker(1, 8, 15)
    made.convolution(4, 1)
    made.add("Transpose", perm=[0, 2, 3, 1])
    made.add("Mul", made.constant(np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1)))
    made.add("Transpose", perm=[0, 3, 1, 2])
    made.pool()
    return made


def negative_normalisation() -> _Maker:
    return normalised(np.array([1, 2, -0.5, 3]), turned=False)


def valid_convolutions() -> _Maker:
    """A pooling drops a row and a column of a convolution that has no padding to leave out."""
    made = _Maker(1, 11, 15)
    made.convolution(4, 1)
    made.convolution(4, 4, pad=0)
    made.pool()
    return made


def time_steps() -> _Maker:
    """Three dense layers on five time steps."""
    made = _Maker(30)
    made.add("Reshape", made.constant([-1, 6]))
    for inputs, outputs in ((6, 8), (8, 7), (7, 4)):
        made.dense(inputs, outputs)
        bias = made.nodes.pop()
        made.last = bias.input[0]
        made.add("Reshape", made.constant([-1, 5, outputs]))
        made.add("Add", bias.input[1])
        if outputs > 4:
            made.add("Relu")
            made.add("Reshape", made.constant([-1, outputs]))
    return made


def heads() -> _Maker:
    """Three dense layers of the same features, side by side."""
    made = _Maker(6)
    ends = []
    for _ in range(3):
        made.last = "image"
        made.dense(6, 5)
        ends.append(made.add("Reshape", made.constant([-1, 1, 5])))
    made.add("Concat", *ends[1:], source=ends[0], axis=1)
    return made


def directions() -> _Maker:
    """A bidirectional LSTM, whose directions an exporter takes apart and joins."""
    made = _Maker(4, 6)
    made.add("Transpose", perm=[1, 0, 2])
    weights = [made.weights(2, 12, 6), made.weights(2, 12, 3), made.weights(2, 24)]
    both = made.add("LSTM", *weights, hidden_size=3, direction="bidirectional")
    halves = []
    for start, end in ((0, 1), (1, 2)):
        cut = [made.constant([number]) for number in (start, end, 1)]
        made.add("Slice", *cut, source=both)
        halves.append(made.add("Squeeze", made.constant([1])))
    made.add("Concat", halves[1], source=halves[0], axis=2)
    made.add("Transpose", perm=[1, 0, 2])
    return made


@pytest.mark.parametrize(
    ("make", "left", "gone"),
    [
        (normalisation, {"Conv": 2, "Add": 1}, {"Mul"}),
        (turned_normalisation, {"Conv": 2, "Add": 1}, {"Mul", "Transpose"}),
        (normalised_features, {"Conv": 2, "Add": 1, "Gemm": 1}, {"Mul"}),
        (normalised_rows, {"Conv": 1, "Mul": 1}, {"Transpose"}),
        (negative_normalisation, {"Conv": 2, "Mul": 1, "Add": 1}, set()),
        (valid_convolutions, {"Conv": 2, "MaxPool": 1}, set()),
        (time_steps, {"Gemm": 3, "Reshape": 2}, {"MatMul", "Add"}),
        (heads, {"Gemm": 1, "Reshape": 1}, {"Concat", "MatMul", "Add"}),
        (directions, {"LSTM": 1, "Reshape": 1}, {"Slice", "Squeeze", "Concat"}),
    ],
)
def test_a_rewritten_graph_answers_the_same(
    make: Callable[[], _Maker], left: dict[str, int], gone: set[str]
) -> None:
    """What is superfluous is gone, and the scores differ by rounding only."""
    made = make()
    before = made.model()
    after = rewrite(before)
    onnx.checker.check_model(after, full_check=True)
    assert {operator: operators(after)[operator] for operator in left} == left
    assert not gone & operators(after).keys()
    rows = made.rows()
    np.testing.assert_allclose(run(after, rows), run(before, rows), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "make", [normalisation, normalised_rows, negative_normalisation, valid_convolutions]
)
def test_what_a_pooling_drops_is_not_computed(make: Callable[[], _Maker]) -> None:
    """The first pooling takes an even number of columns and rows, of which it drops none."""
    inferred = onnx.shape_inference.infer_shapes(rewrite(make().model())).graph
    [pool] = [node for node in inferred.node if node.op_type == "MaxPool"]
    shapes = {value.name: value.type.tensor_type.shape.dim for value in inferred.value_info}
    height, width = (axis.dim_value for axis in shapes[pool.input[0]][2:])
    assert (height % 2, width % 2) == (0, 0)


def reader(channels: int = 1) -> _Maker:
    """A small reader with each part: convolutions, an LSTM, and scores for each time step."""
    made = _Maker(channels, 8, 16)
    made.convolution(8, channels)
    made.pool()
    made.convolution(8, 8)
    made.add("Transpose", perm=[3, 0, 1, 2])
    made.add("Reshape", made.constant([8, -1, 32]))
    weights = [made.weights(2, 16, 32), made.weights(2, 16, 4), made.weights(2, 32)]
    made.add("LSTM", *weights, hidden_size=4, direction="bidirectional")
    made.add("Transpose", perm=[2, 0, 1, 3])
    made.add("Reshape", made.constant([-1, 8]))
    made.dense(8, 5)
    made.add("Reshape", made.constant([-1, 8, 5]))
    return made


def test_each_product_is_of_one_part() -> None:
    """First is what sees the picture, last what makes the scores, even if there are several."""
    parts = find_parts(rewrite(reader().model()))
    assert list(parts.values()) == ["first", "inner", "recurrent", "last"]
    separate = find_parts(rewrite(negative_normalisation().model()))
    assert list(separate.values()) == ["first", "last"]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_each_form_gives_nearly_the_same_scores(channels: int) -> None:
    """Every form is loaded, differs from float32, but little, and all but LSTMs is plain ONNX."""
    made = reader(channels)
    proto = rewrite(made.model())
    rows = made.rows(20)
    ranges = measure_ranges(proto, rows)
    expected = run(proto, rows)
    found = forms(proto)
    assert len(found) == len(set(found)) == 7
    assert found[0] == FLOAT32
    assert form_name(found[-1]) == "8 bits: first, inner, last, recurrent"
    assert quantize(proto, ranges, FLOAT32) == proto
    for form in found[1:]:
        quantized = quantize(proto, ranges, form)
        check_graph(quantized)
        domains = {node.domain for node in quantized.graph.node}
        assert domains == ({"", "com.microsoft"} if "recurrent" in form else {""})
        difference = np.abs(run(quantized, rows) - expected)
        assert 0 < difference.mean() < 0.05 * np.ptp(expected), form_name(form)


def test_no_bytes_are_pooled_channel_by_channel() -> None:
    """Where the first convolution stays in float32 its pooling does as well, before the ReLU."""
    made = reader()
    proto = rewrite(made.model())
    graph = quantize(proto, measure_ranges(proto, made.rows()), INNER).graph
    makers = {output: node for node in graph.node for output in node.output}
    [pool] = [node for node in graph.node if node.op_type == "MaxPool"]
    assert makers[pool.input[0]].op_type == "Conv"


def test_a_shift_after_a_pooling_is_added_in_8_bits() -> None:
    """The shift of a normalisation lies between two quantisations, its constant as well."""
    made = normalisation()
    made.convolution(4, 4)
    proto = rewrite(made.model())
    quantized = quantize(proto, measure_ranges(proto, made.rows(20)), INNER | {"first"})
    makers = {output: node.op_type for node in quantized.graph.node for output in node.output}
    [addition] = [node for node in quantized.graph.node if node.op_type == "Add"]
    assert [makers[name] for name in addition.input] == ["DequantizeLinear"] * 2
    rows = made.rows(20)
    expected = run(proto, rows)
    assert np.abs(run(quantized, rows) - expected).mean() < 0.05 * np.ptp(expected)


def test_wide_convolutions_are_marked_for_tiles() -> None:
    """Those alone that gain by it; their zero points can be moved, and the scores stay."""
    made = _Maker(4, 8, 8)
    for filters, channels in ((48, 4), (48, 48), (47, 48), (64, 47)):
        made.convolution(filters, channels)
    made.add("Conv", made.weights(64, 64, 1, 1), kernel_shape=[1, 1])
    proto = rewrite(made.model())
    rows = made.rows(20)
    form = INNER | {"first", "last"}
    quantized = quantize(proto, measure_ranges(proto, rows), form)
    graph = Graph(quantized)
    marked = {name: graph.constant(name) for name in graph.constants if name.startswith(MARK)}
    assert sorted(values.shape for values in marked.values() if values is not None) == [
        (48,),
        (48, 48, 3, 3),
        (64,),
        (64, 47, 3, 3),
    ]
    data = quantized.SerializeToString()
    moved = move_zero_points(data)
    assert moved != data
    assert np.array_equal(run(onnx.load_from_string(moved), rows), run(quantized, rows))


@pytest.mark.parametrize("zero_points", [True, False])
def test_weights_of_another_exporter_are_not_marked(zero_points: bool) -> None:
    """They may use all 8 bits, and their zero points may be left out."""
    made = _Maker(48, 8, 8)
    bytes_ = made.random.integers(-127, 128, (48, 48, 3, 3), np.int8)
    inputs = [made.constant(bytes_), made.constant(np.full(48, 0.01, np.float32))]
    inputs += [made.constant(np.zeros(48, np.int8))] * zero_points
    weights = made.add("DequantizeLinear", *inputs[1:], source=inputs[0], axis=0)
    made.add("Conv", weights, source="image", kernel_shape=[3, 3])
    made.convolution(48, 48)
    proto = made.model()
    quantized = quantize(proto, measure_ranges(proto, made.rows(20)), INNER | {"first", "last"})
    marked = [name for name in Graph(quantized).constants if name.startswith(MARK)]
    assert len(marked) == 2  # our own convolution's


def picture(
    *shape: int,
    kernel: tuple[int, int] = (3, 3),
    pads: tuple[int, int, int, int] = (1, 1, 1, 1),
    stride: int = 1,
    filters: tuple[int, ...] = (8,),
    biased: bool = True,
) -> _Maker:
    """Convolutions of different filters on a picture whose channels are its last axis."""
    made = _Maker(*shape)
    height, width, channels = shape
    if channels == 1:
        turned = made.add("Reshape", made.constant([-1, 1, height, width]))
    else:
        turned = made.add("Transpose", perm=[0, 3, 1, 2])
    ends = []
    for count in filters:
        inputs = [made.weights(count, channels, *kernel)] + [made.weights(count)] * biased
        made.add(
            "Conv", *inputs, source=turned, kernel_shape=kernel, pads=pads, strides=[stride] * 2
        )
        ends.append(made.add("Relu"))
    if len(ends) > 1:
        made.add("Concat", *ends[1:], source=ends[0], axis=1)
    made.convolution(4, sum(filters))
    return made


def folded(made: _Maker) -> list[list[int]]:
    """Folds a graph's first convolutions, and checks its answers; returns their kernels' shapes."""
    proto = rewrite(made.model())
    rows = made.rows()
    expected = run(proto, rows)
    graph = Graph(proto)
    firsts = [node for node in graph.nodes if find_parts(proto).get(node.name) == "first"]
    fold_columns(graph, firsts, {})
    graph.tidy()
    onnx.checker.check_model(proto, full_check=True)
    np.testing.assert_allclose(run(proto, rows), expected, rtol=1e-4, atol=1e-4)
    return [list(graph.constants[node.input[1]].dims) for node in firsts]


def test_folded_columns_give_the_same_scores() -> None:
    """Whatever kernel, padding and stride a convolution has; four or eight columns become one."""
    assert folded(picture(8, 16, 1)) == [[32, 4, 3, 3]]
    assert folded(picture(8, 16, 3, biased=False)) == [[32, 12, 3, 3]]
    assert folded(picture(8, 24, 1, filters=(8, 12))) == [[32, 4, 3, 3], [48, 4, 3, 3]]
    stepping = partial(picture, kernel=(5, 5), pads=(1, 1, 2, 2), stride=2)
    assert folded(stepping(8, 16, 1)) == [[32, 8, 5, 3]]
    assert folded(stepping(8, 16, 1, filters=(24,))) == [[48, 4, 5, 3]]
    assert folded(stepping(8, 20, 1)) == [[16, 4, 5, 3]]
    assert folded(picture(8, 16, 1, kernel=(1, 9), pads=(0, 0, 0, 0))) == [[32, 4, 1, 3]]
    assert folded(picture(8, 16, 1, kernel=(2, 7), pads=(0, 6, 1, 0))) == [[32, 4, 2, 3]]
    assert folded(reader(3)) == [[32, 12, 3, 3]]  # channels first


def test_columns_that_can_not_be_folded_stay() -> None:
    """Those of another width, and those of a picture with channels enough."""
    assert folded(picture(8, 15, 1)) == [[8, 1, 3, 3]]
    assert folded(picture(8, 16, 1, stride=2, pads=(0, 0, 0, 0))) == [[8, 1, 3, 3]]
    assert folded(picture(8, 16, 4)) == [[8, 4, 3, 3]]


def test_the_folded_convolution_computes_in_8_bits() -> None:
    """Nothing in float32 is left before it but what lays out the picture."""
    made = picture(8, 16, 3, filters=(8, 12))
    proto = rewrite(made.model())
    rows = made.rows(20)
    quantized = quantize(proto, measure_ranges(proto, rows), INNER | {"first", "last"})
    makers = {output: node.op_type for node in quantized.graph.node for output in node.output}
    products = [node for node in quantized.graph.node if node.op_type == "Conv"]
    assert len(products) == 3
    assert {makers[node.input[0]] for node in products} == {"DequantizeLinear"}
    expected = run(proto, rows)
    assert np.abs(run(quantized, rows) - expected).mean() < 0.05 * np.ptp(expected)


def test_rounded_filters_answer_a_flat_picture_as_before() -> None:
    """The weights of a first convolution are rounded, and each filter's sum is that of before."""
    made = picture(8, 15, 1)
    proto = rewrite(made.model())
    quantized = quantize(proto, measure_ranges(proto, made.rows()), INNER | {"first"})
    graph = Graph(quantized)
    [convolution] = [node for node in graph.nodes if find_parts(proto).get(node.name) == "first"]
    made_from = graph.makers[convolution.input[1]]
    steps, scales = (graph.constant(name) for name in made_from.input[:2])
    [before] = [node for node in proto.graph.node if node.name == convolution.name]
    exact = Graph(proto).constant(before.input[1])
    assert steps is not None
    assert scales is not None
    assert exact is not None
    errors = steps - exact / scales.reshape(-1, 1, 1, 1)
    assert 0 < np.abs(errors).max() <= 1
    assert np.abs(errors.sum(axis=(1, 2, 3))).max() <= 0.51
