"""The manifest: the description of a model, with all that is needed to run it, and facts about it.

The module `model` defines how the description is stored in the `.onnx` file.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from captcha_rt.charset import Charset, is_unicode
from captcha_rt.constrained import Constraints, allow_only, decode_constrained, decode_length
from captcha_rt.decoders import (
    DECODERS,
    TEMPERATURES,
    Decoded,
    Decoder,
    Scores,
    to_probabilities,
)
from captcha_rt.errors import CaptchaRTError, ManifestError, RecipeError
from captcha_rt.recipe import Recipe
from captcha_rt.steps import settings

__all__ = ["Manifest"]

FORMAT: Final = 2
"""The version of the description's format that is written."""

_KNOWN_FORMATS: Final = (1, 2)
"""The versions that are read. They differ in the file alone: see the module `model`."""

_LIKELY: Final = 0.02
"""The least probability with which a text of the known length is the answer in place of another.
Of a picture that is cut off, the shorter text is sure; where a character was missed, it isn't."""

_LARGE: Final = 50_000
"""Pixels of a picture that is worth a look at what the recipe will make of it, before it runs."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of the graph.

    Attributes:
        name: The name in the graph.
        shape: The size of each axis. The first axis is the batch, whose size is None.

    Raises:
        ManifestError: If the batch has a fixed size, or another axis has no fixed size.
    """

    name: str
    shape: tuple[int | None, ...]

    def __post_init__(self) -> None:
        batch, *others = self.shape or (0,)
        if not isinstance(self.name, str) or batch is not None:
            raise ManifestError(f"a tensor has a name and a free batch, whose size is null: {self}")
        if not all(type(axis) is int and axis > 0 for axis in others):
            raise ManifestError(f"the axes after the batch are fixed sizes above 0: {self}")


@dataclass(frozen=True, slots=True)
class Graph:
    """Tells which graph a description belongs to.

    Attributes:
        size: The number of bytes of the graph.
        sha256: The SHA-256 of these bytes, in hexadecimal.
    """

    size: int
    sha256: str

    def __post_init__(self) -> None:
        if type(self.size) is not int or not isinstance(self.sha256, str):
            raise ManifestError(f"a graph has a size and a SHA-256: {self}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The description of a model.

    Attributes:
        name: The model's name, which every answer repeats.
        charset: The characters and the blank.
        recipe: The preprocessing.
        decoder: How the scores are read, a key of `DECODERS`: `"ctc"` reads along time steps,
            `"position"` reads one character per head or time step, `"glyph"` reads one character
            per row of the batch.
        scores: What the output holds: `"logits"` or `"probabilities"`.
        input: The graph's input, `(N, ...)` float32. One picture is one row of the batch, or with
            the step `glyphs` one row per glyph.
        output: The graph's output, float32: `(N, T, C)` for `"ctc"`, `(N, L, C)` for `"position"`,
            `(N, C)` for `"glyph"`.
        temperature: Logits are divided by this number, in 0.001..1000, before the softmax. This
            makes a confidence the probability that the answer is right; the texts stay the same. If
            the output holds probabilities, the graph has already applied the temperature.
        min_confidence: Answers with a confidence below this one should be rejected, in 0..1. The
            value is chosen so that most pictures of other kinds are rejected, but few of the kinds
            that the model was trained on.
        arithmetic: Whether the pictures show sums, or some do, such as `3+5=?`: then an answer
            also has the sum's value.
        shortest: The number of characters of the shortest text that the model was trained on. A
            shorter answer is a part of a text, as of a picture that is cut off, or a stray
            character in a picture of another kind: its confidence is 0.
        length: The number of characters of every text, if all pictures that the model was trained
            on show as many, and there were enough to tell; 0 otherwise. For the decoder `"ctc"`:
            an answer with another number is read again, as the likeliest text of this length,
            unless that is quite unlikely.
        graph: The size and checksum of the graph; None before the model is exported.
        training: Facts about the training: data, pictures, settings, versions.
        accuracy: The metrics that `metrics.summarize` returns, by the name of the pictures that
            were read, such as `test`.
        licence: The model's licence, as an SPDX expression where there is one.
        format: The version of the description's format, as it was read.
        glyphs: The number of glyphs that one picture is cut into, each a row of the batch; None
            without the step `glyphs`. Derived from the recipe.
        tensor_shape: The shape that `prepare` returns: the shape of the input without the batch,
            with the glyphs first if there are any. Derived.

    Raises:
        ManifestError: If the fields contradict each other.
    """

    name: str
    charset: Charset
    recipe: Recipe
    decoder: str
    scores: Scores
    input: Tensor
    output: Tensor
    temperature: float = 1.0
    min_confidence: float = 0.0
    arithmetic: bool = False
    shortest: int = 0
    length: int = 0
    graph: Graph | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    licence: str = "unknown"
    format: int = FORMAT
    # Derived once, since every picture needs them.
    glyphs: int | None = field(init=False, repr=False, compare=False)
    tensor_shape: tuple[int | None, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not isinstance(self.licence, str):
            raise ManifestError(f"name and licence are texts: {self.name!r}, {self.licence!r}")
        if not is_unicode(self.name + self.licence):
            raise ManifestError(f"name or licence is no Unicode: {self.name!r}, {self.licence!r}")
        if not isinstance(self.training, Mapping) or not isinstance(self.accuracy, Mapping):
            raise ManifestError("training and accuracy are objects")
        if not any(step.name == "scale" for step in self.recipe.steps):
            raise ManifestError('the recipe has no step "scale", so the result is not float32')
        if self.scores not in get_args(Scores):
            raise ManifestError(
                f"unknown kind of scores {self.scores!r}; known: {get_args(Scores)}"
            )
        low, high = TEMPERATURES
        if type(self.temperature) not in (int, float) or not low <= self.temperature <= high:
            raise ManifestError(f"the temperature is in {low}..{high}, not {self.temperature!r}")
        if type(self.min_confidence) not in (int, float) or not 0 <= self.min_confidence <= 1:
            raise ManifestError(f"the smallest confidence is in 0..1: {self.min_confidence!r}")
        if type(self.arithmetic) is not bool:
            raise ManifestError(f"arithmetic is true or false, not {self.arithmetic!r}")
        if type(self.shortest) is not int or self.shortest < 0:
            raise ManifestError(f"the shortest text has 0 or more characters: {self.shortest!r}")
        if type(self.length) is not int or self.length < 0:
            raise ManifestError(f"every text has 0 or more characters: {self.length!r}")
        counts = [settings(s)["count"] for s in self.recipe.steps if s.name == "glyphs"]
        object.__setattr__(self, "glyphs", counts[0] if counts else None)
        object.__setattr__(self, "tensor_shape", (*counts[:1], *self.input.shape[1:]))
        self._check_decoder()
        self._check_recipe()

    def _check_decoder(self) -> None:
        """Checks that charset, recipe and output are as the decoder needs them."""
        decoder = _find_decoder(self.decoder)
        if decoder.needs_blank and self.charset.blank is None:
            raise ManifestError(f"the decoder {self.decoder!r} needs a charset that has a blank")
        if (self.glyphs is not None) != decoder.reads_glyphs:
            raise ManifestError('the decoder "glyph" and the recipe step "glyphs" go together')
        shape, classes = self.output.shape, self.charset.classes
        if len(shape) != decoder.axes or shape[-1] != classes:
            raise ManifestError(
                f"the output {shape} does not fit the decoder {self.decoder!r} and "
                f"the charset's {classes} classes"
            )

    def _check_recipe(self) -> None:
        """Compares what the recipe makes of every picture with the input, as far as it is known."""
        made, taken = self.recipe.fixed_shape(), self.tensor_shape
        if made is None:
            return
        known = [axis is None or axis == wanted for axis, wanted in zip(made, taken, strict=False)]
        if len(made) != len(taken) or not all(known):
            shown = ", ".join("?" if axis is None else str(axis) for axis in made)
            raise ManifestError(
                f"the recipe makes tensors of the shape ({shown}), the model takes {taken}"
            )

    @property
    def longest(self) -> int:
        """The number of characters that a text of the model has at most."""
        return self.glyphs or self.output.shape[1] or 0

    def prepare(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Runs the recipe on one picture and checks the shape of the result.

        Args:
            picture: A decoded picture, `(H, W, C)` uint8 with C = 1, 3 (RGB) or 4 (RGBA).

        Returns:
            The network's input for this picture: float32, of the shape `tensor_shape`.

        Raises:
            RecipeError: If the recipe can't use the picture, or the result has another shape.
        """
        if picture.shape[0] * picture.shape[1] > _LARGE:
            known = self.recipe.fixed_shape(picture.shape)
            if known is not None and None not in known:
                self._check_shape(picture, known)
        tensor = self.recipe.apply(picture)
        self._check_shape(picture, tensor.shape)
        return tensor

    def _check_shape(self, picture: NDArray[np.uint8], shape: tuple[int | None, ...]) -> None:
        if shape != self.tensor_shape:
            raise RecipeError(
                f"a picture of shape {picture.shape} becomes {shape}, "
                f"the model takes {self.tensor_shape}"
            )

    def batch(self, tensors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Makes the graph's input from several prepared pictures.

        Args:
            tensors: `(P, *tensor_shape)` float32, the tensors of P pictures.

        Returns:
            `(N, ...)` float32, a view: the graph's input, one row per picture or per glyph.
        """
        if self.glyphs is None:
            return tensors
        return tensors.reshape(-1, *tensors.shape[2:])

    def decode(
        self, scores: NDArray[np.float32], constraints: Constraints | None = None
    ) -> list[tuple[str, Decoded]]:
        """Reads the texts from scores, with this model's decoder and charset.

        Args:
            scores: The graph's output for the input that `batch` made.
            constraints: What is known of the texts, and how many alternatives are wanted.

        Returns:
            For each picture the text, and the decoder's result that the text was made from.

        Raises:
            ScoresError: If a score is NaN or infinite, or probabilities are none.
        """
        if self.glyphs is not None:
            scores = scores.reshape(-1, self.glyphs, self.charset.classes)
        decoder = DECODERS[self.decoder]
        if constraints is None:
            decoded = decoder.decode(
                scores, blank=self.charset.blank, kind=self.scores, temperature=self.temperature
            )
        else:
            probabilities = to_probabilities(scores, self.scores, self.temperature)
            decoded = decode_constrained(
                probabilities, self.charset, constraints, ctc=decoder.reads_paths
            )
        if constraints is None or constraints.length is None:  # else the user knows better
            if self.length and decoder.reads_paths:
                decoded = [
                    d if len(d.ids) == self.length else self._read_again(d, rows, constraints)
                    for d, rows in zip(decoded, scores, strict=True)
                ]
            decoded = [
                d if len(d.ids) >= self.shortest else replace(d, confidence=0.0) for d in decoded
            ]
        return [(self.charset.decode(d.ids), d) for d in decoded]

    def _read_again(
        self, decoded: Decoded, scores: NDArray[np.float32], constraints: Constraints | None
    ) -> Decoded:
        """The likeliest text of the known length, if it is likely enough; else what was read."""
        blank = self.charset.blank
        assert blank is not None  # noqa: S101  (CTC's decoder needs a blank, which was checked)
        rows = to_probabilities(scores[None], self.scores, self.temperature)[0]
        if constraints is not None:
            rows = allow_only(rows, self.charset, constraints)
        again = decode_length(rows, blank, self.length, constraints)
        return again if again.confidence >= _LIKELY else decoded

    def to_json(self) -> str:
        """The description as JSON, with the format version first."""
        values: dict[str, Any] = {"format": self.format}
        values |= {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        for name in ("charset", "input", "output", "graph"):
            values[name] = None if values[name] is None else asdict(values[name])
        values["recipe"] = self.recipe.to_json()
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Manifest":
        """Reads a description that `to_json` wrote.

        Args:
            text: JSON; bytes are UTF-8.

        Returns:
            The description.

        Raises:
            ManifestError: If the text is no description, or has an unknown format version.
        """
        try:
            decoded = text if isinstance(text, str) else text.decode()
            values = json.loads(decoded, object_pairs_hook=_unique)
            if not isinstance(values, dict) or "format" not in values:
                raise ManifestError("the description has no format version")
            version = values["format"]
            if type(version) is not int or version not in _KNOWN_FORMATS:
                raise ManifestError(
                    f"the description has format version {version!r}; this captcha-rt reads up to "
                    f"version {FORMAT}: update captcha-rt, or export the model again"
                )
            return cls(**{name: _field(name, value) for name, value in values.items()})
        except ManifestError:
            raise
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            RecursionError,
            CaptchaRTError,
        ) as error:
            raise ManifestError(f"the description is malformed: {error}") from error


def _find_decoder(name: str) -> Decoder:
    try:
        return DECODERS[name]
    except KeyError:
        raise ManifestError(f"unknown decoder {name!r}; known: {tuple(DECODERS)}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. A key that stands twice has another value for other readers."""
    values = dict(pairs)
    if len(values) < len(pairs):
        [(doubled, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ManifestError(f"the description has the key {doubled!r} twice")
    return values


def _field(name: str, value: Any) -> Any:  # noqa: ANN401  (JSON in, a field's type out)
    """A field's value from JSON."""
    match name:
        case "charset":
            return Charset(**value)
        case "recipe":
            return Recipe.from_json(value)
        case "input" | "output":
            return Tensor(**{**value, "shape": tuple(value["shape"])})
        case "graph":
            return None if value is None else Graph(**value)
        case _:
            return value
