"""Why a `Session` runs on one thread that doesn't spin: `python -m benchmarks session_options`.

Times the embedded model with one and two threads, spinning or not, in batches of one and of eight
pictures. The settings take turns in one process, so that a disturbance affects all of them alike.
Wall time is what a caller waits for; CPU time is what the pictures cost a server. Writes
`benchmarks/results/session_options.json`.
"""

import statistics
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks import markdown
from benchmarks.harness import RESULTS, RUNS, SAMPLES, Part, Result, command_parser
from benchmarks.plots import Plot
from benchmarks.sessions import bare_session, session_options
from captcha_rt import decode_image
from captcha_rt.device import CPU
from captcha_rt.model import load_model

ROUNDS, TURN, WARM_UP = 30, 20, 5  # rounds, timed runs in a turn, and runs before them
PAUSE: Final = 0.05  # seconds before a turn, in which the last setting's threads stop spinning
PLOTS: Final[tuple[Plot, ...]] = ()


def embedded_session(threads: int, *, spinning: bool) -> Any:  # noqa: ANN401  (onnxruntime has no types)
    """A session of the embedded model.

    Args:
        threads: The number of threads within a run.
        spinning: Whether threads that wait for work spin, instead of sleeping.
    """
    options = session_options(threads)
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    return bare_session(load_model().data, options)


def measure_turn(session: Any, inputs: NDArray[np.float32]) -> tuple[float, float]:  # noqa: ANN401
    """Wall and CPU milliseconds a picture in one turn.

    Args:
        session: The session.
        inputs: A batch `(N, ...)`.
    """
    time.sleep(PAUSE)
    for _ in range(WARM_UP):
        session.run(None, {"image": inputs})
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(TURN):
        session.run(None, {"image": inputs})
    pictures = TURN * len(inputs) / 1000
    return (time.perf_counter() - wall) / pictures, (time.process_time() - cpu) / pictures


def measure() -> list[dict[str, Any]]:
    """Measures all settings in turn.

    Returns:
        A row for each batch size and setting, with median milliseconds a picture.
    """
    recipe = load_model().manifest.recipe
    tensors = [recipe.apply(decode_image(path)) for path in SAMPLES]
    settings = list(product((1, 2), (False, True)))
    sessions = {
        (threads, spinning): embedded_session(threads, spinning=spinning)
        for threads, spinning in settings
    }
    rows = []
    for batch in (1, 8):
        inputs = np.stack([tensors[i % len(tensors)] for i in range(batch)])
        rounds = [{s: measure_turn(sessions[s], inputs) for s in settings} for _ in range(ROUNDS)]
        for threads, spinning in settings:
            walls, cpus = zip(*(r[threads, spinning] for r in rounds), strict=True)
            rows.append(
                {
                    "batch": batch,
                    "threads": threads,
                    "spinning": spinning,
                    "wall_ms": round(statistics.median(walls), 4),
                    "cpu_ms": round(statistics.median(cpus), 4),
                }
            )
    return rows


def table(result: Result) -> str:
    """The result as a table in Markdown: threads within a run, and whether they spin."""
    rows = []
    for row in result["median_a_picture"]:
        times = (f"{row[key]:.3f} ms" for key in ("wall_ms", "cpu_ms"))
        rows.append((row["batch"], row["threads"], "yes" if row["spinning"] else "no", *times))
    columns = ("batch", "threads", "spinning", "wall a picture", "CPU a picture")
    return markdown.table(columns, rows)


def main(argv: Sequence[str], runs: Path = RUNS, results: Path = RESULTS) -> None:
    """Measures all settings, and writes the result file."""
    command_parser("session_options", __doc__).parse_args(argv)
    rows = measure()
    Part("session_options", runs, results).finish(
        {
            "model": load_model().manifest.name,
            "provider": CPU,
            "rounds": ROUNDS,
            "runs_a_round": TURN,
            "warm_up": WARM_UP,
            "median_a_picture": rows,
        }
    )
