"""Tiny ONNX networks that read grey stripes, in the dress of other exporters, and their pictures.

A character is a stripe of three columns of its grey level, on white. Each column of a picture is a
time step, whose best class is the one with the nearest level; white is the blank.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

LEVELS = {"k": 0, "3": 20, "W": 50, "a": 90, "7": 140, "z": 200}
"""The grey level of each character. No other order of numbers, such as a negative, reads alike."""

WIDTH, HEIGHT = 32, 8
_SHARPNESS = 200.0
_NEVER = 500  # the level of a class that no stripe has


def draw_stripes(text: str, *, colour: bool = False) -> np.ndarray:
    """A picture `(8, 32, 3)` BGR; with `colour` only the blue channel shows the text."""
    picture = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for place, character in enumerate(text):
        picture[:, 2 + 5 * place : 5 + 5 * place] = LEVELS[character]
    if colour:
        picture[:, :, 1], picture[:, :, 2] = 250, 240
    return picture


def write_stripes(
    folder: Path, count: int = 24, *, colour: bool = False, length: int | None = None
) -> Path:
    """Draws pictures into a new folder; the names are the texts."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    texts: set[str] = set()
    while len(texts) < count:
        long = int(rng.integers(3, 6)) if length is None else length
        texts.add("".join(rng.choice([*LEVELS], long)))
    for text in texts:
        cv2.imwrite(str(folder / f"{text}.png"), draw_stripes(text, colour=colour))
    return folder


@dataclass(frozen=True)
class Dress:
    """What another exporter, or another notebook, does differently.

    Attributes:
        order: The characters in the order of the classes; `?` is a class that is never read.
        blank: Where the blank stands.
        channels: The number of channels; of three, the first is read.
        low: What black is in the input, where white is `high`.
        high: What white is.
        channels_first: Whether the input is `(N, C, H, W)`.
        transposed: Whether the width stands first.
        time_first: Whether the output is `(T, N, C)`, as PyTorch's LSTMs have it.
        batch: The size of the batch; None if it is free.
        free_width: Whether the width is free.
        end: The last operator, such as `Softmax`; empty for logits.
        kind: The type of the numbers.
        opset: The version of the operators.
    """

    order: str = "3W7akz"
    blank: str = "last"
    channels: int = 1
    low: float = 0.0
    high: float = 1.0
    channels_first: bool = False
    transposed: bool = False
    time_first: bool = False
    batch: int | None = None
    free_width: bool = False
    end: str = "Softmax"
    kind: int = TensorProto.FLOAT
    opset: int = 17

    @property
    def levels(self) -> list[float]:
        """The level of each class, in 0..1."""
        levels = [LEVELS.get(c, _NEVER) / 255 for c in self.order]
        return [1.0, *levels] if self.blank == "first" else [*levels, 1.0]


def build(dress: Dress, extra: Sequence[NodeProto] = ()) -> onnx.ModelProto:
    """Builds the network: input `image`, output `y`."""
    width = "width" if dress.free_width else WIDTH
    sides = [width, HEIGHT] if dress.transposed else [HEIGHT, width]
    shape = [dress.channels, *sides] if dress.channels_first else [*sides, dress.channels]
    batch = dress.batch or "batch"
    # To (N, H, W, C), then one value for each column.
    order = [0, 1, 2, 3]
    if dress.channels_first:
        order = [0, 2, 3, 1]
    if dress.transposed:
        order = [order[0], order[2], order[1], order[3]]
    levels = np.asarray(dress.levels, np.float32)
    slope = (2 * _SHARPNESS * levels / (dress.high - dress.low)).reshape(1, -1)
    bias = -_SHARPNESS * levels**2 - slope[0] * dress.low
    floats = {"slope": slope, "bias": bias}
    ints = {"first": [0], "one": [1], "channel": [3], "height": [1]}
    steps = HEIGHT if dress.free_width else WIDTH
    nodes = [
        helper.make_node("Transpose", ["image"], ["nhwc"], perm=order),
        helper.make_node("Slice", ["nhwc", "first", "one", "channel"], ["red"]),
        helper.make_node("ReduceMean", ["red"], ["columns"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["columns", "slope"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ]
    last = "logits"
    if dress.batch is not None:  # as PyTorch flattens time steps and batch, with their sizes
        classes = len(levels)
        ints |= {"flat": [dress.batch * steps, classes], "steps": [dress.batch, steps, classes]}
        nodes += [
            helper.make_node("Reshape", [last, "flat"], ["flattened"]),
            helper.make_node("Reshape", ["flattened", "steps"], ["by_step"]),
        ]
        last = "by_step"
    if dress.time_first:
        nodes.append(helper.make_node("Transpose", [last], ["time_first"], perm=[1, 0, 2]))
        last = "time_first"
    if dress.end in ("Softmax", "LogSoftmax"):
        nodes.append(helper.make_node(dress.end, [last], ["y"], axis=2))
    elif dress.end == "ArgMax":
        nodes.append(helper.make_node("ArgMax", [last], ["y"], axis=2, keepdims=0))
    else:
        nodes.append(helper.make_node(dress.end or "Identity", [last], ["y"]))
    kind = TensorProto.INT64 if dress.end == "ArgMax" else dress.kind
    axes = [None] * (2 if dress.end == "ArgMax" else 3)
    numbers = helper.tensor_dtype_to_np_dtype(dress.kind)
    graph = helper.make_graph(
        [*nodes, *extra],
        "striped",
        [helper.make_tensor_value_info("image", dress.kind, [batch, *shape])],
        [helper.make_tensor_value_info("y", kind, axes)],
        [
            *(numpy_helper.from_array(v.astype(numbers), n) for n, v in floats.items()),
            *(numpy_helper.from_array(np.asarray(v, np.int64), n) for n, v in ints.items()),
        ],
    )
    opset = [helper.make_opsetid("", dress.opset)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="pytorch")


def save(path: Path, dress: Dress = Dress()) -> Path:
    """Writes the network."""
    onnx.save(build(dress), path)
    return path
