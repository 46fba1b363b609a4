"""Chooses what of a graph computes in 8 bits, by measuring each form on pictures held back."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Prediction, summarize
from captcha_rt.session import Session
from captcha_rt_export.forms import form_name, forms, measure_ranges, quantize
from captcha_rt_export.parity import BATCHES, prepare, run_batches
from captcha_rt_export.run import SampleFile

CALIBRATION_SAMPLES: Final = 400
"""The number of training samples that the ranges of an 8-bit graph are measured on."""

LOSS_TOLERANCE: Final = 0.001
"""The largest fraction of the pictures that computing in 8 bits may lose."""

_AS_FAST: Final = 1.02  # forms within 2 % are as fast as each other: medians scatter so much
_TURNS: Final = 40
_RUNS: Final = 5  # in a turn: at the first the caches hold another form's weights
_SECONDS: Final = 4.0  # that all turns may take together
# A session on one thread runs on the caller's, whose time other processes don't change.
_FINE: Final = time.get_clock_info("thread_time").resolution < 1e-6
_clock: Final = time.thread_time if _FINE else time.perf_counter


@dataclass(frozen=True, slots=True)
class Int8Samples:
    """The samples that an 8-bit graph needs.

    Attributes:
        calibration: Picture files to measure the ranges on, at least one.
        held_back: Labelled pictures that the network did not learn from, at least one. They show
            what 8 bits cost.
    """

    calibration: Sequence[Path]
    held_back: Sequence[SampleFile]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A form of a graph, as it was measured.

    Attributes:
        form: What computes in 8 bits, as `forms.form_name` says it.
        size: The size of the graph in bytes.
        milliseconds: The median time for one picture on one thread; the forms run in turn.
        right: The number of pictures that it reads right.
    """

    form: str
    size: int
    milliseconds: float
    right: int


@dataclass(frozen=True, slots=True)
class Int8Report:
    """The comparison of the 8-bit forms with the float graph, on pictures that were held back.

    Attributes:
        pictures: The number of pictures.
        candidates: The forms; float32 is the first.
        chosen: The one that was taken.
    """

    pictures: int
    candidates: tuple[Candidate, ...]
    chosen: Candidate

    @property
    def kept_float(self) -> bool:
        """Whether no form in 8 bits paid."""
        return self.chosen == self.candidates[0]


def choose_calibration(samples: Sequence[SampleFile]) -> list[Path]:
    """Chooses training samples to measure the ranges on.

    Each source gives about the same number of samples, evenly spread.

    Args:
        samples: A run's training samples, at least one.

    Returns:
        Their picture files, about `CALIBRATION_SAMPLES` at most.
    """
    by_source: dict[str, list[Path]] = {}
    for sample in samples:
        by_source.setdefault(sample.source, []).append(sample.path)
    wanted = -(-CALIBRATION_SAMPLES // len(by_source))
    return [path for paths in by_source.values() for path in paths[:: -(-len(paths) // wanted)]]


def choose_form(
    graph: onnx.ModelProto,
    manifest: Manifest,
    samples: Int8Samples,
) -> tuple[onnx.ModelProto, Manifest, Int8Report]:
    """Makes a graph's forms in 8 bits, measures them, and takes the best (`best`).

    Args:
        graph: A float graph, as `convert` and `with_softmax` make it.
        manifest: Its description.
        samples: The pictures to measure on.

    Returns:
        The best form; the manifest, with that form's accuracy if it is in 8 bits; and the
        comparison.

    Raises:
        ImageDecodeError: If a picture can't be decoded.
        RecipeError: If the recipe can't use a picture.
    """
    ranges = measure_ranges(graph, manifest.batch(prepare(samples.calibration, manifest)))
    made = {form_name(form): quantize(graph, ranges, form) for form in forms(graph)}
    held_back = samples.held_back
    tensors = prepare([sample.path for sample in held_back], manifest)
    graphs = [proto.SerializeToString() for proto in made.values()]
    sessions = [Session(data, manifest, device="cpu") for data in graphs]
    predictions = [_predict(session, manifest, held_back, tensors) for session in sessions]
    times = _time(sessions, manifest.batch(tensors[:1]))
    candidates = tuple(
        Candidate(name, len(data), milliseconds, count_right(found))
        for name, data, milliseconds, found in zip(made, graphs, times, predictions, strict=True)
    )
    report = Int8Report(len(held_back), candidates, best(candidates, len(held_back)))
    if not report.kept_float:
        found = predictions[candidates.index(report.chosen)]
        manifest = replace(manifest, accuracy=_accuracy(held_back, found, manifest))
    return made[report.chosen.form], manifest, report


def best(candidates: Sequence[Candidate], pictures: int) -> Candidate:
    """The form to take.

    A form may lose one picture in a thousand. Of those that lose no more the fastest is the best;
    of those that are about as fast the one that reads most pictures, then the smallest. So float32
    stays where 8 bits don't pay.

    Args:
        candidates: The forms; float32 is the first.
        pictures: The number of pictures that they read.
    """
    enough = candidates[0].right - LOSS_TOLERANCE * pictures
    right = [candidate for candidate in candidates if candidate.right >= enough]
    fastest = min(candidate.milliseconds for candidate in right)
    fast = [candidate for candidate in right if candidate.milliseconds <= _AS_FAST * fastest]
    return min(fast, key=lambda candidate: (-candidate.right, candidate.size))


def count_right(predictions: Sequence[Prediction]) -> int:
    """The number of predictions that are the whole text."""
    return sum(prediction.text == prediction.truth for prediction in predictions)


def _accuracy(
    held_back: Sequence[SampleFile], predictions: Sequence[Prediction], manifest: Manifest
) -> dict[str, Any]:
    """The accuracy by the parts, and by the parts' sources, that the manifest names."""
    by_part: dict[str, list[Prediction]] = {}
    for sample, prediction in zip(held_back, predictions, strict=True):
        by_part.setdefault(sample.part, []).append(prediction)
        if sample.source:
            by_part.setdefault(f"{sample.part} {sample.source}", []).append(prediction)
    return {part: summarize(by_part[part]) for part in manifest.accuracy if part in by_part}


def _predict(
    session: Session,
    manifest: Manifest,
    samples: Sequence[SampleFile],
    tensors: NDArray[np.float32],
) -> list[Prediction]:
    answers = manifest.decode(run_batches(session, manifest, tensors, BATCHES[-1]))
    return [
        Prediction(sample.path.name, sample.label, text, decoded.confidence)
        for sample, (text, decoded) in zip(samples, answers, strict=True)
    ]


def _time(sessions: Sequence[Session], inputs: NDArray[np.float32]) -> list[float]:
    """The median milliseconds of a run, for each of the sessions; they run in turn."""
    times: list[list[float]] = [[] for _ in sessions]
    until = time.perf_counter() + _SECONDS
    for turn in range(_TURNS):
        if turn > 2 and time.perf_counter() > until:
            break
        for session, session_times in zip(sessions, times, strict=True):
            started = _clock()
            for _ in range(_RUNS):
                session.run(inputs)
            session_times.append((_clock() - started) / _RUNS)
    return [1000 * statistics.median(session_times) for session_times in times]
