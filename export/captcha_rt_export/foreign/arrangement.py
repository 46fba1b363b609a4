"""Which axes of a graph's output are the batch, the time steps and the classes."""

from collections.abc import Callable, Sequence
from typing import Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, helper

from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.surgery import constant, with_outputs

_SCORES: Final = "scores"
_BATCH: Final = 64


class Arrangement:
    """How the outputs of a graph become `(N, T, C)` or `(N, C)`: found by running it.

    Attributes:
        scores: What the output holds.
        shape: The axes of the arranged output after the batch.
        ranks: The number of axes of each output.
    """

    def __init__(
        self,
        run_all: Callable[[NDArray[np.float32]], list[NDArray[np.float32]]],
        heads: int,
        axes: Sequence[int],
        batch: int | None,
    ) -> None:
        """Runs the graph on noise.

        Args:
            run_all: Runs the graph on one batch, and returns all outputs.
            heads: The number of outputs.
            axes: The axes of the input after the batch.
            batch: The size of the batch, if it is fixed.

        Raises:
            ExportError: If the outputs can't be scores.
        """
        self._run_all = run_all
        self._batch = batch
        rng = np.random.default_rng(0)
        sizes = [batch, batch] if batch else [2, 3]
        shown = [run_all(rng.random((n, *axes), np.float32)) for n in sizes]
        shapes = [[scores.shape for scores in outputs] for outputs in shown]
        if heads > 1 and len({*shapes[0]}) > 1:
            raise ExportError(
                f"the outputs have different shapes: {listed(shapes[0])}; name the one with the "
                "scores, or all heads with commas between them: --scores NAME"
            )
        first, second = shapes[0][0], shapes[1][0]
        self.ranks = [len(shape) for shape in shapes[0]]
        self._order = _axis_order(first, second, batch)
        ones = [i for i in self._order[1:] if first[i] == 1]
        self._squeezed = ones[: max(0, len(first) - 3)]
        self._order = [axis for axis in self._order if axis not in self._squeezed]
        if not 2 <= len(self._order) <= 3 or (heads > 1 and len(self._order) != 2):
            raise ExportError(
                f"the output has the shape {first}; scores are (N, T, C), (T, N, C), or (N, C) of "
                "one head or several: name another tensor by --scores NAME"
            )
        self._heads = heads
        # Where softmax tells, it is the class axis that adds up to 1.
        self.scores: Literal["logits", "probabilities"] = "logits"
        arranged = self._arrange(shown[0])
        if len(self._order) == 3 and not _sums_to_one(arranged) and heads == 1:
            turned = arranged.transpose(0, 2, 1)
            if _sums_to_one(turned) or _sums_to_one(np.exp(turned.clip(max=1))):
                self._order = [self._order[0], self._order[2], self._order[1]]
                arranged = turned
        if _sums_to_one(arranged):
            self.scores = "probabilities"
        self.shape: tuple[int, ...] = arranged.shape[1:]

    def run(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Runs the original graph on any number of rows; the scores come arranged."""
        size = self._batch or _BATCH
        found = []
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            missing = size - len(part) if self._batch else 0
            fed = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])
            found.append(self._arrange(self._run_all(fed))[: len(part)])
        return np.concatenate(found)

    def _arrange(self, outputs: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        if self._heads > 1:
            return np.stack(outputs, axis=1)
        [scores] = outputs
        if self._squeezed:
            kept = sorted(self._order)
            scores = scores.reshape([scores.shape[axis] for axis in kept])
            return scores.transpose([kept.index(axis) for axis in self._order])
        return scores.transpose(self._order)

    def append_to(self, graph: ModelProto) -> ModelProto:
        """Appends the same to a graph; its one output is then named `scores`."""

        def change(names: list[str]) -> list[onnx.NodeProto]:
            if self._heads > 1:
                heads = [f"{name}_head" for name in names]
                nodes = [
                    helper.make_node("Unsqueeze", [name, "heads_axis"], [head])
                    for name, head in zip(names, heads, strict=True)
                ]
                return [*nodes, helper.make_node("Concat", heads, [_SCORES], axis=1)]
            [name] = names
            nodes = []
            kept = sorted(self._order)
            if self._squeezed:
                nodes.append(helper.make_node("Squeeze", [name, "squeezed_axes"], ["squeezed"]))
                name = "squeezed"
            order = [kept.index(axis) for axis in self._order]
            if order == sorted(order):
                return [*nodes, helper.make_node("Identity", [name], [_SCORES])]
            return [*nodes, helper.make_node("Transpose", [name], [_SCORES], perm=order)]

        result = with_outputs(graph, _SCORES, change)
        if self._heads > 1:
            constant(result, "heads_axis", [1])
        if self._squeezed:
            constant(result, "squeezed_axes", sorted(self._squeezed))
        return result


def _axis_order(first: tuple[int, ...], second: tuple[int, ...], batch: int | None) -> list[int]:
    """The axes of an output, the batch first; others stay in order."""
    if batch:
        fits = [axis for axis, size in enumerate(first) if size == batch]
    else:
        fits = [axis for axis, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    if not fits:
        raise ExportError(
            f"no axis of the output {first} is the batch: the graph answers one picture, whatever "
            "it is given; export it again with a free batch, or name another tensor by --scores"
        )
    return [fits[0], *(axis for axis in range(len(first)) if axis != fits[0])]


def _sums_to_one(scores: NDArray[np.float32]) -> bool:
    return bool(
        scores.min() >= 0
        and scores.shape[-1] > 1
        and np.abs(scores.sum(axis=-1, dtype=np.float64) - 1).max() < 0.01
    )


def listed(shapes: Sequence[tuple[int | None, ...]]) -> str:
    """Shapes, for a message."""
    return ", ".join(
        "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"
        for shape in shapes
    )
