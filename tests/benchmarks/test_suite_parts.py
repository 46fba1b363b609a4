"""The parts `scale`, `limits`, `path` and `load_time` at small sizes, and their models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("captcha_rt_export", reason="the benchmarks need training and export")

import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks import models
from benchmarks.harness import SAMPLES, Part
from benchmarks.speed import limits, load_time, multiply_adds, path, scale
from captcha_rt import Solver
from captcha_rt.decoders import softmax
from captcha_rt.model import detach, load_model
from captcha_rt.session import Session
from captcha_rt_train.presets import load_preset


def graph_of(nodes, rows, weights) -> onnx.ModelProto:
    """A graph of these nodes, whose input is `x` and whose output is `y`."""
    made = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.ones(shape, np.float32), name)
            for name, shape in weights.items()
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)])


BY_HAND = {
    # 4 x 6 x 6 results, each of 3 channels times 3 x 3
    "Conv": ("Conv", {"pads": [1] * 4}, (3, 6, 6), {"w": (4, 3, 3, 3)}, 4 * 6 * 6 * 3 * 9),
    "groups": ("Conv", {"group": 4}, (4, 6, 6), {"w": (4, 1, 3, 3)}, 4 * 4 * 4 * 9),
    # each of 3 x 5 x 5 inputs goes to 4 channels of 2 x 2
    "ConvTranspose": ("ConvTranspose", {}, (3, 5, 5), {"w": (3, 4, 2, 2)}, 3 * 5 * 5 * 4 * 4),
    "MatMul": ("MatMul", {}, (7, 5), {"w": (5, 3)}, 7 * 5 * 3),
    "Gemm": ("Gemm", {"transB": 1}, (5,), {"w": (3, 5)}, 5 * 3),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_multiply_adds_are_those_counted_by_hand(case: str) -> None:
    """A batch of three has three times the multiply-adds of one row."""
    operator, attributes, rows, weights, expected = BY_HAND[case]
    node = helper.make_node(operator, ["x", *weights], ["y"], **attributes)
    proto = graph_of([node], rows, weights)
    assert multiply_adds.multiply_adds(proto) == expected
    assert multiply_adds.multiply_adds(proto, batch=3) == 3 * expected


def test_an_lstm_counts_all_gates_of_both_directions_at_each_step() -> None:
    """Ten steps, two directions, four gates of eight units, of six inputs and eight states."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node(
            "LSTM", ["steps", "w", "r"], ["y"], direction="bidirectional", hidden_size=8
        ),
    ]
    proto = graph_of(nodes, (10, 6), {"w": (2, 32, 6), "r": (2, 32, 8)})
    assert multiply_adds.multiply_adds(proto, batch=2) == 2 * 10 * 2 * 4 * 8 * (6 + 8)


def test_the_embedded_model_multiplies_in_8_bits_but_for_its_ends() -> None:
    """Its multiply-adds are those of the preset's layers; values between them have one byte."""
    model = load_model()
    found = multiply_adds.products(onnx.load_from_string(model.data))
    assert [product.kind for product in found] == ["float32", *["int8"] * 7, "float32"]
    layers = load_preset("compact").layers
    _, height, width, channels = model.manifest.input.shape
    expected = []
    for filters, side, down, across in layers["rows"]:
        height, width = -(-height // down), -(-width // across)
        expected.append(filters * height * width * channels * side**2)
        channels = filters
    for filters, across, _ in layers["columns"]:
        expected.append(filters * width * channels * across * height)
        channels, height = filters, 1
    expected.append(channels * width * model.manifest.charset.classes)
    assert [product.multiply_adds for product in found] == expected
    # The second convolution reads 24 x 80 x 8 and writes 12 x 40 x 24 values, all of one byte.
    assert found[1].moved == 24 * 80 * 8 + 12 * 40 * 24


@pytest.mark.parametrize("rank", ["known", "unknown"])
def test_a_shape_that_cannot_be_known_is_an_error(rank: str) -> None:
    """Nothing is counted where an axis, or the number of axes, depends on the values."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("ArgMax", ["places"], ["found"], axis=0, keepdims=0),
        helper.make_node("Reshape", ["w", "found"], ["unranked"]),
        helper.make_node("Cast", ["places"], ["ranked"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["w", "ranked" if rank == "known" else "unranked"], ["y"]),
    ]
    with pytest.raises(ValueError, match="ranked' can't be known"):
        multiply_adds.multiply_adds(graph_of(nodes, (3,), {"w": (3, 2)}))


def test_limits_has_a_row_a_model() -> None:
    """The limit is the longer of the products' time and the bytes' time, at the best rates."""
    rates = limits.measure_rates(sizes=(64,), large=1_000_000, rounds=2)
    [row] = limits.measure_models(rates, ["default"], rounds=20)
    best = {
        kind: max(r["multiply_adds_a_second"] for r in rates["products"] if r["kind"] == kind)
        for kind in ("float32", "int8")
    }
    floats = row["multiply_adds"] - row["int8_multiply_adds"]
    seconds = floats / best["float32"] + row["int8_multiply_adds"] / best["int8"]
    assert row["arithmetic_ms"] == pytest.approx(1000 * seconds, rel=1e-3)
    assert row["limit_ms"] == max(row["arithmetic_ms"], row["bytes_ms"])
    assert row["weight_bytes"] > 150_000  # of 183 kB
    whole = limits.measure_path(rounds=3)
    assert whole["share"] == pytest.approx(whole["session_ms"] / whole["solve_ms"], rel=1e-3)


def test_path_has_a_row_a_kind() -> None:
    """A solve takes longer than the bare pair; what is read right is counted."""
    pictures = [(sample, sample.stem) for sample in SAMPLES]
    pictures[0] = (pictures[0][0], "another text")
    rows = path.measure({"samples": pictures, "one": pictures[:1]}, number=3, rounds=4)
    assert [(row["kind"], row["pictures"], row["right"]) for row in rows] == [
        ("samples", 3, 2),
        ("one", 1, 0),
    ]
    for row in rows:
        assert 0 < row["session_ms"] < row["bare_ms"] < row["solve_ms"]
        ratio = row["solve_ms"] / row["bare_ms"]
        assert row["over_bare"] == pytest.approx(ratio, rel=0.01)
    assert path.table({"kinds": rows}).count("\n") == 4


def test_every_form_of_a_model_answers_alike() -> None:
    """The runtime's session loads what onnxruntime saves, and gives the same scores."""
    rows = load_time.load("default", rounds=1)
    assert [row["form"] for row in rows] == [load_time.PLAIN, *load_time.OPTIMISED]
    assert len({row["bytes"] for row in rows}) == len(rows)
    model = load_model()
    inputs = models.noise(model.manifest)
    expected = Session(model.data, model.manifest, device="cpu").run(inputs)
    for form in load_time.OPTIMISED.values():
        data = load_time.optimise(model.data, *form)
        assert (data[4:8] == b"ORTM") == (form[1] == "ORT")
        scores = Session(data, model.manifest, device="cpu").run(inputs)
        np.testing.assert_allclose(scores, expected, atol=1e-3)


def test_growth_is_the_power_that_time_grows_with() -> None:
    """Quadratic growth has slope 2; a line through two points has no standard error."""
    assert scale.growth([1, 10, 100], [3, 300, 30_000]) == {
        "slope": 2.0,
        "standard_error": pytest.approx(0, abs=1e-6),
        "r2": 1.0,
    }
    assert scale.growth([1, 4], [5, 10])["slope"] == 0.5
    assert scale.growth([1, 4], [5, 10])["standard_error"] is None


def test_scale_measures_all_rows_and_continues_where_it_was(tmp_path: Path) -> None:
    """A second call measures only the missing rows."""
    sizes = {
        "sizes": (1, 12),
        "batches": (1, 2),
        "widths": (0.5, 1.0),
        "rounds": {"batches": 1, "workers": 1, "widths": 2},
    }
    part = Part("scale", runs=tmp_path)
    result = scale.measure(part, **sizes)
    assert [row["pictures"] for row in result["pictures"]] == [1, 12]
    assert all(row["cpu_ms"] > 0 for row in result["pictures"])
    if Path("/proc/self/status").exists():
        assert all(row["ready_mb"] <= row["peak_mb"] for row in result["pictures"])
    assert [row["batch"] for row in result["batches"]] == [1, 2]
    tried = {(row["workers"], row["count"]) for row in result["workers"]}
    assert tried >= {(kind, n) for kind in ("threads", "processes") for n in (1, 2)}
    half, whole = (row["multiply_adds"] for row in result["widths"])
    assert 3.5 < whole / half < 4
    assert whole == multiply_adds.multiply_adds(onnx.load_from_string(load_model().data))

    (tmp_path / "suite" / "scale" / "batches.json").unlink()
    again = scale.measure(part, **sizes)
    assert again["pictures"] == result["pictures"]
    assert again["widths"] == result["widths"]
    assert [row["batch"] for row in again["batches"]] == [1, 2]


def test_reading_many_pictures_keeps_no_answers() -> None:
    """Chunks of different sizes are all read."""
    row = scale.read_many(scale.CHUNK + 1)
    assert row["pictures"] == scale.CHUNK + 1
    assert row["rounds"] == 1


@pytest.mark.parametrize("name", models.SPECS)
def test_a_new_network_is_described_as_a_preset_is(name: str, tmp_path: Path) -> None:
    """Without a run each preset is built for its document's pictures."""
    model, manifest, trained = models.keras_model(name, tmp_path)
    preset = load_preset(name)
    assert not trained
    assert (manifest.decoder, manifest.recipe) == (preset.decoder, preset.recipe)
    assert (manifest.charset.blank is not None) == preset.blank
    assert model.output_shape == manifest.output.shape
    assert tuple(model.input_shape) == manifest.input.shape


def test_a_new_network_becomes_a_model_file(tmp_path: Path) -> None:
    """The runtime loads it, and its scores are those of the same network in Keras."""
    data, trained = models.preset_model("glyph", tmp_path)
    assert not trained
    path = tmp_path / "glyph.onnx"
    path.write_bytes(data)
    solver = Solver(path, device="cpu")
    inputs = models.noise(solver.manifest)
    assert inputs.shape == (6, 23, 15, 1)
    network, _, _ = models.keras_model("glyph", tmp_path)
    logits = network.predict(inputs, verbose=0)
    np.testing.assert_allclose(solver.session.run(inputs), softmax(logits), atol=1e-5)


def test_a_run_that_lies_there_is_taken(tmp_path: Path) -> None:
    """The export of the run is what is measured, and it counts as trained."""
    network, manifest, _ = models.keras_model("glyph", tmp_path)
    (tmp_path / "glyph").mkdir()
    network.save(tmp_path / "glyph" / "model.keras")
    described = replace(manifest, name="of a run")
    (tmp_path / "glyph" / "manifest.json").write_text(described.to_json(), "utf-8")
    data, trained = models.preset_model("glyph", tmp_path)
    assert trained
    assert detach(data).name == "of a run"
