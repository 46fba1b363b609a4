"""How long it takes to load a model: `python -m benchmarks load_time`.

Creates the runtime's `Session` from several forms of each model's graph: as exported, as optimised
by onnxruntime at the levels EXTENDED and ALL, and the optimised graphs in onnxruntime's own format.
Also times two runs: the first, which allocates memory, and a later one. The later run shows what a
form costs: onnxruntime doesn't optimise a graph in its own format again. Then the command times
`Solver()` as a whole: the small model, and the file of the general one, which isn't loaded yet.
Writes `benchmarks/results/load_time.json`. A stopped command continues where it was. It takes a
minute.

A graph optimised at the level ALL fits only the kind of processor that optimised it: on a processor
with AVX2 only, such a graph gave wrong answers without an error. It is measured to show what it
would save, and must never be shipped.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import markdown
from benchmarks.harness import (
    RESULTS,
    RUNS,
    Part,
    Result,
    command_parser,
    in_turn,
    rounded,
    say,
)
from benchmarks.models import MODELS, noise, preset_model
from benchmarks.plots import Plot
from benchmarks.sessions import bare_session, session_options
from captcha_rt import Solver
from captcha_rt.device import CPU
from captcha_rt.manifest import Manifest
from captcha_rt.model import detach, load_model
from captcha_rt.session import Session, import_onnxruntime

PLAIN: Final = "as exported"
OPTIMISED: Final = {
    "EXTENDED": ("EXTENDED", "ONNX"),
    "ALL": ("ALL", "ONNX"),
    "EXTENDED, ORT format": ("EXTENDED", "ORT"),
    "ALL, ORT format": ("ALL", "ORT"),
}
"""The optimised forms of a graph, each with the optimiser's level and the file format."""

ROUNDS, WARM_UP = 31, 2
LATER: Final = 3  # runs between the first run and the later one
PLOTS: Final[tuple[Plot, ...]] = ()


def optimise(model: bytes, level: str, file_format: str) -> bytes:
    """Optimises a model with onnxruntime.

    Args:
        model: The bytes of a `.onnx` file.
        level: `"EXTENDED"` or `"ALL"`.
        file_format: `"ONNX"` or `"ORT"`.

    Returns:
        The bytes of the file that onnxruntime writes.
    """
    levels = import_onnxruntime().GraphOptimizationLevel
    options = session_options()
    options.graph_optimization_level = getattr(levels, f"ORT_ENABLE_{level}")
    options.add_session_config_entry("session.save_model_format", file_format)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"optimised.{file_format.lower()}"
        options.optimized_model_filepath = str(path)
        bare_session(model, options)
        return path.read_bytes()


def load(name: str, rounds: int = ROUNDS, runs: Path = RUNS) -> list[dict[str, Any]]:
    """Loads one model in each form, in alternating rounds.

    Args:
        name: One of `MODELS`.
        rounds: How often each form is loaded.
        runs: The folder of the runs.

    Returns:
        A row for each form: median milliseconds of the session's creation, by the wall clock and
        in CPU time, and of the first and of a later run of one picture.
    """
    model, trained = preset_model(name, runs)
    manifest = detach(model)
    forms = {PLAIN: model, **{form: optimise(model, *how) for form, how in OPTIMISED.items()}}
    times: dict[str, list[tuple[float, ...]]] = {form: [] for form in forms}
    for number in range(rounds + WARM_UP):
        for form, data in forms.items():
            took = load_once(data, manifest)
            if number >= WARM_UP:
                times[form].append(took)
    rows = []
    for form, data in forms.items():
        keys = ("load_ms", "load_cpu_ms", "first_run_ms", "later_run_ms")
        columns = zip(*times[form], strict=True)
        rows.append(
            {
                "model": name,
                "trained": trained,
                "form": form,
                "bytes": len(data),
                **{
                    key: rounded(statistics.median(column))
                    for key, column in zip(keys, columns, strict=True)
                },
            }
        )
    return rows


def load_once(model: bytes, manifest: Manifest) -> tuple[float, ...]:
    """Creates a session and runs it.

    Returns:
        Milliseconds: the wall time and the CPU time of the creation, and the wall times of the
        first run and of a later run.
    """
    inputs = noise(manifest)
    cpu, started = time.process_time(), time.perf_counter()
    session = Session(model, manifest, device="cpu")
    created, cpu = time.perf_counter(), time.process_time() - cpu
    first = time.perf_counter()
    session.run(inputs)
    ran = time.perf_counter()
    for _ in range(LATER):
        session.run(inputs)
    later = time.perf_counter()
    session.run(inputs)
    seconds = created - started, cpu, ran - first, time.perf_counter() - later
    return tuple(1000 * value for value in seconds)


def load_solver(rounds: int = ROUNDS) -> Mapping[str, Mapping[str, float]]:
    """Times `Solver()` with the embedded model, and each of its two steps.

    Returns:
        What `in_turn` returns for `load_model`, `Session` and `Solver`.
    """
    model = load_model()
    calls: dict[str, Callable[[], object]] = {
        "load_model": load_model,
        "Session": partial(Session, model.data, model.manifest, device="cpu"),
        "Solver": partial(Solver, device="cpu"),
    }
    return in_turn(calls, rounds=rounds, warm_up=WARM_UP)


def table(result: Result) -> str:
    """The result in words and a table, in Markdown: a session's creation by the graph's form."""
    forms = list(dict.fromkeys(row["form"] for row in result["forms"]))
    times = {(row["model"], row["form"]): row["load_ms"] for row in result["forms"]}
    rows = [
        (f"`{model}`", *(markdown.milliseconds(times[model, form]) for form in forms))
        for model in dict.fromkeys(row["model"] for row in result["forms"])
    ]
    solver = markdown.milliseconds(result["solver"]["Solver"]["p50"])
    return (
        "Creating a session from each form of the graph:\n\n"
        f"{markdown.table(('model', *forms), rows)}\n"
        f"`Solver()` with the embedded model: {solver}. Of the forms, {result['caveat']}.\n"
    )


def main(argv: Sequence[str], runs: Path = RUNS, results: Path = RESULTS) -> None:
    """Loads all models in all forms, and writes the result file."""
    command_parser("load_time", __doc__).parse_args(argv)
    part = Part("load_time", runs, results)
    rows = []
    for name in MODELS:
        forms = part.row(name, partial(load, name, runs=runs))
        rows += forms
        for row in forms:
            say(row)
    solver = part.row("solver", load_solver)
    say(solver)
    part.finish(
        {
            "forms": rows,
            "caveat": "what is optimised at ALL may answer wrongly on another processor",
            "solver": solver,
            "provider": CPU,
            "threads": 1,
            "rounds": ROUNDS,
            "warm_up": WARM_UP,
        }
    )
