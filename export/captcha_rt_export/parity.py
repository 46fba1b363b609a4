"""Parity: checks that the converted graph answers as the original model does."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from captcha_rt.decoders import softmax
from captcha_rt.errors import CaptchaRTError, RecipeError
from captcha_rt.image import decode_image
from captcha_rt.manifest import Manifest
from captcha_rt.metrics import only_answer
from captcha_rt.session import Session
from captcha_rt_export.errors import ExportError

BATCHES: Final = (1, 3, 64)
"""The batch sizes that an export is checked with."""

PROBABILITY_TOLERANCE: Final = 1e-5
"""A probability must differ by less than this from the original's, if the network returns
probabilities; see `allowed_probability`."""

SCORE_TOLERANCE: Final = 1e-4
"""A score, as the network returns it, must differ by less than this from the original's. Where
scores are larger than `LARGE_SCORE`, as the logarithms of tiny probabilities are, float32 itself is
less exact, and more is allowed in proportion."""

LARGE_SCORE: Final = 32.0

FOREIGN: Final = 10.0
"""A model that was trained elsewhere may differ by this many times more: its logits may be in the
hundreds, where the rounding of float32 alone moves a probability by 1e-5."""

HALF_PRECISION: Final = 2000.0
"""An original that computes in float16 may differ by this many times more: it has 11 bits, not 24.
"""


class Parity(NamedTuple):
    """How far the converted graph differs from the original, and what it reads.

    Attributes:
        probability: The largest difference of a probability.
        score: The largest difference of a score, as the network returns it.
        only_answer: The text that the network answers every picture with; None if the texts differ.
    """

    probability: float
    score: float
    only_answer: str | None


def prepare(paths: Sequence[Path], manifest: Manifest) -> NDArray[np.float32]:
    """Applies a model's recipe to picture files.

    Args:
        paths: P picture files.
        manifest: The model's description.

    Returns:
        `(P, ...)` float32, one tensor for each picture.

    Raises:
        ExportError: If there is no picture.
        ImageDecodeError: If a picture can't be decoded.
        RecipeError: If the recipe can't use a picture.
    """
    if not paths:
        raise ExportError("no picture to check the model on: name a folder with --pictures")
    return np.stack([_prepare(path, manifest) for path in paths])


def run_batches(
    session: Session, manifest: Manifest, tensors: NDArray[np.float32], batch: int
) -> NDArray[np.float32]:
    """Runs a graph on all tensors in batches.

    Args:
        session: The loaded graph.
        manifest: The model's description.
        tensors: `(P, ...)` float32, as `prepare` makes them.
        batch: The number of pictures in a batch.

    Returns:
        The scores of all pictures, float32, in the shape of the graph's output.
    """
    starts = range(0, len(tensors), batch)
    return np.concatenate([session.run(manifest.batch(tensors[i : i + batch])) for i in starts])


def allowed_probability(scores: NDArray[np.float32], manifest: Manifest) -> float:
    """A probability must differ by less than this from the original's.

    A logit that moves by `d` moves its probability by up to `d / 4`. Logits of 36 differ from those
    of a network in float64 by 3e-5, with Keras as with onnxruntime: so a probability of 1/2 differs
    by 1e-5 for the rounding alone.

    Args:
        scores: The original's, of any shape.
        manifest: Their description.
    """
    if manifest.scores == "probabilities":
        return PROBABILITY_TOLERANCE
    return max(PROBABILITY_TOLERANCE, _allowed_score(scores) / 4)


def _allowed_score(scores: NDArray[np.float32]) -> float:
    return SCORE_TOLERANCE * max(1.0, float(np.abs(scores).max()) / LARGE_SCORE)


def check_parity(
    original: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    graph: bytes,
    manifest: Manifest,
    tensors: NDArray[np.float32],
    *,
    slack: float = 1.0,
) -> Parity:
    """Compares the graph in the runtime's own session with the original: names to texts.

    Args:
        original: Runs the original model on a batch of any size, float32 `(N, ...)`; returns its
            scores.
        graph: The serialised ONNX model.
        manifest: The model's description.
        tensors: `(P, ...)` float32, from real pictures: noise would hardly show a difference.
        slack: How many times more the values may differ.

    Returns:
        The largest differences, and whether the texts differ at all.

    Raises:
        ExportError: If names, axes or shapes differ from the manifest, a probability or a
            score differs by more than rounding explains, or any text differs.
    """
    try:
        session = Session(graph, manifest, device="cpu")
    except CaptchaRTError as error:
        raise ExportError(f"the converted model doesn't fit its description: {error}") from error
    # Where there are fewer pictures than in the largest batch, they are repeated to fill it.
    pictures = len(tensors)
    tensors = tensors[np.arange(max(pictures, *BATCHES)) % pictures]
    expected = original(manifest.batch(tensors))
    found = [
        _compare(run_batches(session, manifest, tensors, batch), expected, manifest, batch, slack)
        for batch in BATCHES
    ]
    probability, score = map(max, zip(*found, strict=True))
    texts = [text for text, _ in manifest.decode(expected)]
    return Parity(probability, score, only_answer(texts[:pictures]))


def _compare(
    scores: NDArray[np.float32],
    expected: NDArray[np.float32],
    manifest: Manifest,
    batch: int,
    slack: float,
) -> tuple[float, float]:
    """Compares the scores of one batch size with the original's; returns the differences."""
    if scores.shape != expected.shape:
        raise ExportError(f"ONNX answers {scores.shape}, the original {expected.shape}")
    score = float(np.abs(scores - expected).max())
    allowed_score = slack * _allowed_score(expected)
    # Slack multiplies 1e-5, not what rounding is allowed: ten times 1e-5 covers the rounding.
    allowed = max(allowed_probability(expected, manifest), slack * PROBABILITY_TOLERANCE)
    difference = _probabilities(scores, manifest) - _probabilities(expected, manifest)
    probability = float(np.abs(difference).max())
    if not (probability < allowed and score < allowed_score):
        raise ExportError(
            f"at batch {batch} ONNX differs from the original by {probability:.2e} in probability "
            f"(allowed: {allowed:.2g}) and {score:.2e} in the scores (allowed: {allowed_score:.2g})"
        )
    pairs = zip(manifest.decode(scores), manifest.decode(expected), strict=True)
    different = [(text, wanted) for (text, _), (wanted, _) in pairs if text != wanted]
    if different:
        raise ExportError(
            f"at batch {batch} {len(different)} texts differ; the first is "
            f"{different[0][0]!r}, the original reads {different[0][1]!r}"
        )
    return probability, score


def _prepare(path: Path, manifest: Manifest) -> NDArray[np.float32]:
    try:
        return manifest.prepare(decode_image(path, merge=manifest.recipe.merge))
    except RecipeError as error:
        raise type(error)(f"{path}: {error}") from error


def _probabilities(scores: NDArray[np.float32], manifest: Manifest) -> NDArray[np.float64]:
    if manifest.scores == "probabilities":
        return scores.astype(np.float64)
    return softmax(scores.astype(np.float64))
