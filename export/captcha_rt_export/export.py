"""From a training run to one checked model file."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt.decoders import softmax
from captcha_rt.errors import CaptchaRTError, ManifestError, RecipeError
from captcha_rt.files import write_atomically
from captcha_rt.image import decode_image
from captcha_rt.labels import pictures_of
from captcha_rt.manifest import Manifest, attach
from captcha_rt.session import Session
from captcha_rt_export.convert import convert, operators
from captcha_rt_export.errors import ExportError

BATCHES = (1, 3, 64)
"""The batch sizes that an export is checked with."""

PROBABILITY_TOLERANCE = 1e-5
LOGIT_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Report:
    """What an export made.

    Attributes:
        manifest: The model's description, as it stands in the file.
        size: The file's bytes.
        operators: How often each operator stands in the graph.
        pictures: On how many pictures it was checked, at each of the batch sizes.
        probability_difference: The largest difference to Keras, in probabilities.
        score_difference: The same in the scores as the network gives them.
    """

    manifest: Manifest
    size: int
    operators: dict[str, int]
    pictures: int
    probability_difference: float
    score_difference: float


def export(
    run: Path,
    out: Path,
    *,
    pictures: Path | None = None,
    name: str | None = None,
) -> Report:
    """Converts a run's model, checks it against Keras on pictures, and writes it.

    Args:
        run: A finished run of `captcha-rt train`.
        out: The `.onnx` file to write; it appears whole or not at all.
        pictures: A folder of pictures to check on; by default those that the run held back.
        name: The model's name in its answers; by default the run's.

    Returns:
        What was made.

    Raises:
        ExportError: If the run is not finished, its pictures are gone, the graph can't be fast,
            or the converted model answers differently from Keras.
        FolderError: If `pictures` is no folder of pictures.
        ImageDecodeError: If a picture can't be decoded.
        RecipeError: If the model's preprocessing can't use one.
    """
    manifest = _read_manifest(run)
    manifest = replace(manifest, name=name or manifest.name)
    paths = pictures_of(pictures) if pictures is not None else _held_back(run)
    model = _load(run / "model.keras")
    proto = convert(model)
    graph = proto.SerializeToString()
    tensors = _prepare(paths, manifest)
    probability_difference, score_difference = check_parity(model, graph, manifest, tensors)
    data = attach(graph, manifest)
    with write_atomically(out) as path:
        path.write_bytes(data)
    return Report(
        manifest=manifest,
        size=len(data),
        operators=dict(operators(proto).most_common()),
        pictures=len(tensors),
        probability_difference=probability_difference,
        score_difference=score_difference,
    )


def check_parity(
    model: keras.Model, graph: bytes, manifest: Manifest, tensors: NDArray[np.float32]
) -> tuple[float, float]:
    """Compares the graph in the runtime's own session with Keras: names, shapes, values, texts.

    Args:
        model: The Keras model.
        graph: The serialised ONNX model.
        manifest: Its description.
        tensors: `(P, ...)` float32, what the recipe makes of real pictures; a comparison on noise
            proves little.

    Returns:
        The largest difference of the probabilities, and of the scores.

    Raises:
        ExportError: If names, axes or shapes are not the manifest's, a value differs by more than
            1e-5 in probability or 1e-4 in logits, or a text differs.
    """
    try:
        session = Session(graph, manifest, device="cpu")
    except CaptchaRTError as error:
        raise ExportError(f"the converted model doesn't fit its description: {error}") from error
    # Fewer pictures than the largest batch are taken again, so that it is a whole one.
    tensors = tensors[np.arange(max(len(tensors), *BATCHES)) % len(tensors)]
    expected = model.predict(manifest.batch(tensors), batch_size=64, verbose=0)
    expected_probabilities = _probabilities(expected, manifest)
    expected_texts = [text for text, _ in manifest.decode(expected)]
    largest_probability = largest_score = 0.0
    for batch in BATCHES:
        scores = np.concatenate(
            [
                session.run(manifest.batch(tensors[i : i + batch]))
                for i in range(0, len(tensors), batch)
            ]
        )
        if scores.shape != expected.shape:
            raise ExportError(f"ONNX answers {scores.shape}, Keras {expected.shape}")
        score = float(np.abs(scores - expected).max())
        probability = float(np.abs(_probabilities(scores, manifest) - expected_probabilities).max())
        if not (probability < PROBABILITY_TOLERANCE and score < LOGIT_TOLERANCE):
            raise ExportError(
                f"at batch {batch} ONNX differs from Keras by {probability:.2e} in probability "
                f"(allowed: {PROBABILITY_TOLERANCE}) and {score:.2e} in the scores "
                f"(allowed: {LOGIT_TOLERANCE})"
            )
        texts = [text for text, _ in manifest.decode(scores)]
        different = [(a, b) for a, b in zip(texts, expected_texts, strict=True) if a != b]
        if different:
            raise ExportError(
                f"at batch {batch} {len(different)} texts differ; the first is "
                f"{different[0][0]!r}, Keras reads {different[0][1]!r}"
            )
        largest_probability = max(largest_probability, probability)
        largest_score = max(largest_score, score)
    return largest_probability, largest_score


def _read_manifest(run: Path) -> Manifest:
    try:
        return Manifest.from_json((run / "manifest.json").read_bytes())
    except FileNotFoundError as error:
        raise ExportError(
            f"{run} holds no finished run; `captcha-rt train FOLDER -o {run}` makes one, "
            "with --resume if it was stopped"
        ) from error
    except ManifestError as error:
        raise ExportError(f"{run / 'manifest.json'}: {error}") from error


def _load(path: Path) -> keras.Model:
    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, KeyError) as error:
        raise ExportError(f"can't load the Keras model {path}: {error}") from error


def _held_back(run: Path) -> list[Path]:
    """The pictures that the run didn't train on."""
    try:
        with (run / "pictures.csv").open(newline="", encoding="utf-8") as file:
            paths = [Path(row["path"]) for row in csv.DictReader(file) if row["part"] != "training"]
    except (OSError, KeyError) as error:
        raise ExportError(f"can't read the split of the run {run}: {error}") from error
    gone = [path for path in paths if not path.exists()]
    if gone:
        raise ExportError(
            f"{len(gone)} of the run's pictures are gone, {gone[0]} first; "
            "name a folder of its kind with --pictures"
        )
    return paths


def _prepare(paths: Sequence[Path], manifest: Manifest) -> NDArray[np.float32]:
    tensors = [_apply(manifest, path) for path in paths]
    wrong = next(
        (p for p, t in zip(paths, tensors, strict=True) if t.shape != manifest.tensor_shape),
        None,
    )
    if wrong:
        raise ExportError(f"{wrong} does not give the model's input {manifest.tensor_shape}")
    return np.stack(tensors)


def _apply(manifest: Manifest, path: Path) -> NDArray[np.float32]:
    try:
        return manifest.recipe.apply(decode_image(path))
    except RecipeError as error:
        raise type(error)(f"{path}: {error}") from error


def _probabilities(scores: NDArray[np.float32], manifest: Manifest) -> NDArray[np.float64]:
    if manifest.scores == "probabilities":
        return scores.astype(np.float64)
    return softmax(scores.astype(np.float64))
