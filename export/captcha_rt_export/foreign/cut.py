"""Finds the part of a Keras model that reads: from the picture to the scores.

Around it may stand what only training needs, a CTC loss with its label inputs, or what makes text
of scores, such as a CTC decoder and a `StringLookup`. These are cut off, and never built: so the
file that defines such a layer is not needed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.architecture import Architecture, Layer, Tensor

_END: Final = re.compile(
    r"ctc|decode|loss|cost|arg_?max|top_?k|(string|integer)_?lookup|strings?\b|strings?\.|join",
    re.IGNORECASE,
)
"""The names of what computes a loss or makes text: never of what computes scores."""

_GLUE: Final = re.compile(
    r"(^|[._])(log|add|addv2|math\.add|transpose|permute|cast|shape|get_?item|slicing\w*|multiply|"
    r"mul|ones|ones_like|fill|repeat|tile|expand_dims|maximum|clip|clip_by_value|squeeze|reshape)$|"
    r"^(Log|Add|Transpose|Cast|Shape|GetItem|Multiply|Ones|Full|Repeat|Tile|ExpandDims|Maximum|Clip)"
)
"""Operations that a loss or a decoder applies to the scores, to bring them into its own axes."""

CTC_LAST: Final = frozenset({"CTCLayer", "ctc_lambda_func", "ctc_batch_cost"})
"""The classes and functions of the examples on keras.io: TensorFlow's CTC, the blank last."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What reads, and what doesn't.

    Attributes:
        image: The input layer of the picture.
        scores: The tensors that hold the scores: several for a network with several heads.
        keep: The layers to build: those that read, and built-in ones beside them, in order.
        beside: A tensor of each layer that is kept and doesn't read.
        lines: What is cut off, a line each, for people.
        decoder: How the scores are read, where the file tells.
        blank: -1 for the last class, 0 for the first; None if unknown.
    """

    image: str
    scores: tuple[Tensor, ...]
    keep: tuple[str, ...]
    beside: tuple[Tensor, ...]
    lines: tuple[str, ...]
    decoder: Literal["ctc", "position"] | None
    blank: int | None


def cut(architecture: Architecture, at: str | None = None) -> Cut:
    """Finds the layers from the picture to the scores.

    Args:
        architecture: The model, with layers.
        at: The layer whose output are the scores; None finds it.

    Raises:
        ExportError: If there are no such layers, or more than one choice.
    """
    graph = _Graph(architecture)
    if at is not None and at not in architecture.layers:
        known = ", ".join(list(architecture.layers)[-8:])
        raise ExportError(f"--scores: no layer {at!r}; the last ones are {known}")
    image = _image(graph, [Tensor(at)] if at is not None else architecture.outputs)
    if at is not None:
        scores: tuple[Tensor, ...] = (Tensor(at),)
    else:
        found = [graph.before_end(tensor, image) for tensor in architecture.outputs]
        scores = tuple(dict.fromkeys(tensor for tensors in found for tensor in tensors))
    sigmoids = [tensor for tensor in scores if graph.activation(tensor) == "sigmoid"]
    scores = tuple(graph.before_sigmoid(tensor) for tensor in scores)
    if not scores:
        raise ExportError(
            f"{architecture.path}: no output depends on the picture {image!r} alone; name the "
            "layer whose output are the scores: --scores LAYER"
        )
    reading = graph.ancestors(tensor.layer for tensor in scores)
    _check_inputs(graph, reading, image)
    keep = graph.known_beside(reading, image)
    gone = [layer for layer in architecture.layers.values() if layer.name not in keep]
    ctc = [layer for layer in gone if "ctc" in f"{layer.name} {layer.class_name}".lower()]
    decoder, blank = _decoder(architecture, ctc, len(scores))
    return Cut(
        image=image,
        scores=scores,
        keep=tuple(name for name in architecture.layers if name in keep),
        beside=graph.tensors_of(keep - reading),
        lines=(
            *(_line(layer) for layer in gone),
            *(f"the sigmoid of {one.layer!r}: a softmax takes its place" for one in sigmoids),
        ),
        decoder=decoder,
        blank=blank,
    )


class _Graph:
    """The layers with what comes before and after each."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.layers = architecture.layers
        self._before: dict[str, frozenset[str]] = {}

    def ancestors(self, names: Iterable[str]) -> set[str]:
        """The layers themselves and all that they take tensors from."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(source.layer for source in self.layers[name].sources)
        return found

    def inputs(self, name: str) -> frozenset[str]:
        """The input layers that a layer depends on."""
        if name not in self._before:
            self._before[name] = frozenset(self.ancestors([name]) & {*self.architecture.inputs})
        return self._before[name]

    def is_end(self, layer: Layer, image: str) -> bool:
        """Whether a layer computes a loss, or makes text of scores."""
        if layer.kind == "keras":
            return layer.class_name in ("StringLookup", "IntegerLookup")
        names = f"{layer.class_name} {layer.name} {layer.config.get('function')}"
        return bool(_END.search(names)) or not self.inputs(layer.name) <= {image}

    def before_end(self, tensor: Tensor, image: str, *, inside: bool = False) -> list[Tensor]:
        """Walks back from an output to the scores; the output itself if it holds scores."""
        layer = self.layers[tensor.layer]
        if image not in self.inputs(layer.name):
            return []
        glue = inside and layer.kind == "operation" and _GLUE.search(layer.class_name)
        if not glue and not self.is_end(layer, image):
            return [tensor]
        found = [self.before_end(source, image, inside=True) for source in layer.sources]
        return list(dict.fromkeys(one for tensors in found for one in tensors))

    def before_sigmoid(self, tensor: Tensor) -> Tensor:
        """Leaves out a sigmoid layer for each class: the softmax that follows takes its place."""
        layer = self.layers[tensor.layer]
        if layer.class_name == "Activation" and self.activation(tensor) == "sigmoid":
            return layer.sources[0]
        return tensor

    def activation(self, tensor: Tensor) -> str:
        """The name of the activation of the layer that a tensor comes from; empty if none."""
        activation = self.layers[tensor.layer].config.get("activation")
        return activation if isinstance(activation, str) else ""

    def known_beside(self, reading: set[str], image: str) -> set[str]:
        """The layers that read, and built-in ones that take their tensors from these alone.

        Keras finds the weights of a `.keras` file by counting the layers of a class. So a built-in
        layer stays, even if nothing needs it.
        """
        keep = set(reading)
        for layer in self.layers.values():
            sources = {source.layer for source in layer.sources}
            known = layer.kind == "keras" and not self.is_end(layer, image)
            if known and sources and sources <= keep:
                keep.add(layer.name)
        return keep

    def tensors_of(self, names: set[str]) -> tuple[Tensor, ...]:
        """A tensor of each layer, as another layer or the model's outputs take it."""
        taken = [tensor for layer in self.layers.values() for tensor in layer.sources]
        found = {tensor.layer: tensor for tensor in (*self.architecture.outputs, *taken)}
        return tuple(found[name] for name in self.layers if name in names and name in found)


def _image(graph: _Graph, outputs: Iterable[Tensor]) -> str:
    """The input layer that takes the picture: the one with the most axes."""
    architecture = graph.architecture
    before = graph.ancestors(tensor.layer for tensor in outputs)
    inputs = [name for name in architecture.inputs if name in before]
    axes = {name: len(architecture.shape(name)) for name in inputs}
    most = max(axes.values(), default=0)
    found = [name for name in inputs if axes[name] == most]
    if len(found) == 1 and (most >= 3 or len(inputs) == 1):
        return found[0]
    seen = ", ".join(f"{name!r} {architecture.shape(name)}" for name in inputs) or "none"
    raise ExportError(
        f"{architecture.path}: which input is the picture? The inputs are {seen}; name the layer "
        "whose output are the scores, and depends on the picture alone: --scores LAYER"
    )


def _check_inputs(graph: _Graph, reading: set[str], image: str) -> None:
    others = [name for name in graph.architecture.inputs if name in reading and name != image]
    if not others:
        return
    shapes = ", ".join(f"{name!r} {graph.architecture.shape(name)}" for name in others)
    users = [
        layer.title
        for layer in graph.layers.values()
        if layer.name in reading and {source.layer for source in layer.sources} & {*others}
    ]
    raise ExportError(
        f"{graph.architecture.path}: besides the picture {image!r} the network takes {shapes}, for "
        f"{', '.join(users)}; captcha-rt has only a picture to give. Name an earlier layer whose "
        "output are the scores (--scores LAYER), or save a model without that input: "
        '`keras.Model(picture, scores).save("model.keras")`'
    )


def _decoder(
    architecture: Architecture, ctc: list[Layer], heads: int
) -> tuple[Literal["ctc", "position"] | None, int | None]:
    """How the scores are read, and where the blank is, as far as the file tells."""
    if ctc:
        names = {name for layer in ctc for name in (layer.class_name, _function(layer))}
        last = architecture.keras < 3 or bool(names & CTC_LAST)
        return "ctc", -1 if last else None
    if architecture.loss.lower() == "ctc":  # keras.losses.CTC, which has the blank first
        return "ctc", 0
    if "ctc" in architecture.loss.lower():
        return "ctc", -1 if architecture.keras < 3 else None
    if heads > 1 or "crossentropy" in architecture.loss.lower().replace("_", ""):
        return "position", None
    return None, None


def _function(layer: Layer) -> str:
    """The name of the function that a `Lambda` calls, where the file names it."""
    function = layer.config.get("function")
    if isinstance(function, dict):
        function = function.get("config")
    return function if isinstance(function, str) else ""


def _line(layer: Layer) -> str:
    if layer.class_name == "InputLayer":
        return f"the input {layer.name!r}"
    what = {"custom": "of its author's own code", "python": "Python code in the file"}
    return f"the layer {layer.title}" + (f", {what[layer.kind]}" if layer.kind in what else "")
