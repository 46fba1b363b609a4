"""Builds into a graph what ddddocr doesn't do: the rest of the recipe, and the order of classes.

ddddocr resizes a picture to the size that the charset's file names, makes it grey if the file says
one channel, and gives the network `(1, C, H, W)` float32 in 0..1. It takes the best class of each
time step, merges repeats and drops class 0. What a model needs beyond that becomes nodes before and
after its graph. The size of the picture is fixed, so that these nodes need no arithmetic of shapes.
"""

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from captcha_rt.errors import RecipeError
from captcha_rt.manifest import Manifest
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Channel, Crop, Fit, Frames, Grey, Resize, Rgb, Scale, Step, Transpose
from captcha_rt_export.errors import ExportError

_PREFIX: Final = "ddddocr_"
"""The first letters of all names that are added to a graph."""

_NEVER: Final = -1e4
"""The score of a class that a time step never has: its probability is 0 in float32."""


class Frame(NamedTuple):
    """The size to which ddddocr resizes a picture before the graph sees it, in pixels."""

    width: int
    height: int


@dataclass(slots=True)
class _Chain:
    """Nodes, each of which changes what the one before made.

    Attributes:
        value: The name of the last result.
        shape: The shape `(C, H, W)` of a picture at this point; C is 0 where it depends on the
            picture. Scores have no such shape.
        is_bytes: Whether captcha-rt has bytes at this point, which it rounds; here they are in
            0..1, as ddddocr makes them.
        nodes: The nodes so far.
        constants: The constants of these nodes.
    """

    value: str
    shape: tuple[int, int, int] = (0, 0, 0)
    is_bytes: bool = True
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401
        """Adds a node, and makes its result the last one.

        Args:
            operator: The ONNX operator.
            *inputs: The names of its inputs; without any, the last result.
            **attributes: Its attributes.

        Returns:
            The name of the result.
        """
        name = f"{_PREFIX}{operator}_{len(self.nodes)}_of_{self.value.removeprefix(_PREFIX)[:12]}"
        self.nodes.append(helper.make_node(operator, inputs or [self.value], [name], **attributes))
        self.value = name
        return name

    def with_constant(self, operator: str, value: Any, dtype: type = np.float32) -> str:  # noqa: ANN401
        """Adds a node that takes the last result and a constant."""
        return self.add(operator, self.value, self.constant(value, dtype))

    def constant(self, value: Any, dtype: type = np.float32) -> str:  # noqa: ANN401
        """Adds a constant; returns its name."""
        name = f"{_PREFIX}constant_{len(self.constants)}_of_{self.value.removeprefix(_PREFIX)[:12]}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def slice(self, axis: int, start: int, stop: int, step: int = 1) -> str:
        """Keeps a part of one axis."""
        parts = (self.constant([part], np.int64) for part in (start, stop, axis, step))
        return self.add("Slice", self.value, *parts)


def channels_of(recipe: Recipe) -> int:
    """How many channels ddddocr has to make of a picture: 1, which is grey, or 3.

    With 3 it takes a picture as it is: grey, with colours or with alpha.
    """
    return 1 if any(isinstance(step, Grey) for step in recipe.steps) else 3


def is_over_white(recipe: Recipe) -> bool:
    """Whether ddddocr has to lay transparent pixels over white, by its option `png_fix`."""
    return any(
        isinstance(step, Rgb) or (isinstance(step, Grey) and step.over_white)
        for step in recipe.steps
    )


def build(graph: bytes, manifest: Manifest, frame: Frame) -> onnx.ModelProto:
    """Makes the graph that ddddocr runs.

    Args:
        graph: The serialised ONNX model.
        manifest: The model's description.
        frame: The size of the pictures that the new graph takes.

    Returns:
        A graph from `(N, C, H, W)` float32 in 0..1 to scores `(N, T, C)`, whose softmax is the
        probability, with the blank as class 0. Of a model that reads by position, a time step that
        is blank follows each position, so that doubled characters aren't merged.

    Raises:
        ExportError: If ddddocr and a graph can't do what the recipe or the decoder does.
        RecipeError: If the recipe can't use pictures of this size.
    """
    if manifest.decoder == "glyph":
        raise ExportError("ddddocr reads one line of text; this model reads one glyph at a time")
    proto = onnx.load_from_string(graph)
    before = _prepare(manifest, frame)
    before.nodes[-1].output[0] = manifest.input.name
    after = _order_classes(manifest)
    after.nodes[-1].output[0] = f"{_PREFIX}scores"
    nodes = [*before.nodes, *proto.graph.node, *after.nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend([*before.constants, *after.constants])
    del proto.graph.input[:], proto.graph.output[:]
    channels: int | str = "C" if channels_of(manifest.recipe) == 3 else 1
    size: list[int | str] = ["N", channels, frame.height, frame.width]
    float32 = onnx.TensorProto.FLOAT
    proto.graph.input.append(helper.make_tensor_value_info(f"{_PREFIX}image", float32, size))
    steps = (manifest.output.shape[1] or 0) * (2 if manifest.decoder == "position" else 1)
    shape: list[int | str] = ["N", steps, len(characters_of(manifest))]
    proto.graph.output.append(helper.make_tensor_value_info(f"{_PREFIX}scores", float32, shape))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def characters_of(manifest: Manifest) -> list[str]:
    """The characters in the order of the new graph's classes; that of the blank is empty."""
    return ["", *manifest.charset.characters]


def _prepare(manifest: Manifest, frame: Frame) -> _Chain:
    """The nodes before the graph: what the recipe does beyond ddddocr's preprocessing."""
    grey = channels_of(manifest.recipe) == 1
    chain = _Chain(f"{_PREFIX}image", (1 if grey else 0, frame.height, frame.width))
    for step in manifest.recipe.steps:
        _add_step(chain, step)
    channels, height, width = chain.shape
    made = (height, width, channels or manifest.tensor_shape[-1])
    if made != manifest.tensor_shape:
        raise RecipeError(
            f"a picture of {frame.width} x {frame.height} pixels becomes {made}, the model takes "
            f"{manifest.tensor_shape}"
        )
    chain.add("Transpose", perm=[0, 2, 3, 1])
    return chain


def _add_step(chain: _Chain, step: Step) -> None:
    """Adds the nodes of one step; a picture is `(N, C, H, W)`."""
    channels, height, width = chain.shape
    match step:
        case Frames(pick=0) | Grey():  # ddddocr takes the first frame, and makes grey
            pass
        case Rgb() if channels == 0:
            chain.slice(1, 0, 3)
            chain.with_constant("Expand", [1, 3, 1, 1], np.int64)  # a grey picture has one channel
            channels = 3
        case Channel(index) if channels == 0:
            chain.slice(1, index, index + 1)
            channels = 1
        case Scale():
            chain.is_bytes = False
        case Crop(x, y, wide, high):
            if x + wide > width or y + high > height:
                raise RecipeError(f"a picture of {width} x {height} pixels is too small to crop")
            chain.slice(2, y, y + high)
            chain.slice(3, x, x + wide)
            height, width = high, wide
        case Resize(high, wide):
            _resize(chain, high, wide, cv2.INTER_LINEAR)
            height, width = high, wide
        case Fit():
            _fit(chain, step)
            height, width = step.height, step.width
        case Transpose():
            chain.add("Transpose", perm=[0, 1, 3, 2])
            height, width = width, height
        case _:
            raise ExportError(
                f"the recipe has the step {step.name!r}, which neither ddddocr nor the graph can "
                "do; train with a recipe of grey, rgb, channel, scale, resize, fit, crop and "
                "transpose to take the model there"
            )
    chain.shape = (channels, height, width)


def _resize(chain: _Chain, high: int, wide: int, how: int) -> None:
    """Resizes; OpenCV itself says with which weights."""
    _, height, width = chain.shape
    if (high, wide) == (height, width):
        return
    if chain.is_bytes and how == cv2.INTER_LINEAR:
        _resize_bytes(chain, high, wide)
        return
    columns = cv2.resize(np.eye(width, dtype=np.float32), (width, wide), interpolation=how)
    rows = cv2.resize(np.eye(height, dtype=np.float32), (height, high), interpolation=how)
    if chain.is_bytes:
        chain.with_constant("Mul", 255)
    chain.with_constant("MatMul", columns.T)
    chain.add("MatMul", chain.constant(rows), chain.value)
    if chain.is_bytes:
        chain.add("Round")
        chain.with_constant("Div", 255)


def _resize_bytes(chain: _Chain, high: int, wide: int) -> None:
    """Resizes bytes bilinearly as OpenCV does, to the bit: in integers, which it cuts off.

    With rounding instead, pictures are an eighth of a level brighter. Of 300 unsure answers of the
    general model that changed 15.
    """
    _, height, width = chain.shape
    left, right, of_left, of_right = _neighbours(width, wide)
    edge = np.clip(left, 0, width - 1) != left  # at the edges a column is one pixel
    of_left, of_right = np.where(edge, 2048, of_left), np.where(edge, 0, of_right)
    columns = np.zeros((width, wide), np.float32)
    for pixels, weights in ((left, of_left), (right, of_right)):
        columns[np.clip(pixels, 0, width - 1), np.arange(wide)] += weights
    chain.with_constant("Mul", 255)
    chain.add("Round")
    chain.with_constant("MatMul", columns)
    chain.add("Cast", to=onnx.TensorProto.INT32)
    summed = chain.with_constant("Div", 16, np.int32)
    upper, lower, of_upper, of_lower = _neighbours(height, high)
    halves = []
    for pixels, weights in ((upper, of_upper), (lower, of_lower)):
        chosen = chain.constant(np.clip(pixels, 0, height - 1), np.int64)
        chain.add("Gather", summed, chosen, axis=2)
        chain.with_constant("Mul", weights[:, None], np.int32)
        halves.append(chain.with_constant("Div", 1 << 16, np.int32))
    chain.add("Add", *halves)
    chain.with_constant("Add", 2, np.int32)
    chain.with_constant("Div", 4, np.int32)
    chain.add("Cast", to=onnx.TensorProto.FLOAT)
    chain.with_constant("Div", 255)


def _neighbours(
    size: int, new: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The two pixels that each new one lies between, and their weights, which add up to 2048."""
    places = ((np.arange(new) + 0.5) * (1 / (new / size)) - 0.5).astype(np.float32)
    first = np.floor(places)
    second = np.rint((places - first) * np.float32(2048)).astype(np.int64)
    return first.astype(np.int64), first.astype(np.int64) + 1, 2048 - second, second


def _fit(chain: _Chain, step: Fit) -> None:
    """Resizes into the middle of a frame that has the median of each channel."""
    _, height, width = chain.shape
    scale, left, top = step.place((height, width))
    high, wide = max(1, round(scale * height)), max(1, round(scale * width))
    picture = chain.value
    background = _median(chain)
    chain.value = picture
    _resize(chain, high, wide, cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR)
    below, right = step.height - high - top, step.width - wide - left
    inside = chain.with_constant("Pad", [0, 0, top, left, 0, 0, below, right], np.int64)
    outside = np.ones((1, 1, step.height, step.width), np.float32)
    outside[:, :, top : top + high, left : left + wide] = 0
    chain.add("Mul", background, chain.constant(outside))
    chain.add("Add", inside, chain.value)


def _median(chain: _Chain) -> str:
    """The median of each channel as `Fit` takes it; returns the name of `(N, C, 1, 1)`."""
    _, height, width = chain.shape
    every = max(1, height // 16)
    count = len(range(0, height, every)) * width
    chain.slice(2, 0, height, every)
    chain.with_constant("Reshape", [0, 0, count], np.int64)
    ordered, places = f"{_PREFIX}ordered", f"{_PREFIX}places"
    inputs = [chain.value, chain.constant([count // 2 + 1], np.int64)]
    chain.nodes.append(helper.make_node("TopK", inputs, [ordered, places], largest=0))
    middles = chain.constant([(count - 1) // 2, count // 2], np.int64)
    chain.add("Gather", ordered, middles, axis=2)
    chain.with_constant("MatMul", [[0.5 * 255], [0.5 * 255]])
    chain.with_constant("Add", 1e-3)  # what float32 makes a little too small isn't rounded down
    chain.add("Floor")
    chain.with_constant("Div", 255)
    return chain.with_constant("Unsqueeze", [3], np.int64)


def _order_classes(manifest: Manifest) -> _Chain:
    """The nodes after the graph: the blank first, and logits, since ddddocr applies a softmax."""
    chain = _Chain(manifest.output.name)
    blank, classes = manifest.charset.blank, manifest.charset.classes
    if manifest.scores == "probabilities":
        chain.with_constant("Max", np.finfo(np.float32).tiny)
        chain.add("Log")
    else:
        chain.with_constant("Div", manifest.temperature)
    if blank is None:
        pads = chain.constant([0, 0, 1, 0, 0, 0], np.int64), chain.constant(_NEVER)
        chain.add("Pad", chain.value, *pads)
    elif blank:
        order = [blank, *(i for i in range(classes) if i != blank)]
        chain.add("Gather", chain.value, chain.constant(order, np.int64), axis=2)
    if manifest.decoder == "position":
        classes, positions = len(characters_of(manifest)), manifest.output.shape[1]
        chain.with_constant("Unsqueeze", [2], np.int64)
        pads = chain.constant([0, 0, 0, 0, 0, 0, 1, 0], np.int64), chain.constant(_NEVER)
        chain.add("Pad", chain.value, *pads)
        blanks = np.zeros((1, 1, 2, classes), np.float32)
        blanks[0, 0, 1, 0] = -_NEVER
        chain.with_constant("Add", blanks)
        chain.with_constant("Reshape", [0, 2 * (positions or 0), classes], np.int64)
    return chain
