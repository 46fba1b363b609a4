"""Tries ways to read a foreign network's answers on pictures, and counts what is read right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from captcha_rt.charset import Charset
from captcha_rt.errors import RecipeError
from captcha_rt.recipe import Recipe
from captcha_rt.session import import_onnxruntime
from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.alignment import Alignment, align, read_paths
from captcha_rt_export.foreign.network import ForeignNetwork
from captcha_rt_export.foreign.recipes import parse_recipe
from captcha_rt_export.foreign.surgery import shape_of

_BATCH = 64


@dataclass(frozen=True, slots=True)
class Way:
    """A way to read a network.

    Attributes:
        recipe: The recipe in the short language.
        decoder: The decoder.
        blank: The blank's class; None if there is none.
        length: For an output `(N, C)`: the number of characters of a picture, whose scores stand
            side by side or, for the decoder `"glyph"`, in as many rows; None for `(N, T, C)`.
    """

    recipe: str
    decoder: str
    blank: int | None
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What a way has read.

    Attributes:
        way: The way.
        right: The number of pictures that were read right; 0 without labels.
        total: The number of pictures.
        alignment: What the classes seem to mean.
        sharpness: The mean probability of the best classes, in 0..1: ways that read equally well
            differ in it.
        blanks: The share of the time steps that hold the blank, in 0..1.
        tensors: A digest of the network's inputs: two recipes may make the same of the pictures.
    """

    way: Way
    right: int
    total: int
    alignment: Alignment
    sharpness: float
    blanks: float
    tensors: int

    @property
    def rank(self) -> tuple[int, float, float]:
        """What makes a way better than another."""
        fits = self.alignment.share * self.alignment.compared / max(1, self.total)
        return self.right, round(fits, 3), self.sharpness


@dataclass
class Trials:
    """Pictures to try ways on.

    Attributes:
        network: The network.
        pictures: The decoded pictures.
        labels: Their labels; None where they have none.
    """

    network: ForeignNetwork
    pictures: Sequence[NDArray[np.uint8]]
    labels: Sequence[str] | None
    _inferred: "dict[tuple[Any, ...], tuple[NDArray[np.intp], float]]" = field(
        init=False, repr=False, default_factory=dict
    )
    _session: Any = field(init=False, repr=False)
    _answers: "dict[tuple[Any, ...], _Answers | None]" = field(
        init=False, repr=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._session = ort.InferenceSession(
            self.network.graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def read(self, way: Way, count: int, charset: Charset | None = None) -> Trial | None:
        """Reads the first pictures in a way.

        Args:
            way: The way.
            count: The number of pictures.
            charset: The characters, where they are known; None finds them by the labels.

        Returns:
            What was read; None if the recipe can't use any of the pictures.
        """
        ran = self._run(way, count)
        if ran is None:
            return None
        paths = read_paths(ran.best, way.decoder, way.blank)
        labels = self.labels[:count] if self.labels is not None else None
        total = min(count, len(self.pictures))
        fitting = [""] * len(paths)
        if labels is not None:
            fitting = [labels[index] for index in ran.readable]
        alignment = align(paths, fitting)
        known = alignment.characters if charset is None else _characters(charset)
        texts = ["".join(known.get(i, "\ufffd") for i in path) for path in paths]
        right = sum(text == label for text, label in zip(texts, fitting, strict=True) if label)
        blanks = float((ran.best == way.blank).mean()) if way.blank is not None else 0.0
        return Trial(way, right, total, alignment, ran.sharpness, blanks, ran.tensors)

    def without_vocabulary(self) -> "Trials":
        """The same trials of a network whose file names no characters; it keeps all answers."""
        other = replace(self, network=replace(self.network, vocabulary=None))
        other._inferred, other._answers = self._inferred, self._answers
        return other

    def most_frequent(self, way: Way, count: int) -> int | None:
        """The class that most time steps hold: in a network for CTC it is the blank."""
        ran = self._run(way, count)
        return None if ran is None else int(np.bincount(ran.best.ravel()).argmax())

    def _run(self, way: Way, count: int) -> "_Answers | None":
        """What the network answers; None if the recipe can't use any of the pictures."""
        key = (way.recipe, way.decoder if way.length else "", way.length, count)
        if key in self._answers:
            return self._answers[key]
        parsed = parse_recipe(way.recipe)
        tensors, readable = _prepare(parsed, self.pictures[:count])
        found = None
        if readable:
            rows = np.stack(tensors)
            if any(step.name == "glyphs" for step in parsed.steps):
                rows = rows.reshape(-1, *rows.shape[2:])
            made, taken = rows.shape[1:], shape_of(self.network.graph.graph.input[0])[1:]
            if made != taken:
                raise misfit(way.recipe, made, taken)
            digest = hash(rows.tobytes())
            same = (digest, *key[1:])  # several recipes may make the same of these pictures
            if same not in self._inferred:
                self._inferred[same] = self._infer(rows, way)
            found = _Answers(readable, *self._inferred[same], digest)
        self._answers[key] = found
        return found

    def _infer(self, rows: NDArray[np.float32], way: Way) -> tuple[NDArray[np.intp], float]:
        """The best classes, and their mean probability.

        The scores of all pictures would fill the memory, where there are thousands of classes.
        """
        name = self._session.get_inputs()[0].name
        size = _BATCH * (way.length or 1)  # rows of whole pictures
        best, tops = [], []
        for start in range(0, len(rows), size):
            [scores] = self._session.run(None, {name: rows[start : start + size]})
            steps = by_steps(scores, way)
            best.append(steps.argmax(axis=2))
            top = steps.max(axis=2)
            if self.network.scores == "logits":
                top = 1 / np.exp(steps - top[:, :, None]).sum(axis=2)
            tops.append(top)
        return np.concatenate(best), float(np.concatenate(tops).mean())


class _Answers(NamedTuple):
    """What the network answers to pictures, prepared in one way.

    Attributes:
        readable: The numbers of the pictures that the recipe can use.
        best: `(P, T)`, the best class of each time step.
        sharpness: The mean probability of these classes.
        tensors: A digest of the inputs.
    """

    readable: list[int]
    best: NDArray[np.intp]
    sharpness: float
    tensors: int


def misfit(recipe: str, made: Sequence[int], taken: Sequence[int | None]) -> ExportError:
    """The error for a recipe whose result the network doesn't take; it says what may be missing."""
    hint = ""
    if len(made) == 3 and len(taken) == 3:
        height, width, channels = made
        ends: dict[tuple[int | None, ...], str] = {
            (channels, height, width): "channels_first",
            (width, height, channels): "transpose",
            (channels, width, height): "transpose,channels_first",
        }
        if tuple(taken) in ends:
            hint = f", such as --recipe {recipe},{ends[tuple(taken)]}"
    return ExportError(
        f"the recipe makes {tuple(made)}, the network takes {tuple(taken)}: name another by "
        f"--recipe{hint}"
    )


def by_steps(scores: NDArray[np.float32], way: Way) -> NDArray[np.float32]:
    """Scores as `(P, T, C)`, whichever axes the output has."""
    if way.length is None:
        return scores
    if way.decoder == "glyph":
        return scores.reshape(-1, way.length, scores.shape[1])
    return scores.reshape(len(scores), way.length, -1)


def _prepare(
    recipe: Recipe, pictures: Sequence[NDArray[np.uint8]]
) -> tuple[list[NDArray[np.float32]], list[int]]:
    tensors, readable = [], []
    for index, picture in enumerate(pictures):
        try:
            tensors.append(recipe.apply(picture))
        except RecipeError:
            continue
        readable.append(index)
    if len({tensor.shape for tensor in tensors}) > 1:
        return [], []
    return tensors, readable


def _characters(charset: Charset) -> Mapping[int, str]:
    ids = [index for index in range(charset.classes) if index != charset.blank]
    return dict(zip(ids, charset.characters, strict=True))
