"""The embedded model, from its pictures to the file in the wheel: `python benchmarks/default.py`.

Trains the preset `compact` on `benchmarks/default.toml`, exports it in 8 bits as the runtime's
default with its card, measures it on pictures that it was not trained on, and writes
`benchmarks/results/default.json` and `risk_coverage.png`. `CAPTCHA_DATA` names the folder of real
labelled pictures. The run lies in `benchmarks/runs/default`: stopped, the command goes on where it
was, and a finished run is not trained again. Takes about an hour on two cores.

The temperature and the smallest confidence are found on validation pictures. The test pictures, and
those of foreign kinds, are only read at the end.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from captcha_rt import Solver, decode_image
from captcha_rt.card import model_card
from captcha_rt.metrics import Reading, calibration_error, evaluate
from captcha_rt.model import EMBEDDED, load_model
from captcha_rt_train.corrections import read_corrections
from harness import (
    CORRECTIONS,
    HERE,
    RESULTS,
    RUNS,
    clock,
    correct,
    corrections,
    held_back,
    machine,
    read_all,
    summary,
    trained_manifest,
    write_json,
)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

CONFIG = HERE / "default.toml"
RESULT = RESULTS / "default.json"
PICTURE = RESULTS / "risk_coverage.png"
SAMPLE = HERE.parent / "tests" / "samples" / "dnwnb.png"
KINDS = ("captcha_v2", "thsrc", "court", "metu")
NAME = "compact"
THRESHOLDS = np.round(np.arange(0, 1, 0.01), 2)
REJECTED = 0.01  # of the validation pictures, by the smallest confidence
FOREIGN = 500  # pictures of each foreign kind
TIMED = 300  # pictures of each kind that are read one by one for the milliseconds
STARTS = 15

say = Console(stderr=True).print


def train_and_export(run: Path, data: Path) -> dict[str, Any]:
    """Makes the model file and its card; what is trained already is taken up."""
    from captcha_rt_export.export import export
    from captcha_rt_train.presets import load_preset
    from captcha_rt_train.training import train

    preset = load_preset("compact")
    settings = replace(preset.settings, licence="Apache-2.0")
    if not (run / "manifest.json").exists():
        train(CONFIG, run, preset, settings, resume=run.exists(), verbose=2)
    trained = trained_manifest(run, preset, settings)
    in_float = export(run, run / "float.onnx", name=NAME)
    export(run, run / "int8.onnx", name=NAME, int8=True)
    threshold = choose_threshold(Solver(run / "int8.onnx", device="cpu"), run, data)
    report = export(run, EMBEDDED, name=NAME, int8=True, min_confidence=threshold)
    card = model_card(load_model().manifest, EMBEDDED.stat().st_size)
    EMBEDDED.with_name("MODEL_CARD.md").write_text(card, "utf-8")
    assert report.int8 is not None  # noqa: S101  (asked for)
    return {
        "bytes": report.size,
        "parameters": trained.training["parameters"],
        "int8": asdict(report.int8),
        "float": {"bytes": in_float.size, "parity": in_float.probability_difference},
        "training": {
            key: trained.training[key]
            for key in ("seed", "epochs_trained", "best_epoch", "seconds", "pictures", "versions")
        },
    }


def choose_threshold(solver: Solver, run: Path, data: Path) -> float:
    """The highest confidence that rejects no more than 1 % of the validation pictures.

    Each kind has the same weight. Pictures of other kinds have no say: none of those that will be
    tried is known.
    """
    kinds = [
        np.array([r.confidence for r in read_part(solver, run, data / kind, "validation")])
        for kind in KINDS
    ]
    return max(
        float(threshold)
        for threshold in THRESHOLDS
        if np.mean([(kind < threshold).mean() for kind in kinds]) <= REJECTED
    )


def read_part(solver: Solver, run: Path, folder: Path, part: str) -> list[Reading]:
    """The readings of a kind's part, with the labels as they were given."""
    paths, labels = zip(*held_back(run, folder, part), strict=True)
    return read_all(solver, paths, labels)


def measure_accuracy(
    readings: Mapping[str, Sequence[Reading]], raw: Mapping[str, Sequence[Reading]]
) -> dict[str, Any]:
    """Each kind's figures, with those by the raw labels beside."""
    result = {}
    for kind, its in readings.items():
        figures = evaluate(its)
        result[kind] = {
            **summary(figures),
            "misread": [asdict(reading) for reading in figures.misread],
            "raw": summary(evaluate(raw[kind])),
            "corrections": corrections(raw[kind], its),
        }
    return result


def measure_rejection(
    solver: Solver, readings: Sequence[Reading], threshold: float
) -> tuple[dict[str, Any], dict[str, list[Reading]]]:
    """What the default threshold accepts of the own kinds and of foreign ones."""
    from foreign_kinds import draw_foreign

    accepted = [reading for reading in readings if reading.confidence >= threshold]
    foreign: dict[str, list[Reading]] = {}
    for kind, drawn in draw_foreign(FOREIGN).items():
        answers = solver.solve_batch([picture for _, picture in drawn])
        foreign[kind] = [
            Reading(str(n), text, answer.text, answer.confidence)  # type: ignore[union-attr]
            for n, ((text, _), answer) in enumerate(zip(drawn, answers, strict=True))
        ]
    result = {
        "min_confidence": threshold,
        "accepted": len(accepted) / len(readings),
        "right_of_accepted": sum(r.text == r.truth for r in accepted) / len(accepted),
        "wrong_of_accepted": sum(r.text != r.truth for r in accepted),
        "calibration_error": calibration_error(readings),
        "foreign_rejected_or_right": float(
            np.mean(
                [
                    reading.confidence < threshold or (reading.text == reading.truth != "")
                    for its in foreign.values()
                    for reading in its
                ]
            )
        ),
        "foreign": {
            kind: {
                "pictures": len(its),
                "rejected": sum(r.confidence < threshold for r in its) / len(its),
                "rejected_or_right": sum(
                    r.confidence < threshold or (r.text == r.truth != "") for r in its
                )
                / len(its),
            }
            for kind, its in foreign.items()
        },
    }
    return result, foreign


def draw_risk_coverage(
    readings: Sequence[Reading], foreign: Mapping[str, Sequence[Reading]], threshold: float
) -> None:
    """Draws risk against coverage, and what a threshold accepts of own and foreign kinds."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    ordered = sorted(readings, key=lambda reading: -reading.confidence)
    wrong = np.cumsum([reading.text != reading.truth for reading in ordered])
    count = np.arange(1, len(ordered) + 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    left.step(count / len(ordered), wrong / count, where="post")
    kept = sum(reading.confidence >= threshold for reading in readings)
    left.plot(kept / len(ordered), wrong[kept - 1] / kept, "o", color="C3")
    left.annotate(
        f"default, {threshold:g}",
        (kept / len(ordered), wrong[kept - 1] / kept),
        xytext=(-40, 70),
        textcoords="offset points",
        ha="right",
        arrowprops={"arrowstyle": "-", "color": "C3"},
    )
    left.set(xlabel="coverage: answers accepted", ylabel="risk: wrong ones of these")
    left.set_title(f"Test pictures of the four kinds ({len(readings):,})")
    left.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    left.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    grid = np.linspace(0, 1, 401)
    for name, its in {"the four kinds": readings, **foreign}.items():
        sure = np.array([reading.confidence for reading in its])
        share = (sure[None] >= np.maximum(grid, 1e-9)[:, None]).mean(axis=1)
        right.plot(grid, share, label=name, linewidth=2 if name == "the four kinds" else 1.2)
    right.axvline(threshold, color="C3", linestyle=":")
    right.set(xlabel="smallest confidence", ylabel="accepted")
    right.set_title("Own and foreign kinds")
    right.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    right.legend()
    figure.savefig(PICTURE, dpi=110)
    plt.close(figure)


def measure_speed(run: Path, data: Path) -> dict[str, Any]:
    """Medians in milliseconds, one picture on one thread, the stages in turn with the whole.

    The kinds take turns by fifty pictures.
    """
    solver = Solver(device="cpu")
    paths = {kind: [path for path, _ in held_back(run, data / kind)][:TIMED] for kind in KINDS}
    stages = ("decode", "recipe", "session", "solve")
    times: dict[str, dict[str, list[float]]] = {kind: {s: [] for s in stages} for kind in KINDS}
    for start in [*range(0, TIMED, 50)] * 4:
        for kind, its in times.items():
            files = [path.read_bytes() for path in paths[kind][start : start + 50]]
            solver.solve_batch(files[:8])  # the processor has forgotten this kind
            for file in files:
                picture = clock(its["decode"], decode_image, file)
                tensor = clock(its["recipe"], solver.manifest.recipe.apply, picture)
                clock(its["session"], solver.session.run, tensor[None])
                clock(its["solve"], solver.solve, file)
    result = {}
    for kind, its in times.items():
        medians = {name: statistics.median(values) for name, values in its.items()}
        result[kind] = {
            **{name: round(value, 4) for name, value in medians.items()},
            "over_decode_and_session": round(
                medians["solve"] / (medians["decode"] + medians["session"]), 3
            ),
        }
    return result


def speed(run: Path) -> dict[str, Any]:
    """`measure_speed` in a process that hasn't loaded TensorFlow, as a user's."""
    program = [sys.executable, __file__, "--speed", "--run", str(run)]
    done = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    for kind, its in result.items():
        say(f"{kind}: {its}")
    return result


def measure_threads(solver: Solver, run: Path, data: Path) -> dict[str, float]:
    """Pictures a second of one thread and of two on one solver, in alternating rounds."""
    files = [p.read_bytes() for kind in KINDS for p, _ in held_back(run, data / kind)[:500]]
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(7):
        for threads, its in rates.items():
            parts = [files[n::threads] for n in range(threads)]
            with ThreadPoolExecutor(threads) as pool:
                started = time.perf_counter()
                list(pool.map(lambda part: solver.solve_batch(part, batch_size=8), parts))
                its.append(len(files) / (time.perf_counter() - started))
    medians = {threads: statistics.median(its) for threads, its in rates.items()}
    return {
        "one": round(medians[1]),
        "two": round(medians[2]),
        "ratio": round(statistics.median(b / a for a, b in zip(*rates.values(), strict=True)), 3),
    }


def measure_start() -> dict[str, Any]:
    """CPU milliseconds of the whole command, beside the bare imports, and of `Solver()` alone."""
    solve = [sys.executable, "-m", "captcha_rt", "solve", str(SAMPLE)]
    imports = [sys.executable, "-c", "import numpy, onnxruntime, cv2"]
    ready = [
        sys.executable,
        "-c",
        "import time, numpy, onnxruntime, cv2; from captcha_rt import Solver; "
        "from captcha_rt.session import import_onnxruntime; import_onnxruntime(); "
        "t = time.perf_counter(); Solver(); print((time.perf_counter() - t) * 1000)",
    ]
    times: dict[str, list[float]] = {"solve": [], "imports": [], "ready": []}
    for _ in range(STARTS):
        times["solve"].append(cpu_milliseconds(solve))
        times["imports"].append(cpu_milliseconds(imports))
        done = subprocess.run(ready, check=True, capture_output=True, text=True)
        times["ready"].append(float(done.stdout))
    medians = {name: round(statistics.median(its), 1) for name, its in times.items()}
    return {
        "command_cpu_ms": medians["solve"],
        "imports_cpu_ms": medians["imports"],
        "ratio": round(medians["solve"] / medians["imports"], 3),
        "solver_ready_ms": medians["ready"],
    }


def cpu_milliseconds(program: Sequence[str]) -> float:
    """User and system time of a process and of all its threads."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(program, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def table(result: Mapping[str, Any]) -> str:
    """The README's table, in Markdown."""
    rows = [
        "| kind | exact match | 95 % interval | test pictures | decode | session | whole |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, entry in result["accuracy"].items():
        low, high = entry["interval"]
        exact = f"{entry['exact_match']:.2%}"
        if entry["corrections"]:
            exact += f" ({entry['raw']['exact_match']:.2%} by the raw labels)"
        speed = result["milliseconds"][kind]
        rows.append(
            f"| {kind} | {exact} | {low:.2%} to {high:.2%} | {entry['pictures']:,} | "
            f"{speed['decode']:.3f} ms | {speed['session']:.3f} ms | {speed['solve']:.3f} ms |"
        )
    return "\n".join(rows) + "\n"


def main() -> None:
    """Makes the model unless asked only to measure, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--run", type=Path, default=RUNS / "default", help="where the run lies")
    parser.add_argument("--table", action="store_true", help="only print the README's table")
    parser.add_argument("--speed", action="store_true", help="only time the model, and print it")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(json.loads(RESULT.read_text("utf-8"))), end="")  # noqa: T201
        return
    if "CAPTCHA_DATA" not in os.environ:
        parser.error("CAPTCHA_DATA does not name the folder of real labelled pictures")
    data, run = Path(os.environ["CAPTCHA_DATA"]), arguments.run
    if arguments.speed:
        print(json.dumps(measure_speed(run, data)))  # noqa: T201
        return
    made = train_and_export(run, data)
    solver = Solver(device="cpu")
    raw = {kind: read_part(solver, run, data / kind, "test") for kind in KINDS}
    readings = {
        kind: correct(its, read_corrections(CORRECTIONS, kind)) for kind, its in raw.items()
    }
    everything = [reading for its in readings.values() for reading in its]
    threshold = solver.manifest.min_confidence
    rejection, foreign = measure_rejection(solver, everything, threshold)
    draw_risk_coverage(everything, foreign, threshold)
    result = {
        "model": made,
        "accuracy": measure_accuracy(readings, raw),
        "confidence": {"temperature": solver.manifest.temperature, **rejection},
        "milliseconds": speed(run),
        "pictures_a_second": measure_threads(solver, run, data),
        "start": measure_start(),
        "provider": solver.providers[0],
        "threads": 1,
        "machine": machine(),
    }
    write_json(RESULT, result)
    for kind, entry in result["accuracy"].items():
        say(f"{kind}: {entry['exact_match']:.4f} of {entry['pictures']}")
    say(result["confidence"], result["pictures_a_second"], result["start"])


if __name__ == "__main__":
    main()
