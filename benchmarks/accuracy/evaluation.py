"""Reads the held-back pictures of a run, and measures how well they were read."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captcha_rt import CaptchaRTError, Solver
from captcha_rt.labels import read_labels
from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Evaluation, Prediction, evaluate
from captcha_rt.progress import track
from captcha_rt_export.run import Run

if TYPE_CHECKING:
    from captcha_rt_train.presets import Preset, Settings


def trained_manifest(run: Run, preset: "Preset", settings: "Settings") -> Manifest:
    """The manifest of a finished run.

    Raises:
        SystemExit: If the run was trained with another recipe or other settings.
    """
    manifest = run.manifest
    if manifest.recipe != preset.recipe or any(
        manifest.training.get(key) != value
        for key, value in asdict(settings).items()
        if key != "licence"
    ):
        raise SystemExit(
            f"{run.folder} was trained with another recipe or other settings; remove the folder to "
            "train again"
        )
    return manifest


def held_back(run: Run, folder: Path, part: str = "test") -> list[tuple[Path, str]]:
    """The pictures of one part of a run's split, with their labels.

    Args:
        run: The run.
        folder: The folder of labelled pictures. The run may have read other folders as well.
        part: `training`, `validation` or `test`. `test` includes the pictures that training
            skipped.
    """
    parts = {sample.path: sample.part for sample in run.samples()}
    labelled = read_labels(folder).items
    return [(path, label) for path, label in labelled if parts.get(path.resolve(), "test") == part]


def read_all(solver: Solver, paths: Sequence[Path], labels: Sequence[str]) -> list[Prediction]:
    """Reads pictures from their files.

    Returns:
        A prediction for each picture. If a picture can't be read, its text is empty and its
        confidence is 0.
    """
    answers = solver.solve_batch(track(paths, len(paths), what="evaluating"))
    return [
        Prediction(path.name, label, "", 0.0)
        if isinstance(answer, CaptchaRTError)
        else Prediction(path.name, label, answer.text, answer.confidence)
        for path, label, answer in zip(paths, labels, answers, strict=True)
    ]


def correct(predictions: Sequence[Prediction], shown: Mapping[str, str]) -> list[Prediction]:
    """Replaces wrong labels of predictions.

    Args:
        predictions: The predictions with the raw labels.
        shown: The text that a picture shows, by file name, for pictures with a wrong label.
    """
    return [replace(p, truth=shown.get(p.path, p.truth)) for p in predictions]


def accuracy(raw: Sequence[Prediction], corrected: Sequence[Prediction]) -> dict[str, Any]:
    """The accuracy by the corrected labels and, under `raw`, by the raw labels.

    Args:
        raw: The predictions with the raw labels.
        corrected: The same predictions with corrected labels.
    """
    evaluation = evaluate(corrected)
    return {
        **_summary(evaluation),
        "misread": [asdict(prediction) for prediction in evaluation.misread],
        "raw": _summary(evaluate(raw)),
        "corrections": _corrections(raw, corrected),
    }


def _corrections(
    raw: Sequence[Prediction], corrected: Sequence[Prediction]
) -> list[dict[str, str]]:
    """The labels that `correct` changed: the picture, its label and what it shows."""
    return [
        {"picture": old.path, "label": old.truth, "shown": new.truth}
        for old, new in zip(raw, corrected, strict=True)
        if old.truth != new.truth
    ]


def _summary(evaluation: Evaluation) -> dict[str, Any]:
    """The metrics of an evaluation that go into the results."""
    return {
        "pictures": evaluation.total,
        "errors": evaluation.errors,
        "exact_match": evaluation.exact_match,
        "interval": evaluation.interval,
        "character_accuracy": evaluation.character_accuracy,
    }
