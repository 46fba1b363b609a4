"""What the benchmarks share: options, pictures, clocks and result files."""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from captcha_rt.diagnostics.machine import processor
from captcha_rt.files import write_atomically
from captcha_rt.model import load_model
from captcha_rt.session import installed

Result = Mapping[str, Any]
"""The content of a result file."""

OURS: Final = "captcha-rt"
"""This project's name in the results."""

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
RESULTS: Final = HERE / "results"
RUNS: Final = HERE / "runs"
CONFIG: Final = HERE / "default.toml"
CORRECTIONS: Final = HERE / "corrections.csv"
SAMPLES: Final = sorted((ROOT / "tests" / "samples").glob("*.png"))
MEASURED: Final = (
    *("runtime", "train", "export", "benchmarks/*.py", "benchmarks/*.toml", "benchmarks/*.csv"),
    "benchmarks/*.js",
    *(":!benchmarks/report.py", ":!benchmarks/suite.py"),
    *(":!benchmarks/markdown.py", ":!benchmarks/plots.py"),
    *(":!benchmarks/peers/tables.py", ":!benchmarks/peers/plots.py", ":!*.md"),
    ":!benchmarks/accuracy/own_tables.py",
)
"""The files that a result depends on, as Git's pathspecs; `*` matches subfolders as well."""

say = Console(stderr=True).print


def command_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of a command's options.

    Args:
        name: The command's name.
        description: The text of `--help`: the docstring of the command's module.
    """
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def program(name: str, *options: str | Path) -> list[str]:
    """The command line that runs a benchmark; its working folder has to be `ROOT`."""
    return [sys.executable, "-m", "benchmarks", name, *map(str, options)]


def captcha_data() -> Path:
    """The folder of real labelled pictures, which `CAPTCHA_DATA` names.

    Without one the command ends with a message and exit code 2.
    """
    folder = os.environ.get("CAPTCHA_DATA")
    if not folder or not Path(folder).is_dir():
        say("CAPTCHA_DATA does not name the folder of real labelled pictures", soft_wrap=True)
        sys.exit(2)
    return Path(folder)


def unseen_pictures(data: Path) -> dict[str, list[tuple[Path, str]]]:
    """The pictures of each real set that the embedded model was not trained on.

    Args:
        data: The folder of real labelled pictures.

    Returns:
        For each set's name the pictures, with their corrected labels, sorted by file name.
    """
    from captcha_rt_train.data.samples import split
    from captcha_rt_train.data.sources import find_sources, read_dataset

    recipe = load_model().manifest.recipe
    pictures = {}
    for source in find_sources(CONFIG):
        if source.folder is None:
            continue
        dataset = read_dataset(data / source.name, recipe)
        dataset = replace(dataset, settings={"": source.settings})
        test = split(dataset, validation=0, test=0, seed=0)["test"]
        pictures[source.name] = [
            (sample.path, source.corrections.by_name.get(sample.path.name, sample.label))
            for sample in test
            if sample.path is not None
        ]
    return pictures


def machine() -> dict[str, Any]:
    """The processor, the number of cores, and the versions of Python and the libraries."""
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "python": sys.version,  # with the build: one without optimisations is slower
        **installed("numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu"),
    }


@cache
def commit() -> str:
    """The hash of the current commit, followed by `+` if a measured file was changed since."""
    head = _git("rev-parse", "--short=12", "HEAD").strip()
    return head + ("+" if _git("status", "--porcelain", "--", *MEASURED) else "")


@cache
def code_state() -> str:
    """A hash of the measured files that Git knows, with their uncommitted changes."""
    files = _git("ls-files", "-s", "--", *MEASURED) + _git("diff", "--", *MEASURED)
    return hashlib.sha256(files.encode()).hexdigest()


def _git(*arguments: str) -> str:
    found = subprocess.run(
        ["git", *arguments],  # noqa: S607  (found on the user's PATH)
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    return found.stdout


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the suite: rows that are measured once, and the result file made of them.

    The rows lie in `RUNS/suite/NAME` until the part is finished, so a stopped suite continues
    where it was. A row that another state of the code measured is measured again.

    Attributes:
        name: The part's name, which is also the name of the result file.
        runs: The folder of the runs.
        results: The folder of the result files.
        state: The state of the measured code, by default what `code_state` returns.
    """

    name: str
    runs: Path = RUNS
    results: Path = RESULTS
    state: str = field(default_factory=code_state)

    @property
    def rows(self) -> Path:
        """The folder of the rows."""
        return self.runs / "suite" / self.name

    @property
    def finished(self) -> bool:
        """Whether the result file was made by this state of the code."""
        done = self.rows / "finished"
        return done.exists() and done.read_text("utf-8") == self.state

    def row(self, name: str, measure: Callable[[], Any]) -> Any:  # noqa: ANN401  (what JSON holds)
        """Measures a row, unless a stopped run has kept it.

        Args:
            name: The name of the row's file, without the suffix.
            measure: Returns the row, which JSON must be able to hold.
        """
        path = self.rows / f"{name}.json"
        if path.exists():
            kept = json.loads(path.read_text("utf-8"))
            if kept["state"] == self.state:
                return kept["row"]
        row = json.loads(json.dumps(measure()))
        self.rows.mkdir(parents=True, exist_ok=True)
        write_json(path, {"state": self.state, "row": row})
        return row

    def finish(self, values: Mapping[str, Any]) -> None:
        """Writes the values, the commit and the machine to the result file; deletes the rows."""
        write_json(
            self.results / f"{self.name}.json",
            {**values, "commit": commit(), "machine": machine()},
        )
        self.rows.mkdir(parents=True, exist_ok=True)
        for path in self.rows.glob("*.json"):
            path.unlink()
        (self.rows / "finished").write_text(self.state, "utf-8")


def in_turn(
    calls: Mapping[str, Callable[[], Any]], *, rounds: int, runs: int = 1, warm_up: int = 3
) -> dict[str, dict[str, float]]:
    """Times calls in alternating rounds, so that a disturbance affects all calls alike.

    Args:
        calls: What is timed, by name.
        rounds: The number of rounds; each call has one turn in a round.
        runs: How often a call is made in a turn.
        warm_up: How often each call is made before the rounds.

    Returns:
        For each call the percentiles of the rounds, in milliseconds a call: `p50`, `p90` and `p99`
        of the wall clock, and `cpu`, the median CPU time of all threads of the process.
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
        name: {**percentiles(times), "cpu": rounded(statistics.median(cpus[name]))}
        for name, times in walls.items()
    }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The 50th, 90th and 99th percentile, interpolated linearly: `p50`, `p90` and `p99`."""
    if len(values) == 1:
        return dict.fromkeys(("p50", "p90", "p99"), rounded(values[0]))
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {f"p{n}": rounded(cuts[n - 1]) for n in (50, 90, 99)}


def rounded(value: float) -> float:
    """The value with four significant digits; more would be noise."""
    return float(f"{value:.4g}")


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a JSON file atomically."""
    with write_atomically(path) as file:
        file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: Path) -> Any:  # noqa: ANN401  (what JSON holds)
    """Reads a JSON file."""
    return json.loads(path.read_text("utf-8"))
