"""Makes the tiny models beside this file: `python tests/models/make_models.py` (needs onnx).

`stripes.onnx` reads vertical stripes by their grey level. Each column of a picture is one time
step, and the class whose level is nearest to the column's mean has the highest logit. So a test can
draw a picture with a known text, and everything from picture to text is real. `stripes-nan.onnx`
does so, too, but returns NaN for a picture that is all black. `stripes-loop.onnx` and
`stripes-spin.onnx` never end with such a picture; onnxruntime can stop the one, but not the other,
whose loop has no node in it. `bars.onnx` reads six vertical bars,
which are cut out as glyphs, by their widths: the mean level of a glyph tells the width.
"""

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from captcha_rt.charset import Charset
from captcha_rt.manifest import Manifest, Tensor
from captcha_rt.model import attach
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Clip, Glyphs, Grey, RemoveArtifacts, Resize, Scale, Transpose

HERE = Path(__file__).parent
WIDTH, HEIGHT = 16, 4
LEVELS = (1.0, 0.0, 1 / 3, 2 / 3)
"""The grey levels of the blank (white), a (black), b and c, in 0..1."""

SHARPNESS = 60.0
"""A logit is minus this number times the squared distance between a level and the class's own."""

BARS = (3, 6, 9)
"""The widths of the bars a, b and c, in pixels; they are 18 pixels high."""


def make_stripes(on_black: Literal["read", "nan", "loop", "spin"]) -> bytes:
    """Makes a model that reads one stripe per column.

    Args:
        on_black: What happens with a picture that is all black: it is read, gives NaN, or the graph
            never ends, in a loop with a node (`"loop"`) or without one (`"spin"`).

    Returns:
        The bytes of the model file.
    """
    levels = np.asarray(LEVELS, np.float32)
    # -(x - level)², without the -x² that all classes share, is linear in x.
    slope = (2 * SHARPNESS * levels)[None]
    bias = -SHARPNESS * levels**2
    output = "logits" if on_black == "read" else "scores"
    nodes = [
        helper.make_node("ReduceMean", ["image", "height"], ["columns"], keepdims=0),
        helper.make_node("MatMul", ["columns", "slope"], ["product"]),
        helper.make_node("Add", ["product", "bias"], [output]),
    ]
    constants = {"height": np.asarray([2], np.int64), "slope": slope, "bias": bias}
    if on_black != "read":
        constants |= {"picture": np.asarray([1, 2], np.int64), "zero": np.zeros(1, np.float32)}
        nodes.append(helper.make_node("ReduceMax", ["columns", "picture"], ["brightest"]))
    if on_black in ("loop", "spin"):
        nodes += [
            helper.make_node("ReduceMin", ["brightest"], ["darkest"], keepdims=0),
            helper.make_node("LessOrEqual", ["darkest", "zero"], ["black"]),
            helper.make_node("Loop", ["", "black", "scores"], ["logits"], body=_body(on_black)),
        ]
    if on_black == "nan":
        nodes += [
            helper.make_node("Log", ["brightest"], ["log"]),
            helper.make_node(
                "Mul", ["log", "zero"], ["nothing"]
            ),  # 0; NaN if the picture is black, from log(0)
            helper.make_node("Add", ["scores", "nothing"], ["logits"]),
        ]
    manifest = Manifest(
        name="stripes",
        charset=Charset("abc", blank=0),
        recipe=Recipe((Grey(), Scale(), Resize(HEIGHT, WIDTH), Transpose())),
        decoder="ctc",
        scores="logits",
        input=Tensor("image", (None, WIDTH, HEIGHT, 1)),
        output=Tensor("logits", (None, WIDTH, len(LEVELS))),
        licence="Apache-2.0",
    )
    return build(nodes, constants, manifest)


def _body(on_black: str) -> GraphProto:
    """The body of a loop that runs for ever if it runs at all: it only passes on what it gets."""
    shape = ["N", WIDTH, len(LEVELS)]
    black = helper.make_tensor_value_info("still", TensorProto.BOOL, None)
    step = helper.make_tensor_value_info("step", TensorProto.INT64, [])
    before = helper.make_tensor_value_info("before", TensorProto.FLOAT, shape)
    if on_black == "spin":
        return helper.make_graph([], "body", [step, black, before], [black, before])
    after = helper.make_tensor_value_info("after", TensorProto.FLOAT, shape)
    copy = helper.make_node("Identity", ["before"], ["after"])
    return helper.make_graph([copy], "body", [step, black, before], [black, after])


def make_bars() -> bytes:
    """Makes a model that reads one bar per glyph; returns the bytes of the model file."""
    glyph = Glyphs()
    levels = np.asarray([1 - 18 * width / (glyph.height * glyph.width) for width in BARS], "f4")
    constants = {
        "all": np.asarray([1, 2, 3], np.int64),
        "row": np.asarray([-1, 1], np.int64),
        "slope": (20 * SHARPNESS * levels)[None],
        "bias": -10 * SHARPNESS * levels**2,
    }
    nodes = [
        helper.make_node("ReduceMean", ["glyph", "all"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "row"], ["rows"]),
        helper.make_node("MatMul", ["rows", "slope"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ]
    manifest = Manifest(
        name="bars",
        charset=Charset("abc"),
        recipe=Recipe((Grey(), RemoveArtifacts(), Clip(), glyph, Scale())),
        decoder="glyph",
        scores="logits",
        input=Tensor("glyph", (None, glyph.height, glyph.width, 1)),
        output=Tensor("logits", (None, len(BARS))),
        licence="Apache-2.0",
    )
    return build(nodes, constants, manifest)


def build(nodes: list[NodeProto], constants: dict[str, np.ndarray], manifest: Manifest) -> bytes:
    """Makes a model file from nodes, with the input and output of the manifest."""
    values = [
        helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, ["N", *tensor.shape[1:]])
        for tensor in (manifest.input, manifest.output)
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, manifest.name, values[:1], values[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return attach(model.SerializeToString(), manifest)


MODELS = {
    HERE / "bars.onnx": make_bars,
    HERE / "stripes.onnx": partial(make_stripes, "read"),
    HERE / "stripes-nan.onnx": partial(make_stripes, "nan"),
    HERE / "stripes-loop.onnx": partial(make_stripes, "loop"),
    HERE / "stripes-spin.onnx": partial(make_stripes, "spin"),
}

if __name__ == "__main__":
    for path, make in MODELS.items():
        path.write_bytes(make())
