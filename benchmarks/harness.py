"""What the benchmarks share: pictures, clocks, rows that survive a stop, the machine's name."""

import csv
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captcha_rt import CaptchaRTError, Solver
from captcha_rt.bench import processor
from captcha_rt.files import write_atomically
from captcha_rt.labels import read_labels
from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Evaluation, Reading
from captcha_rt.model import load_model
from captcha_rt.progress import track
from captcha_rt.session import installed

if TYPE_CHECKING:
    from captcha_rt_train.presets import Preset, Settings

HERE = Path(__file__).parent
RESULTS = HERE / "results"
RUNS = HERE / "runs"
MEASURED = (
    *("runtime", "train", "export", "benchmarks/*.py", "benchmarks/*.toml", "benchmarks/*.csv"),
    *(":!benchmarks/report.py", ":!benchmarks/suite.py", ":!*.md"),
)
"""What a result depends on, as Git's pathspecs."""
CORRECTIONS = HERE / "corrections.csv"
SAMPLES = sorted((HERE.parent / "tests" / "samples").glob("*.png"))


def held_back(run: Path, folder: Path, part: str = "test") -> list[tuple[Path, str]]:
    """A part's pictures with their labels; with `test` those too that training had to leave out."""
    with (run / "pictures.csv").open(newline="", encoding="utf-8") as file:
        parts = {Path(row["path"]): row["part"] for row in csv.DictReader(file)}
    items = read_labels(folder).items
    return [item for item in items if parts.get(item[0].resolve(), "test") == part]


def unseen_pictures(data: Path) -> dict[str, list[tuple[Path, str]]]:
    """Of each real set the pictures that the embedded model was not trained on, labels corrected.

    Args:
        data: The folder of real labelled pictures.

    Returns:
        By the set's name the pictures with what they show, sorted by name.
    """
    from captcha_rt_train.corrections import read_corrections
    from captcha_rt_train.data import Share, read_dataset, split
    from captcha_rt_train.mix import read_sources

    recipe = load_model().manifest.recipe
    pictures = {}
    for name, source in read_sources(HERE / "default.toml").items():
        if "folder" in source:
            shares = {"": Share(source["validation"], source["test"])}
            shown = read_corrections(CORRECTIONS, name)
            found = replace(read_dataset(data / name, recipe, corrections=shown), shares=shares)
            parts = split(found, validation=0, test=0, seed=0)
            pictures[name] = [(i.path, i.label) for i in parts["test"] if i.path is not None]
    return pictures


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
        "python": sys.version,  # with its build: one without optimisations is slower
        **installed("numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu"),
    }


class Part:
    """A part of the suite: its rows, each measured once, and the result file that they make.

    Rows lie in `benchmarks/runs/suite` until the part is finished, so that a stopped suite goes on
    where it was. Rows of another state of the code are measured again.
    """

    def __init__(self, name: str) -> None:
        """Takes up what lies there.

        Args:
            name: The part's name, that of its result file.
        """
        self.name = name
        self._rows = RUNS / "suite" / name
        self._rows.mkdir(parents=True, exist_ok=True)

    @property
    def finished(self) -> bool:
        """Whether the result file was made by the code as it is now."""
        done = self._rows / "finished"
        return done.exists() and done.read_text("utf-8") == state()

    def row(self, name: str, measure: Callable[[], Any]) -> Any:  # noqa: ANN401  (what JSON holds)
        """What `measure` returns, of now or of a stopped run."""
        path = self._rows / f"{name}.json"
        if path.exists():
            kept = json.loads(path.read_text("utf-8"))
            if kept["state"] == state():
                return kept["row"]
        row = json.loads(json.dumps(measure()))
        write_json(path, {"state": state(), "row": row})
        return row

    def finish(self, values: Mapping[str, Any]) -> None:
        """Writes the result file: the values, and where and on which commit they were measured."""
        write_json(
            RESULTS / f"{self.name}.json", {**values, "commit": commit(), "machine": machine()}
        )
        for path in self._rows.glob("*.json"):
            path.unlink()
        (self._rows / "finished").write_text(state(), "utf-8")


def in_turn(
    calls: Mapping[str, Callable[[], Any]], *, rounds: int, runs: int = 1, warm_up: int = 3
) -> dict[str, dict[str, float]]:
    """Times calls in alternating rounds of one process, so that what disturbs meets all alike.

    Args:
        calls: What is timed, by name.
        rounds: So often each has its turn.
        runs: So often it is called in a turn.
        warm_up: So often each is called before.

    Returns:
        For each the percentiles of its rounds, in milliseconds a call: `p50`, `p90`, `p99` of the
        wall clock, and `cpu`, the median of the CPU time of all of the process's threads.
    """
    walls: dict[str, list[float]] = {name: [] for name in calls}
    cpus: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(warm_up):
            call()
    for _ in range(rounds):
        for name, call in calls.items():
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(runs):
                call()
            walls[name].append((time.perf_counter() - wall) * 1000 / runs)
            cpus[name].append((time.process_time() - cpu) * 1000 / runs)
    return {
        name: {**percentiles(its), "cpu": rounded(statistics.median(cpus[name]))}
        for name, its in walls.items()
    }


def clock(times: list[float], call: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401
    """Calls, and notes the milliseconds."""
    started = time.perf_counter()
    result = call(*arguments)
    times.append((time.perf_counter() - started) * 1000)
    return result


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The 50th, 90th and 99th percentile."""
    if len(values) == 1:
        return dict.fromkeys(("p50", "p90", "p99"), rounded(values[0]))
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {f"p{n}": rounded(cuts[n - 1]) for n in (50, 90, 99)}


def rounded(value: float) -> float:
    """Four significant digits: more is noise."""
    return float(f"{value:.4g}")


@cache
def commit() -> str:
    """The commit that is measured, with `+` if what is measured differs from it."""
    head = _git("rev-parse", "--short=12", "HEAD").strip()
    return head + ("+" if _git("status", "--porcelain", "--", *MEASURED) else "")


@cache
def state() -> str:
    """What tells one state of what is measured from another."""
    files = _git("ls-files", "-s", "--", *MEASURED) + _git("diff", "--", *MEASURED)
    return hashlib.sha256(files.encode()).hexdigest()


def _git(*arguments: str) -> str:
    found = subprocess.run(
        ["git", *arguments],  # noqa: S607  (as the user's PATH has it)
        cwd=HERE.parent,
        check=False,
        capture_output=True,
        text=True,
    )
    return found.stdout


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a result, whole or not at all."""
    with write_atomically(path) as file:
        file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")
