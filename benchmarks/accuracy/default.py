"""The embedded model, from the pictures to the file in the wheel: `python -m benchmarks default`.

Trains the preset `compact` on `benchmarks/default.toml`, and exports it in 8 bits, with a model
card, as the model that the runtime embeds. Measures that model on pictures that it was not trained
on, and writes `benchmarks/results/default.json` and `risk_coverage.png`. `CAPTCHA_DATA` names the
folder of real labelled pictures. The run is `benchmarks/runs/default`: a stopped command continues
where it was, and a finished run is not trained again. It takes about an hour on two cores.
`--retime` trains nothing: it times the model that is in the wheel, and writes the times into the
results, in a minute.

Validation pictures determine the temperature and the smallest accepted confidence. Test pictures
and pictures of foreign kinds are only read at the end.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from benchmarks import markdown
from benchmarks.accuracy.evaluation import (
    accuracy,
    correct,
    held_back,
    read_all,
    trained_manifest,
)
from benchmarks.accuracy.rejection import (
    choose_threshold,
    draw_risk_coverage,
    measure_rejection,
    read_foreign,
)
from benchmarks.harness import (
    CONFIG,
    CORRECTIONS,
    RESULTS,
    RUNS,
    Result,
    captcha_data,
    command_parser,
    read_json,
    say,
    write_json,
)
from benchmarks.speed.embedded import measure_times, times_in_a_fresh_process
from captcha_rt import Solver
from captcha_rt.diagnostics.card import model_card
from captcha_rt.labels import read_labels
from captcha_rt.metrics import Prediction
from captcha_rt.model import EMBEDDED, load_model
from captcha_rt_export.run import Run
from captcha_rt_train.data.corrections import read_corrections

KINDS: Final = ("captcha_v2", "thsrc", "court", "metu")
"""The kinds of pictures, which are also the names of their folders in `CAPTCHA_DATA`."""

TIMED: Final = 500  # pictures of each kind

NAME: Final = "compact"
"""The name of the preset, and of the model."""


def train_and_export(run: Run, data: Path) -> dict[str, Any]:
    """Makes the model file and the model card; a finished run is not trained again.

    Args:
        run: The run.
        data: The folder of real labelled pictures.

    Returns:
        The facts of the model for the result file.
    """
    from captcha_rt_export.export import export_run
    from captcha_rt_train.presets import load_preset
    from captcha_rt_train.training.job import Job, Observer
    from captcha_rt_train.training.train import train

    preset = load_preset(NAME)
    settings = replace(preset.settings, licence="Apache-2.0")
    if not run.finished:
        train(Job(CONFIG, run, preset, settings, resume=run.exists, observer=Observer(verbose=2)))
    trained = trained_manifest(run, preset, settings)
    in_float = export_run(run, run.folder / "float.onnx", name=NAME)
    in_int8 = run.folder / "int8.onnx"
    export_run(run, in_int8, name=NAME, int8=True)
    solver = Solver(in_int8, device="cpu")
    threshold = choose_threshold(
        [read_part(solver, run, data / kind, "validation") for kind in KINDS]
    )
    report = export_run(run, EMBEDDED, name=NAME, int8=True, min_confidence=threshold)
    card = model_card(load_model().manifest, EMBEDDED.stat().st_size)
    EMBEDDED.with_name("MODEL_CARD.md").write_text(card, "utf-8")
    assert report.int8 is not None  # noqa: S101  (it was asked for)
    return {
        "bytes": report.size,
        "parameters": trained.training["parameters"],
        "int8": asdict(report.int8),
        "float": {"bytes": in_float.size, "parity": in_float.parity.probability},
        "training": {
            key: trained.training[key]
            for key in ("seed", "epochs_trained", "best_epoch", "seconds", "pictures", "versions")
        },
    }


def read_part(solver: Solver, run: Run, folder: Path, part: str) -> list[Prediction]:
    """The predictions for one part of a kind's split, with the raw labels."""
    paths, labels = zip(*held_back(run, folder, part), strict=True)
    return read_all(solver, paths, labels)


def spread_paths(data: Path) -> dict[str, list[Path]]:
    """Pictures of each kind, spread over its folder: the time doesn't depend on what was learnt."""
    paths = {kind: [path for path, _ in read_labels(data / kind).items] for kind in KINDS}
    return {kind: found[:: max(1, len(found) // TIMED)][:TIMED] for kind, found in paths.items()}


def table(result: Result) -> str:
    """The README's table, in Markdown."""
    columns = (
        "kind",
        "exact match",
        "95 % interval",
        "test pictures",
        "decode",
        "session",
        "whole",
    )
    rows = []
    for kind, entry in result["accuracy"].items():
        low, high = entry["interval"]
        exact = f"{entry['exact_match']:.2%}"
        if entry["corrections"]:
            exact += f" ({entry['raw']['exact_match']:.2%} by the raw labels)"
        times = result["milliseconds"][kind]
        stages = (f"{times[stage]:.3f} ms" for stage in ("decode", "session", "solve"))
        pictures = f"{entry['pictures']:,}"
        rows.append((kind, exact, f"{low:.2%} to {high:.2%}", pictures, *stages))
    return markdown.table(columns, rows)


def measure(run: Run, data: Path, results: Path) -> dict[str, Any]:
    """Makes the model, measures it, and draws the plot.

    Args:
        run: The run of the embedded model.
        data: The folder of real labelled pictures.
        results: Where the plot goes.

    Returns:
        The content of the result file, without the times.
    """
    made = train_and_export(run, data)
    solver = Solver(EMBEDDED, device="cpu")
    raw = {kind: read_part(solver, run, data / kind, "test") for kind in KINDS}
    predictions = {
        kind: correct(read, read_corrections(CORRECTIONS, kind).by_name)
        for kind, read in raw.items()
    }
    everything = [prediction for read in predictions.values() for prediction in read]
    foreign = read_foreign(solver)
    threshold = solver.manifest.min_confidence
    draw_risk_coverage(everything, foreign, threshold, results / "risk_coverage.png")
    return {
        "model": made,
        "accuracy": {kind: accuracy(raw[kind], predictions[kind]) for kind in KINDS},
        "confidence": {
            "temperature": solver.manifest.temperature,
            **measure_rejection(everything, foreign, threshold),
        },
    }


def main(argv: Sequence[str], runs: Path = RUNS, results: Path = RESULTS) -> None:
    """Makes and measures the model; with an option, only prints the table or times the model."""
    parser = command_parser("default", __doc__)
    parser.add_argument(
        "--run", type=Path, default=runs / "default", help="the run's folder; default: %(default)s"
    )
    parser.add_argument("--table", action="store_true", help="only print the README's table")
    parser.add_argument("--speed", action="store_true", help="only time the model, print JSON")
    parser.add_argument(
        "--retime", action="store_true", help="only time the model, and write the times"
    )
    options = parser.parse_args(argv)
    path = results / "default.json"
    if options.table:
        print(table(read_json(path)), end="")  # noqa: T201
        return
    data = captcha_data()
    if options.speed:
        print(json.dumps(measure_times(spread_paths(data))))  # noqa: T201
        return
    made = read_json(path) if options.retime else measure(Run(options.run), data, results)
    result = {**made, **times_in_a_fresh_process()}
    write_json(path, result)
    for kind, entry in result["accuracy"].items():
        say(f"{kind}: {entry['exact_match']:.4f} of {entry['pictures']}")
    say(result["confidence"], result["pictures_a_second"], result["start"])
