"""The presets of the published documents on real pictures: `python -m benchmarks documents`.

Each of these presets rebuilds a system from a published description, its document. The command
trains, exports and evaluates each preset on pictures of the document's kind, and writes
`benchmarks/results/documents.json` with an entry for each. `CAPTCHA_DATA` names the folder of real
labelled pictures. Each set is split at random by picture, with a fixed seed. The runtime's `Solver`
reads the test pictures from their files, only after the training has ended. The runs are in
`benchmarks/runs`: a stopped command continues where it was, and a finished run is not trained
again. It takes about an hour and a half on two cores.

Where a label differed from the answer of a network that had not seen the picture, somebody looked
at the picture; `benchmarks/corrections.csv` lists the labels that are wrong. THSRC is trained on
the corrected labels, since its labellers typed 3 for 5 so often that a network learns this mistake.
Every accuracy is measured by the corrected labels; the results also hold the accuracy by the raw
labels.
"""

import csv
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
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
from benchmarks.harness import (
    CORRECTIONS,
    RESULTS,
    RUNS,
    captcha_data,
    command_parser,
    read_json,
    say,
    write_json,
)
from benchmarks.sessions import bare_session
from captcha_rt import Solver, decode_image
from captcha_rt.diagnostics.machine import processor
from captcha_rt.files import write_atomically
from captcha_rt.labels import read_labels
from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Prediction
from captcha_rt.model import load_model
from captcha_rt_export.run import Run
from captcha_rt_train.data.corrections import read_corrections

TIMED: Final = 200  # pictures that are read one by one for the milliseconds
SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a preset is trained on.

    Attributes:
        data: The name of the folder in `CAPTCHA_DATA`.
        test: The fraction of the pictures that is held back for the test, in 0..1.
        stated: The accuracy that the document states, in 0..1, and under `said` how it does.
        corrected: Whether the preset is trained on the corrected labels.
    """

    data: str
    test: float
    stated: dict[str, Any]
    corrected: bool = False


PLANS: Final = {
    "multihead": Plan(
        "thsrc", 0.15, {"exact_match": 0.997, "said": "1,000 pictures"}, corrected=True
    ),
    "ensemble": Plan("court", 0.25, {"exact_match": 0.995, "said": "overall above 99.5 %"}),
    "glyph": Plan("metu", 0.2, {"character_accuracy": 0.9994166493415833, "said": "12,000 digits"}),
    "steps": Plan("captcha_v2", 0.1, {"said": "only printed as a picture"}),
    "crnn": Plan("captcha_v2", 0.1, {"exact_match": 0.98, "said": "implied, not printed"}),
    "crnn-conv1d": Plan("captcha_v2", 0.1, {"exact_match": 0.98, "said": "implied, not printed"}),
}
"""The plans by the preset's name."""


def run_preset(name: str, data: Path, run: Run) -> dict[str, Any]:
    """Trains, exports and evaluates a preset; a finished run is not trained again.

    Args:
        name: One of `PLANS`.
        data: The folder of real labelled pictures.
        run: The run.

    Returns:
        The preset's entry in the result file.
    """
    from captcha_rt_export.export import export_run

    plan = PLANS[name]
    trained = train_preset(name, data, run)
    model = run.folder / "model.onnx"
    report = export_run(run, model, name=name)
    solver = Solver(model, device="cpu")
    paths, labels = zip(*held_back(run, data / plan.data), strict=True)
    raw = read_all(solver, paths, labels)
    check_against_keras(run, trained, paths, raw)
    entry = {
        "document_figure": plan.stated,
        **accuracy(raw, correct(raw, read_corrections(CORRECTIONS, plan.data).by_name)),
        "data": plan.data,
        "trained_on_corrected_labels": plan.corrected,
        "split": trained.training["pictures"],
        "skipped": trained.training["skipped"],
        "parameters": trained.training["parameters"],
        "bytes": report.size,
        "operators": report.operators,
        "parity": report.parity.probability,
        "milliseconds": median_milliseconds(solver, paths),
        "training": {
            key: trained.training[key]
            for key in ("seed", "augmentation", "epochs_trained", "best_epoch", "seconds")
        },
        "machine": {"cpu": processor(), "cores": os.cpu_count(), "threads": 1},
        "provider": solver.providers[0],
        "versions": {
            **trained.training["versions"],
            "onnxruntime": version("onnxruntime"),
            "python": platform.python_version(),
        },
    }
    if name == "ensemble":
        entry["sessions"] = compare_with_six_sessions(run, model, paths)
    return entry


def train_preset(name: str, data: Path, run: Run) -> Manifest:
    """Trains a preset on its plan's pictures, unless the run is finished.

    Args:
        name: One of `PLANS`.
        data: The folder of real labelled pictures.
        run: The run.

    Raises:
        SystemExit: If the finished run has another recipe or other settings.
    """
    from captcha_rt_train.presets import load_preset
    from captcha_rt_train.training.job import Job, Observer
    from captcha_rt_train.training.train import train

    plan = PLANS[name]
    preset = load_preset(name)
    settings = replace(preset.settings, test=plan.test, seed=SEED)
    if not run.finished:
        say(f"[bold]{name}[/bold]: training on {plan.data}")
        folder = data / plan.data
        if plan.corrected:
            folder = relabel(folder, run.folder.parent / "data" / plan.data)
        observer = Observer(verbose=2)
        train(Job(folder, run, preset, settings, resume=run.exists, observer=observer))
    return trained_manifest(run, preset, settings)


def relabel(folder: Path, made: Path) -> Path:
    """Makes a folder with a link to the same pictures, and with the corrected labels.

    Args:
        folder: The folder of labelled pictures.
        made: The folder that is made.

    Returns:
        `made`.
    """
    labelled = read_labels(folder).items
    shown = read_corrections(CORRECTIONS, folder.name).by_name
    pictures = labelled[0][0].parent
    made.mkdir(parents=True, exist_ok=True)
    if not (made / "pictures").exists():
        (made / "pictures").symlink_to(pictures, target_is_directory=True)
    with (
        write_atomically(made / "labels.csv") as path,
        path.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("filename", "label"))
        writer.writerows(
            (f"pictures/{path.name}", shown.get(path.name, label)) for path, label in labelled
        )
    return made


def check_against_keras(
    run: Run,
    manifest: Manifest,
    paths: Sequence[Path],
    predictions: Sequence[Prediction],
) -> None:
    """Reads the same pictures with Keras, and compares the texts.

    Args:
        run: The run.
        manifest: The run's manifest.
        paths: The pictures.
        predictions: The predictions of the exported model for these pictures.

    Raises:
        SystemExit: If a text differs.
    """
    import numpy as np

    from captcha_rt_export.export import load_keras

    read = [(path, p) for path, p in zip(paths, predictions, strict=True) if p.text]
    tensors = np.stack([manifest.recipe.apply(decode_image(path)) for path, _ in read])
    scores = load_keras(run).predict(manifest.batch(tensors), verbose=0)
    answers = manifest.decode(scores)
    different = [
        (path.name, prediction.text, text)
        for (path, prediction), (text, _) in zip(read, answers, strict=True)
        if prediction.text != text
    ]
    if different:
        picture, ours, keras = different[0]
        raise SystemExit(
            f"{len(different)} texts differ from Keras's; the first is {picture}: "
            f"{ours!r} in the runtime, {keras!r} in Keras"
        )


def compare_with_six_sessions(run: Run, model: Path, paths: Sequence[Path]) -> dict[str, float]:
    """Compares one session of the ensemble's merged graph with six sessions, one for each digit.

    Returns:
        Median milliseconds a picture: `merged` and `six`, measured in turn.
    """
    import keras

    from captcha_rt_export.convert import convert
    from captcha_rt_export.export import load_keras

    digits = [layer for layer in load_keras(run).layers if isinstance(layer, keras.Model)]
    sessions = {
        "merged": [bare_session(model.read_bytes())],
        "six": [bare_session(convert(digit).SerializeToString()) for digit in digits],
    }
    recipe = load_model(model).manifest.recipe
    times: dict[str, list[float]] = {"merged": [], "six": []}
    for path in paths[:TIMED]:
        tensor = recipe.apply(decode_image(path))[None]
        for name, group in sessions.items():
            started = time.perf_counter()
            for session in group:
                session.run(None, {"image": tensor})
            times[name].append(time.perf_counter() - started)
    return {name: round(statistics.median(t) * 1000, 3) for name, t in times.items()}


def median_milliseconds(solver: Solver, paths: Sequence[Path]) -> float:
    """The median time of `Solver.solve` from a file's bytes to the text, after a warm-up."""
    pictures = [path.read_bytes() for path in paths[:TIMED]]
    for picture in pictures[:10]:
        solver.solve(picture)
    times = []
    for picture in pictures:
        started = time.perf_counter()
        solver.solve(picture)
        times.append(time.perf_counter() - started)
    return round(statistics.median(times) * 1000, 3)


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The README's table, in Markdown."""
    columns = (
        *("preset", "document's figure", "exact match", "95 % interval", "test pictures"),
        *("characters", "parameters", "model", "a picture"),
    )
    rows = []
    for name, entry in results.items():
        document = entry["document_figure"]
        stated = document.get("exact_match", document.get("character_accuracy"))
        unit = " of the digits" if "character_accuracy" in document else ""
        low, high = entry["interval"]
        exact = f"{entry['exact_match']:.2%}"
        if entry["corrections"]:
            exact += f" ({entry['raw']['exact_match']:.2%} by the raw labels)"
        rows.append(
            (
                f"`{name}`",
                "not printed" if stated is None else f"{stated:.2%}{unit}",
                exact,
                f"{low:.2%} to {high:.2%}",
                f"{entry['pictures']:,} of {entry['data']}",
                f"{entry['character_accuracy']:.2%}",
                f"{entry['parameters']:,}",
                f"{entry['bytes'] / 1e6:.1f} MB",
                f"{entry['milliseconds']:.2f} ms",
            )
        )
    return markdown.table(columns, rows)


def main(argv: Sequence[str], runs: Path = RUNS, results: Path = RESULTS) -> None:
    """Runs the presets, and writes the results of all that are finished."""
    parser = command_parser("documents", __doc__)
    names = ", ".join(PLANS)
    parser.add_argument("presets", nargs="*", help=f"which presets to run: {names}; default: all")
    parser.add_argument("--table", action="store_true", help="only print the README's table")
    parser.add_argument(
        "--runs", type=Path, default=runs, help="the folder of the runs; default: %(default)s"
    )
    options = parser.parse_args(argv)
    if unknown := set(options.presets) - PLANS.keys():
        parser.error(f"no preset {', '.join(sorted(unknown))}; there are: {names}")
    path = results / "documents.json"
    if options.table:
        print(table(read_json(path)), end="")  # noqa: T201
        return
    data = captcha_data()
    for name in options.presets or PLANS:
        folder = options.runs / name
        entry = run_preset(name, data, Run(folder))
        write_json(folder / "result.json", entry)
        say(f"{name}: {entry['exact_match']:.4f} of {entry['pictures']}")
        finished = {
            name: read_json(result)
            for name in PLANS
            if (result := options.runs / name / "result.json").exists()
        }
        write_json(path, finished)
