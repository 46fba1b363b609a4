"""From a training run to one checked model file."""

import csv
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt.decoders import softmax
from captcha_rt.errors import CaptchaRTError, ManifestError, RecipeError
from captcha_rt.files import write_atomically
from captcha_rt.image import decode_image
from captcha_rt.labels import pictures_of
from captcha_rt.manifest import Manifest, attach
from captcha_rt.metrics import Reading, figures
from captcha_rt.session import Session
from captcha_rt_export.convert import convert, operators, with_softmax
from captcha_rt_export.errors import ExportError
from captcha_rt_export.quantize import quantize

BATCHES = (1, 3, 64)
"""The batch sizes that an export is checked with."""

CALIBRATED = 400
"""The ranges of an 8-bit graph are found on so many training pictures."""

TIMED = 200
"""So often a picture is run to compare times."""

LOSS_TOLERANCE = 0.001
"""The share of the pictures that 8 bits may cost."""

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
        int8: What 8 bits changed; None if the graph is a float one.
    """

    manifest: Manifest
    size: int
    operators: dict[str, int]
    pictures: int
    probability_difference: float
    score_difference: float
    int8: "Int8 | None" = None


@dataclass(frozen=True, slots=True)
class Int8:
    """What 8 bits changed, on pictures that the run held back.

    Attributes:
        pictures: Their number.
        float_right: How many the float graph reads right.
        right: How many the 8-bit graph does.
        float_milliseconds: The median time of the float graph, one picture on one thread.
        milliseconds: The same of the 8-bit graph, run in turn.
    """

    pictures: int
    float_right: int
    right: int
    float_milliseconds: float
    milliseconds: float


def export(
    run: Path,
    out: Path,
    *,
    pictures: Path | None = None,
    name: str | None = None,
    int8: bool = False,
    min_confidence: float = 0.0,
) -> Report:
    """Converts a run's model, checks it against Keras on pictures, and writes it.

    Args:
        run: A finished run of `captcha-rt train`.
        out: The `.onnx` file to write; it appears whole or not at all.
        pictures: A folder of pictures to check on; by default those that the run held back.
        name: The model's name in its answers; by default the run's.
        int8: Whether the file holds an 8-bit graph. The manifest's accuracy is then measured anew,
            on the pictures that the run held back.
        min_confidence: Below this confidence `solve` rejects answers by default, in 0..1.

    Returns:
        What was made.

    Raises:
        ExportError: If the run is not finished, its pictures are gone, the graph can't be fast,
            the converted model answers differently from Keras, or 8 bits cost more than one
            picture in a thousand.
        FolderError: If `pictures` is no folder of pictures.
        ImageDecodeError: If a picture can't be decoded.
        RecipeError: If the model's preprocessing can't use one.
    """
    manifest = _read_manifest(run)
    manifest = replace(manifest, name=name or manifest.name, min_confidence=min_confidence)
    paths = pictures_of(pictures) if pictures is not None else [p.path for p in _held_back(run)]
    model = _load(run / "model.keras")
    logits = convert(model)
    tensors = _prepare(paths, manifest)
    probability_difference, score_difference = check_parity(
        model, logits.SerializeToString(), manifest, tensors
    )
    output = replace(manifest.output, name="probabilities")
    manifest = replace(manifest, scores="probabilities", output=output)
    proto = with_softmax(logits, manifest.temperature)
    changed = None
    if int8:
        rows = manifest.batch(_prepare(_to_calibrate(run), manifest))
        quantized = with_softmax(quantize(logits, rows), manifest.temperature)
        graphs = proto.SerializeToString(), quantized.SerializeToString()
        manifest, changed = measure_int8(run, manifest, *graphs)
        proto = quantized
    data = attach(proto.SerializeToString(), manifest)
    with write_atomically(out) as path:
        path.write_bytes(data)
    return Report(
        manifest=manifest,
        size=len(data),
        operators=dict(operators(proto).most_common()),
        pictures=len(tensors),
        probability_difference=probability_difference,
        score_difference=score_difference,
        int8=changed,
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
        scores = _run(session, manifest, tensors, batch)
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


class _Picture(NamedTuple):
    """A picture of a run: a row of its `pictures.csv`."""

    path: Path
    label: str
    part: str
    source: str


def _pictures(run: Path) -> list[_Picture]:
    """The run's pictures; those that a generator drew have no file."""
    try:
        with (run / "pictures.csv").open(newline="", encoding="utf-8") as file:
            rows = [
                _Picture(Path(row["path"]), row["label"], row["part"], row.get("source", ""))
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError) as error:
        raise ExportError(f"can't read the split of the run {run}: {error}") from error
    return [row for row in rows if row.path.is_absolute()]


def _held_back(run: Path) -> list[_Picture]:
    """The pictures that the run didn't train on."""
    held_back = [picture for picture in _pictures(run) if picture.part != "training"]
    gone = [picture.path for picture in held_back if not picture.path.exists()]
    if gone:
        raise ExportError(
            f"{len(gone)} of the run's pictures are gone, {gone[0]} first; "
            "name a folder of its kind with --pictures"
        )
    return held_back


def _to_calibrate(run: Path) -> list[Path]:
    """Some of the pictures that the run trained on, as many of each source."""
    trained: dict[str, list[Path]] = {}
    for picture in _pictures(run):
        if picture.part == "training" and picture.path.exists():
            trained.setdefault(picture.source, []).append(picture.path)
    if not trained:
        raise ExportError(f"the pictures that the run {run} was trained on are gone")
    share = -(-CALIBRATED // len(trained))
    return [path for paths in trained.values() for path in paths[:: -(-len(paths) // share)]]


def measure_int8(
    run: Path, manifest: Manifest, float_graph: bytes, graph: bytes
) -> tuple[Manifest, Int8]:
    """The manifest with the accuracy of the 8-bit graph, and how that compares with the float one.

    Raises:
        ExportError: If it reads fewer pictures, by more than one in a thousand.
    """
    pictures = _held_back(run)
    tensors = _prepare([picture.path for picture in pictures], manifest)
    sessions = [Session(data, manifest, device="cpu") for data in (float_graph, graph)]
    answers = [manifest.decode(_run(s, manifest, tensors, BATCHES[-1])) for s in sessions]
    readings: dict[str, list[Reading]] = {}
    for picture, (text, decoded) in zip(pictures, answers[1], strict=True):
        reading = Reading(picture.path.name, picture.label, text, decoded.confidence)
        readings.setdefault(picture.part, []).append(reading)
        if picture.source:
            readings.setdefault(f"{picture.part} {picture.source}", []).append(reading)
    labels = [picture.label for picture in pictures]
    float_right, right = (
        sum(text == label for (text, _), label in zip(texts, labels, strict=True))
        for texts in answers
    )
    if float_right - right > LOSS_TOLERANCE * len(pictures):
        raise ExportError(
            f"in 8 bits {right} of {len(pictures)} pictures are read right, in float "
            f"{float_right}: export it without --int8"
        )
    one = manifest.batch(tensors[:1])
    times: list[list[float]] = [[], []]
    for _ in range(TIMED):
        for session, its in zip(sessions, times, strict=True):
            started = time.perf_counter()
            session.run(one)
            its.append(time.perf_counter() - started)
    float_time, time_ = (1000 * statistics.median(its) for its in times)
    accuracy = {part: figures(readings[part]) for part in manifest.accuracy if part in readings}
    changed = Int8(len(pictures), float_right, right, float_time, time_)
    return replace(manifest, accuracy=accuracy), changed


def _run(
    session: Session, manifest: Manifest, tensors: NDArray[np.float32], batch: int
) -> NDArray[np.float32]:
    """The scores of all pictures, so many of them at once."""
    starts = range(0, len(tensors), batch)
    return np.concatenate([session.run(manifest.batch(tensors[i : i + batch])) for i in starts])


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
