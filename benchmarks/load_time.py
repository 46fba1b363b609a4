"""How long it takes until a model is loaded: `python benchmarks/load_time.py`.

Creates the runtime's `Session` from each model's graph as it was exported, from the graph as
onnxruntime's optimiser leaves it at the levels EXTENDED and ALL, and from the same in onnxruntime's
own format; and times the first run, which allocates, and a later one, which shows what a graph
loses: one in the ORT format is not optimised any more when it is loaded. Then `Solver()` as a
whole, with the embedded model. Writes `benchmarks/results/load_time.json`. Stopped, it goes on
where it was. Takes a minute.

A graph that was optimised at the level ALL is made for the processor that did it: on another, with
AVX2 only, it gave wrong answers without an error. It is here to say what that would save, never to
be shipped.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from captcha_rt import Solver, load_model
from captcha_rt.manifest import Manifest, detach
from captcha_rt.session import CPU, Session, import_onnxruntime
from harness import Part, in_turn, rounded
from models import MODELS, noise, preset_model

PLAIN = "as exported"
OPTIMISED = {
    "EXTENDED": ("EXTENDED", "ONNX"),
    "ALL": ("ALL", "ONNX"),
    "EXTENDED, ORT format": ("EXTENDED", "ORT"),
    "ALL, ORT format": ("ALL", "ORT"),
}
"""What is loaded beside the graph as exported: the optimiser's level and the file's format."""

ROUNDS, WARM_UP = 31, 2
LATER = 3  # runs between the first and the later one

say = Console(stderr=True).print


def optimise(model: bytes, level: str, form: str) -> bytes:
    """A model as onnxruntime's optimiser leaves it.

    Args:
        model: The bytes of a `.onnx` file.
        level: `"EXTENDED"` or `"ALL"`.
        form: `"ONNX"` or `"ORT"`.

    Returns:
        The bytes of the file that onnxruntime writes.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # it warns of what the level ALL means
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.add_session_config_entry("session.save_model_format", form)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"optimised.{form.lower()}"
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(model, options, providers=[CPU])
        return path.read_bytes()


def load(name: str, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Loads one model in each form, in alternating rounds.

    Returns:
        A row a form: medians in milliseconds of the session's creation, by the wall clock and in
        CPU time, and of the first and of a later run of one picture.
    """
    model, trained = preset_model(name)
    manifest = detach(model)
    forms = {PLAIN: model, **{form: optimise(model, *how) for form, how in OPTIMISED.items()}}
    times: dict[str, list[tuple[float, ...]]] = {form: [] for form in forms}
    for number in range(rounds + WARM_UP):
        for form, data in forms.items():
            its = load_once(data, manifest)
            if number >= WARM_UP:
                times[form].append(its)
    rows = []
    for form, data in forms.items():
        names = ("load_ms", "load_cpu_ms", "first_run_ms", "later_run_ms")
        columns = zip(*times[form], strict=True)
        rows.append(
            {
                "model": name,
                "trained": trained,
                "form": form,
                "bytes": len(data),
                **{
                    name: rounded(statistics.median(column))
                    for name, column in zip(names, columns, strict=True)
                },
            }
        )
    return rows


def load_once(model: bytes, manifest: Manifest) -> tuple[float, ...]:
    """Milliseconds of a session's creation, its CPU time, and those of two of its runs."""
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
    return tuple(1000 * its for its in seconds)


def load_solver(rounds: int = ROUNDS) -> Mapping[str, Mapping[str, float]]:
    """`Solver()` with the embedded model, and its two steps: the checked file, the session."""
    model = load_model()
    calls: dict[str, Callable[[], object]] = {
        "load_model": load_model,
        "Session": partial(Session, model.data, model.manifest, device="cpu"),
        "Solver": partial(Solver, device="cpu"),
    }
    return in_turn(calls, rounds=rounds, warm_up=WARM_UP)


def main() -> None:
    """Loads all models, and writes a row a model and form."""
    part = Part("load_time")
    rows = []
    for name in MODELS:
        its = part.row(name, partial(load, name))
        rows += its
        for row in its:
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


if __name__ == "__main__":
    main()
