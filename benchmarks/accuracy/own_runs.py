"""Runs `captcha-rt train` and `captcha-rt suspects` for `own.py`; a run is a row of the result."""

import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks.accuracy.evaluation import read_all
from benchmarks.accuracy.own_kinds import Kind, Samples, write_folder
from benchmarks.harness import commit, machine, read_json, rounded, say, write_json
from captcha_rt import Solver, decode_image
from captcha_rt.diagnostics.machine import Finished, run_command
from captcha_rt.metrics import Prediction, only_answer, wilson_interval

TARGETS: Final = {50: (0.75, 0.60), 200: (0.93, 0.88), 1000: (0.98, 0.95)}
"""The exact match that is wanted, by the number of labelled pictures; the second number is for
charsets of more than `SMALL_CHARSET` characters."""

SMALL_CHARSET: Final = 30
TIMED: Final = 100  # pictures that are read one by one for the milliseconds
WIDTH, HEIGHT = 200, 60  # of these pictures
SHOWN: Final = 10  # misread pictures in a row

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements share.

    Attributes:
        runs: The folder of the runs.
        results: The result file.
        options: More options for `captcha-rt train`.
        again: Whether rows that stand in the file are measured again, each once.
        program: The command that is measured.
        fresh: The rows that this command has measured, by part and key.
    """

    runs: Path
    results: Path
    options: tuple[str, ...] = ()
    again: bool = False
    program: tuple[str, ...] = (sys.executable, "-m", "captcha_rt")
    fresh: set[tuple[str, str]] = field(default_factory=set)

    def read(self) -> dict[str, Any]:
        """The result file's content; empty if there is none yet."""
        return dict(read_json(self.results)) if self.results.exists() else {}

    def write(self, part: str, key: str, row: Row) -> None:
        """Puts a row into a part of the result file, with the machine."""
        result = self.read()
        result.setdefault(part, {})[key] = json.loads(json.dumps(row))
        write_json(self.results, {**result, "machine": machine()})

    def row(self, part: str, key: str, measure: Callable[[], Row]) -> Row:
        """Measures a row, unless it stands in the result file; one that failed is measured again.

        Args:
            part: The part of the result: `kinds`, `sizes`, `seeds`, `noise` or `suspects`.
            key: The row's key in its part.
            measure: Returns the row.
        """
        found: Row | None = self.read().get(part, {}).get(key)
        if found and "failed" not in found and not (self.again and (part, key) not in self.fresh):
            say(f"{key}: measured already", highlight=False)
            return found
        say(f"[bold]{key}[/bold]: {part}", highlight=False)
        row = {**measure(), "commit": commit()}
        self.write(part, key, row)
        self.fresh.add((part, key))
        say(f"{key}: {summary(row)}", markup=False, highlight=False)
        return row

    def folder(self, what: str, key: str) -> Path:
        """A path for a folder of a row: `folders`, `runs` or `suspects`. It is not made."""
        return self.runs / "own" / what / key.replace(" ", "-")


def failure(done: Finished) -> Row:
    """A row for a command that failed: its exit code and the last line that it wrote."""
    last = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
    return {"failed": f"exit code {done.exit_code}: {last}"}


def train_and_read(
    bench: Bench,
    key: str,
    kind: Kind,
    samples: Samples,
    labels: Mapping[Path, str] | None = None,
) -> Row:
    """Trains on a folder of pictures, and reads the test of the same kind.

    Args:
        bench: The folders and options.
        key: The row's key, for the folders' names.
        kind: The kind, whose test is read.
        samples: The pictures that are trained on.
        labels: Wrong texts for some of them.

    Returns:
        The row, or only why it `failed`.
    """
    folder, run = bench.folder("folders", key), bench.folder("runs", key)
    write_folder(samples, folder, labels)
    shutil.rmtree(run, ignore_errors=True)
    run.parent.mkdir(parents=True, exist_ok=True)
    done = run_command([*bench.program, "train", folder, "-o", run, *bench.options])
    run.with_name(f"{run.name}.log").write_text(done.stderr + done.stdout, "utf-8")
    model = run / "model.onnx"
    row: Row = {"kind": kind.name, "pictures": len(samples)}
    if done.exit_code or not model.exists():
        return row | (failure(done) if done.exit_code else {"failed": f"no {model.name}"})
    solver = Solver(model, device="cpu")
    paths, texts = zip(*kind.test, strict=True)
    return (
        row
        | score(read_all(solver, paths, texts))
        | wanted(len(samples), len(kind.characters))
        | {
            "said": said(solver.manifest.accuracy),
            **cost(done),
            "charset": len(solver.manifest.charset.characters),
            "bytes": model.stat().st_size,
            "cpu_ms": cpu_milliseconds(solver, paths),
        }
    )


def score(predictions: Sequence[Prediction]) -> Row:
    """How many pictures were read right, and whether the model stands on the plateau."""
    texts = [p.text for p in predictions]
    misread = [p for p in predictions if p.text != p.truth]
    right, total = len(predictions) - len(misread), len(predictions)
    folded = sum(p.text.casefold() == p.truth.casefold() for p in predictions)
    return {
        "test": total,
        "right": right,
        "exact_match": rounded(right / total),
        "interval": [rounded(end) for end in wilson_interval(right, total)],
        "case_ignored": rounded(folded / total),
        "answers": len({*texts}),
        "plateau": right == 0 or only_answer(texts) is not None,
        "misread": [[p.path, p.truth, p.text] for p in misread[:SHOWN]],
    }


def wanted(pictures: int, characters: int) -> Row:
    """The exact match that is wanted: that of the next smaller number of pictures in `TARGETS`."""
    sizes = [size for size in TARGETS if size <= pictures]
    return {"target": TARGETS[max(sizes)][characters > SMALL_CHARSET] if sizes else None}


def said(accuracy: Mapping[str, Any]) -> Row:
    """What the run says of itself: the metrics of the pictures that it held back, by their part."""
    return {
        part: {name: found[name] for name in ("pictures", "exact_match", "interval")}
        for part, found in accuracy.items()
        if {"pictures", "exact_match", "interval"} <= found.keys()
    }


def cpu_milliseconds(solver: Solver, paths: Sequence[Path]) -> float:
    """The median CPU time from a file's bytes to its text, for pictures of `WIDTH` x `HEIGHT`."""
    files = [scaled_png(path) for path in paths[:TIMED]]
    for file in files[:10]:
        solver.solve(file)
    times = []
    for file in files * 3:
        started = time.process_time()
        solver.solve(file)
        times.append(time.process_time() - started)
    return rounded(statistics.median(times) * 1000)


def retime(bench: Bench, key: str, row: Row, paths: Sequence[Path]) -> None:
    """Times the model of a row's run anew, if it is there, and writes the time into the row."""
    model = bench.folder("runs", key) / "model.onnx"
    if "failed" in row or not model.exists():
        say(f"{key}: no run to time", highlight=False)
        return
    timed = {"cpu_ms": cpu_milliseconds(Solver(model, device="cpu"), paths), "timed": commit()}
    bench.write("sizes", key, row | timed)
    say(f"{key}: {timed['cpu_ms']:.2f} ms", highlight=False)


def scaled_png(path: Path) -> bytes:
    """A picture as a PNG file of `WIDTH` x `HEIGHT`, with its channels."""
    picture = decode_image(path)
    scaled = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    if picture.shape[2] > 1:  # OpenCV writes blue, green, red
        scaled = np.ascontiguousarray(scaled[..., [2, 1, 0, 3][: picture.shape[2]]])
    return cv2.imencode(".png", scaled)[1].tobytes()


def find_suspects(
    bench: Bench, key: str, kind: Kind, samples: Samples, wrong: Mapping[Path, str]
) -> Row:
    """Lets `captcha-rt suspects` look for the wrong labels of a folder.

    Args:
        bench: The folders.
        key: The row's key, for the folders' names.
        kind: The kind.
        samples: The pictures in the folder.
        wrong: The wrong labels by picture.

    Returns:
        How many labels are wrong, how many of them were found, and how many others were named; or
        only why the command `failed`.
    """
    folder, out = bench.folder("folders", key), bench.folder("suspects", key)
    write_folder(samples, folder, wrong)
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    done = run_command([*bench.program, "suspects", folder, "-o", out, "--json"])
    row: Row = {"kind": kind.name, "pictures": len(samples)}
    if done.exit_code:
        return row | failure(done)
    named = {Path(suspect["picture"]).name for suspect in json.loads(done.stdout)}
    truly = {path.name for path in wrong}
    return row | {
        "wrong": len(truly),
        "found": len(named & truly),
        "false_alarms": len(named - truly),
        **cost(done),
    }


def cost(done: Finished) -> Row:
    """The wall-clock and CPU time of a command, in seconds."""
    cpu = done.usage.cpu_ms
    return {
        "seconds": rounded(done.usage.wall_ms / 1000),
        "cpu_seconds": None if cpu is None else rounded(cpu / 1000),
    }


def summary(row: Row) -> str:
    """A row in a few words."""
    if "failed" in row:
        return f"failed: {row['failed']}"
    if "untrained" in row:
        return f"{row['untrained']:.1%} right before training"
    if "wrong" in row:
        return f"{row['found']} of {row['wrong']} found, {row['false_alarms']} false alarms"
    words = [f"{row['exact_match']:.1%} right, {row['seconds']:.0f} s"]
    if row.get("target"):
        words.append(f"wanted {row['target']:.0%}")
    if row.get("plateau"):
        words.append("on the plateau")
    return ", ".join(words)
