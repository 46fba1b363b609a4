"""What a model is: a description that travels inside its `.onnx` file.

A model is one file. A protobuf file may be written in pieces, so that the graph comes first and
this description is appended as one more metadata entry (key `captcha_rt`, JSON):

    graph bytes | 0x72 length | 0x0a 10 "captcha_rt" | 0x12 length JSON

Every ONNX reader sees a normal model; ours checks the graph's bytes against the length and the
SHA-256 in the description before onnxruntime sees them, without a protobuf parser.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import inf
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from captcha_rt.charset import Charset
from captcha_rt.decoders import Decoded, Scores, greedy_decode, position_decode
from captcha_rt.errors import CaptchaRTError, ManifestError
from captcha_rt.glyphs import Glyphs
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Scale

FORMAT: Final = 1
"""The version of this description; a runtime reads the versions that it knows."""

Decoder = Literal["ctc", "position", "glyph"]

# Protobuf: field 14 (metadata_props) of ModelProto, then fields 1 (key) and 2 (value) in it.
_ENTRY: Final = b"\x72"
_KEY: Final = b"\x0a\x0acaptcha_rt\x12"


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of the graph.

    Attributes:
        name: Its name in the graph.
        shape: Its axes; the first is the batch, None.

    Raises:
        ManifestError: If the batch is fixed, or another axis isn't.
    """

    name: str
    shape: tuple[int | None, ...]

    def __post_init__(self) -> None:
        batch, *others = self.shape or (0,)
        if not isinstance(self.name, str) or batch is not None:
            raise ManifestError(f"a tensor has a name and a free batch: {self}")
        if not all(type(axis) is int and axis > 0 for axis in others):
            raise ManifestError(f"the axes after the batch are fixed: {self}")


@dataclass(frozen=True, slots=True)
class Graph:
    """The bytes that this description belongs to.

    Attributes:
        size: Their number.
        sha256: Their SHA-256, in hexadecimal.
    """

    size: int
    sha256: str

    def __post_init__(self) -> None:
        if type(self.size) is not int or not isinstance(self.sha256, str):
            raise ManifestError(f"a graph has a size and a SHA-256: {self}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that a runtime must know of a model, and what a person would ask about it.

    Attributes:
        name: The model's name, as answers give it.
        charset: Its characters and blank.
        recipe: Its preprocessing.
        decoder: How its scores are read: `"ctc"` along time steps, `"position"` one character a
            head or time step, `"glyph"` one character a row of the batch.
        scores: What its output holds: `"logits"` or `"probabilities"`.
        input: The graph's input, `(N, ...)`; the recipe makes one row of it, or with the step
            `glyphs` as many rows as a picture has glyphs.
        output: The graph's output: `(N, T, C)` for `"ctc"`, `(N, L, C)` for `"position"`,
            `(N, C)` for `"glyph"`.
        temperature: What logits are divided by before they become probabilities, in the decoder,
            or in the graph if it gives probabilities: it makes the confidences those of the answers
            being right, and leaves the texts as they are.
        min_confidence: Below this confidence an answer is better rejected, in 0..1: most pictures
            of other kinds are, and hardly any of the model's own.
        graph: The bytes described; None as long as the model isn't exported.
        training: Facts about its training: data, pictures, settings, versions.
        accuracy: What was measured, and on which pictures.
        licence: The model's licence, as an SPDX expression where there is one.

    Raises:
        ManifestError: If the fields contradict each other.
    """

    name: str
    charset: Charset
    recipe: Recipe
    decoder: Decoder
    scores: Scores
    input: Tensor
    output: Tensor
    temperature: float = 1.0
    min_confidence: float = 0.0
    graph: Graph | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    licence: str = "unknown"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not isinstance(self.licence, str):
            raise ManifestError(f"name and licence are texts: {self.name!r}, {self.licence!r}")
        if not isinstance(self.training, Mapping) or not isinstance(self.accuracy, Mapping):
            raise ManifestError("training and accuracy are objects")
        if not any(isinstance(step, Scale) for step in self.recipe.steps):
            raise ManifestError('the recipe has no step "scale", so that it makes no float32')
        if self.decoder not in get_args(Decoder):
            raise ManifestError(f"unknown decoder {self.decoder!r}; known: {get_args(Decoder)}")
        if self.scores not in get_args(Scores):
            raise ManifestError(
                f"unknown kind of scores {self.scores!r}; known: {get_args(Scores)}"
            )
        if type(self.temperature) not in (int, float) or not 0 < self.temperature < inf:
            raise ManifestError(f"the temperature is above 0, not {self.temperature!r}")
        if type(self.min_confidence) not in (int, float) or not 0 <= self.min_confidence <= 1:
            raise ManifestError(f"the smallest confidence is in 0..1: {self.min_confidence!r}")
        if self.decoder == "ctc" and self.charset.blank is None:
            raise ManifestError("a CTC model's charset has a blank")
        glyphs = self.glyphs is not None
        if glyphs != (self.decoder == "glyph"):
            raise ManifestError('the decoder "glyph" and the recipe step "glyphs" go together')
        axes = 2 if glyphs else 3
        if len(self.output.shape) != axes or self.output.shape[-1] != self.charset.classes:
            raise ManifestError(
                f"the output {self.output.shape} does not fit the decoder {self.decoder!r} and "
                f"the charset's {self.charset.classes} classes"
            )

    @property
    def glyphs(self) -> int | None:
        """How many rows of the input one picture becomes; None if it becomes one input whole."""
        counts = (step.count for step in self.recipe.steps if isinstance(step, Glyphs))
        return next(counts, None)

    @property
    def tensor_shape(self) -> tuple[int | None, ...]:
        """The shape that the recipe makes of one picture: with the glyphs first, if there are."""
        glyphs = () if self.glyphs is None else (self.glyphs,)
        return (*glyphs, *self.input.shape[1:])

    def batch(self, tensors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The graph's input for pictures: a view.

        Args:
            tensors: `(P, ...)`, what the recipe made of P pictures.

        Returns:
            `(N, ...)` as the input says: a row a picture, or a row a glyph.
        """
        if self.decoder != "glyph":
            return tensors
        return tensors.reshape(-1, *tensors.shape[2:])

    def decode(self, scores: NDArray[np.float32]) -> list[tuple[str, Decoded]]:
        """Reads scores with this model's decoder and charset.

        Args:
            scores: As the output says, for what `batch` made of some pictures.

        Returns:
            For each picture its text, and what that was read from.

        Raises:
            ScoresError: If a score is NaN or infinite.
        """
        blank = self.charset.blank
        if self.decoder == "ctc":
            assert blank is not None  # noqa: S101  (checked above)
            decoded = greedy_decode(
                scores, blank=blank, kind=self.scores, temperature=self.temperature
            )
        else:
            if self.glyphs is not None:
                scores = scores.reshape(-1, self.glyphs, self.charset.classes)
            decoded = position_decode(
                scores, blank=blank, kind=self.scores, temperature=self.temperature
            )
        return [(self.charset.decode(d.ids), d) for d in decoded]

    def to_json(self) -> str:
        """The description as JSON, format version first."""
        values = {
            name: asdict(value) if isinstance(value, Charset | Tensor | Graph) else value
            for name, value in ((f.name, getattr(self, f.name)) for f in fields(self))
        }
        values["recipe"] = self.recipe.to_json()
        return json.dumps({"format": FORMAT, **values}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Manifest":
        """Reads what `to_json` wrote.

        Raises:
            ManifestError: If it is no such JSON, or of a format version that this runtime
                doesn't know.
        """
        try:
            values = json.loads(text)
            if not isinstance(values, dict) or "format" not in values:
                raise ManifestError("the description has no format version")
            version = values.pop("format")
            if type(version) is not int or version != FORMAT:
                raise ManifestError(
                    f"the description has format version {version!r}; this captcha-rt reads "
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


def attach(graph: bytes, manifest: Manifest) -> bytes:
    """Makes one model file of a graph and its description.

    Args:
        graph: A serialised ONNX model without metadata.
        manifest: Its description; `graph` in it is filled in here.

    Returns:
        The bytes of the `.onnx` file.
    """
    described = replace(manifest, graph=_describe(graph))
    value = described.to_json().encode()
    entry = _KEY + _varint(len(value)) + value
    return graph + _ENTRY + _varint(len(entry)) + entry


def detach(model: bytes) -> Manifest:
    """Reads a model file's description and checks the graph's bytes against it.

    Args:
        model: The bytes of a `.onnx` file.

    Returns:
        The description.

    Raises:
        ManifestError: If there is none, its version is unknown, or the graph is damaged.
    """
    key = model.rfind(_KEY)
    if key < 0:
        raise ManifestError(_without_description(model))
    length, start = _read_varint(model, key + len(_KEY))
    if len(model) != start + length:
        raise ManifestError(
            f"the file is cut off or was changed: {len(model)} bytes, {start + length} described"
        )
    manifest = Manifest.from_json(model[start:])
    if manifest.graph is None:
        raise ManifestError("the description does not say which graph it belongs to")
    graph_end = key - len(_varint(len(model) - key)) - len(_ENTRY)
    if manifest.graph != _describe(model[:graph_end]):
        raise ManifestError(
            "the graph is damaged or was changed after the export: "
            f"its SHA-256 is not {manifest.graph.sha256[:12]}…"
        )
    return manifest


def _field(name: str, value: Any) -> Any:  # noqa: ANN401  (JSON in, a field's type out)
    match name:
        case "charset":
            return Charset(**value)
        case "recipe":
            return Recipe.from_json(value)
        case "input" | "output":
            return Tensor(value["name"], tuple(value["shape"]))
        case "graph":
            return None if value is None else Graph(**value)
        case _:
            return value


def _describe(graph: bytes) -> Graph:
    return Graph(len(graph), hashlib.sha256(graph).hexdigest())


def _without_description(model: bytes) -> str:
    start = model[:64].lstrip().lower()
    if not model:
        return "the file is empty"
    if start.startswith(b"version https://git-lfs"):
        return "this is a Git LFS pointer, not the model: run `git lfs pull`"
    if start.startswith((b"<", b"{")):
        return "this is text (HTML or JSON), not an ONNX model"
    return (
        "no description of captcha-rt in it: cut off, or not a model that `captcha-rt export` wrote"
    )


def _varint(number: int) -> bytes:
    """A protobuf variable-length integer: seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _read_varint(data: bytes, start: int) -> tuple[int, int]:
    """The integer at `start`, and where the bytes after it begin."""
    number = shift = 0
    for position, byte in enumerate(data[start : start + 5], start + 1):
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, position
    raise ManifestError("the file is cut off in its description")
