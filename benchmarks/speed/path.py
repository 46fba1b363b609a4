"""One picture from bytes to text, beside the least that it takes: `python -m benchmarks path`.

The least is the bare pair: `cv2.imdecode` on the file's bytes, and a run of the same network on a
tensor that is ready. `Solver.solve` does both as well, and checks the file, prepares the picture
and reads the scores. Bare pair and `solve` take turns, picture by picture, in one process on one
thread, so that each finds the processor's caches as the other left them. The pictures are real ones
that the embedded model was not trained on; the share that it reads right stands beside the times.

The times are CPU time. Other programs on the machine still lengthen them, since they empty the
caches; so the tenth percentile stands beside the median. Writes `benchmarks/results/path.json`.
`CAPTCHA_DATA` names the folder of real labelled pictures. The command takes two minutes.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks import markdown
from benchmarks.harness import (
    RESULTS,
    RUNS,
    Part,
    Result,
    captcha_data,
    command_parser,
    rounded,
    say,
    unseen_pictures,
)
from benchmarks.plots import Plot
from captcha_rt import Solver
from captcha_rt.device import CPU
from captcha_rt.model import EMBEDDED

PICTURES: Final = 100  # of each kind; more of them than a processor learns by heart
ROUNDS, WARM_UP = 25, 3  # turns of each picture, and those before them
PLOTS: Final[tuple[Plot, ...]] = ()


def measure(
    pictures: Mapping[str, Sequence[tuple[Path, str]]],
    *,
    number: int = PICTURES,
    rounds: int = ROUNDS,
) -> list[dict[str, Any]]:
    """Measures the bare pair and `Solver.solve` on each kind of pictures.

    Args:
        pictures: By kind, the pictures with their labels.
        number: How many of each kind are read; they are evenly spread.
        rounds: How many turns each picture has.

    Returns:
        A row for each kind: milliseconds of CPU time a picture.
    """
    solver = Solver(EMBEDDED, device="cpu")
    rows = []
    for kind, labelled in pictures.items():
        chosen = labelled[:: max(1, len(labelled) // number)][:number]
        files = [path.read_bytes() for path, _ in chosen]
        turns = _take_turns(solver, files, rounds)
        right = sum(
            solver.solve(file).text == label for file, (_, label) in zip(files, chosen, strict=True)
        )
        rows.append({"kind": kind, "pictures": len(files), **_row(turns), "right": right})
    return rows


def _take_turns(solver: Solver, files: Sequence[bytes], rounds: int) -> list[tuple[int, int, int]]:
    """Nanoseconds of `imdecode`, of the session's run and of `solve`, for each turn."""
    manifest, session = solver.manifest, solver.session.onnx
    feeds = []
    for file in files:
        tensor = manifest.prepare(solver.open(file).pixels)
        feeds.append({manifest.input.name: manifest.batch(tensor[None])})
    names = [manifest.output.name]
    clock = time.process_time_ns
    turns = []
    for number in range(WARM_UP + rounds):
        for file, feed in zip(files, feeds, strict=True):
            start = clock()
            cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
            decoded = clock()
            session.run(names, feed)
            run = clock()
            solver.solve(file)
            solved = clock()
            if number >= WARM_UP:
                turns.append((decoded - start, run - decoded, solved - run))
    return turns


def _row(turns: Sequence[tuple[int, int, int]]) -> dict[str, float]:
    """The medians of all turns, and the tenth percentiles."""
    imdecode, session, solve = zip(*turns, strict=True)
    bare = [decoded + run for decoded, run, _ in turns]
    times = {"imdecode": imdecode, "session": session, "bare": bare, "solve": solve}
    row = {f"{name}_ms": rounded(statistics.median(ns) / 1e6) for name, ns in times.items()}
    tenth = {name: statistics.quantiles(times[name], n=10)[0] for name in ("bare", "solve")}
    return {
        **row,
        "over_bare": rounded(statistics.median(solve) / statistics.median(bare)),
        "bare_p10_ms": rounded(tenth["bare"] / 1e6),
        "solve_p10_ms": rounded(tenth["solve"] / 1e6),
        "over_bare_p10": rounded(tenth["solve"] / tenth["bare"]),
    }


def table(result: Result) -> str:
    """The result as a table in Markdown: what `solve` takes beside the bare pair."""
    columns = ("pictures", "imdecode", "session", "both", "solve", "solve / both", "read right")
    rows = []
    for row in result["kinds"]:
        names = ("imdecode_ms", "session_ms", "bare_ms", "solve_ms")
        ratio = f"{row['over_bare']:.2f} (p10: {row['over_bare_p10']:.2f})"
        times = [markdown.milliseconds(row[name]) for name in names]
        rows.append((row["kind"], *times, ratio, f"{row['right']} of {row['pictures']}"))
    return markdown.table(columns, rows)


def main(argv: Sequence[str], runs: Path = RUNS, results: Path = RESULTS) -> None:
    """Measures all kinds of real pictures, and writes the result file."""
    command_parser("path", __doc__).parse_args(argv)
    cv2.setNumThreads(1)
    kinds = measure(unseen_pictures(captcha_data()))
    for row in kinds:
        say(row)
    Part("path", runs, results).finish(
        {
            "kinds": kinds,
            "model": Solver(EMBEDDED, device="cpu").name,
            "provider": CPU,
            "threads": 1,
            "rounds": ROUNDS,
            "warm_up": WARM_UP,
        }
    )
