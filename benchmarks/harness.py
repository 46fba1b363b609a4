"""What the benchmarks share: reading labelled pictures, and saying where it was measured."""

import csv
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captcha_rt import CaptchaRTError, Solver
from captcha_rt.labels import read_labels
from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Evaluation, Reading
from captcha_rt.progress import track

if TYPE_CHECKING:
    from captcha_rt_train.presets import Preset, Settings

HERE = Path(__file__).parent
RESULTS = HERE / "results"
RUNS = HERE / "runs"
CORRECTIONS = HERE / "corrections.csv"


def held_back(run: Path, folder: Path, part: str = "test") -> list[tuple[Path, str]]:
    """A part's pictures with their labels; with `test` those too that training had to leave out."""
    with (run / "pictures.csv").open(newline="", encoding="utf-8") as file:
        parts = {Path(row["path"]): row["part"] for row in csv.DictReader(file)}
    items = read_labels(folder).items
    return [item for item in items if parts.get(item[0].resolve(), "test") == part]


def read_all(solver: Solver, paths: Sequence[Path], labels: Sequence[str]) -> list[Reading]:
    """Reads pictures from their files; one that can't be read is read as nothing."""
    answers = solver.solve_batch(track(paths, len(paths), what="evaluating"))
    return [
        Reading(path.name, label, "", 0.0)
        if isinstance(answer, CaptchaRTError)
        else Reading(path.name, label, answer.text, answer.confidence)
        for path, label, answer in zip(paths, labels, answers, strict=True)
    ]


def correct(readings: Sequence[Reading], shown: dict[str, str]) -> list[Reading]:
    """The readings with what the pictures show, where their label is wrong."""
    return [replace(r, truth=shown.get(r.path, r.truth)) for r in readings]


def corrections(raw: Sequence[Reading], corrected: Sequence[Reading]) -> list[dict[str, str]]:
    """Where `correct` changed a label: the picture, its label and what it shows."""
    return [
        {"picture": old.path, "label": old.truth, "shown": new.truth}
        for old, new in zip(raw, corrected, strict=True)
        if old.truth != new.truth
    ]


def trained_manifest(run: Path, preset: "Preset", settings: "Settings") -> Manifest:
    """What a finished run made; one of another recipe or other settings ends the command."""
    manifest = Manifest.from_json((run / "manifest.json").read_bytes())
    if manifest.recipe != preset.recipe or any(
        manifest.training.get(key) != value
        for key, value in asdict(settings).items()
        if key != "licence"
    ):
        raise SystemExit(f"{run} was trained with other settings than now; remove it")
    return manifest


def summary(figures: Evaluation) -> dict[str, Any]:
    """The figures that the tables show."""
    return {
        "pictures": figures.total,
        "errors": figures.errors,
        "exact_match": figures.exact_match,
        "interval": figures.interval,
        "character_accuracy": figures.character_accuracy,
    }


def machine() -> dict[str, Any]:
    """The processor, its cores, and the versions of what runs a model."""
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "opencv-python-headless", "onnxruntime")},
    }


def processor() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
