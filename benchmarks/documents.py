"""Every preset on its document's kind of real pictures: `python benchmarks/documents.py`.

Trains, exports and evaluates each preset and writes `benchmarks/results/documents.json`, an entry
a preset. `CAPTCHA_DATA` names the folder of real labelled pictures. Each set is split by picture,
seeded; the test part is first looked at when training has ended, and is read by the runtime's
`Solver` from the files. Runs lie in `benchmarks/runs`: stopped, the command goes on where it was,
and a run that is finished there is not trained again. Takes about an hour and a half on two cores.

Labels were checked by looking at the pictures where a label and an answer of a network that had
not seen the picture differ; `benchmarks/corrections.csv` lists those that are wrong. THSRC is
trained on the corrected labels, since its labellers typed 3 for 5 so often that a network learns
it. The test part's figures use them everywhere, and the raw figures stand beside.
"""

import argparse
import csv
import json
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from captcha_rt import Solver
from captcha_rt.bench import processor
from captcha_rt.files import write_atomically
from captcha_rt.labels import read_labels
from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Reading, evaluate
from captcha_rt_train.corrections import read_corrections
from harness import (
    CORRECTIONS,
    RESULTS,
    RUNS,
    correct,
    corrections,
    held_back,
    read_all,
    summary,
    trained_manifest,
    write_json,
)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

RESULT = RESULTS / "documents.json"
TIMED = 200  # pictures that are read one by one for the milliseconds
SEED = 0

say = Console(stderr=True).print


@dataclass(frozen=True, slots=True)
class Plan:
    """What a preset is trained on.

    Attributes:
        data: The folder's name in `CAPTCHA_DATA`.
        test: The share of the pictures that is kept aside.
        document_figure: What the document says of itself, with its own words beside.
        corrected: Whether it is trained on the corrected labels.
    """

    data: str
    test: float
    document_figure: dict[str, Any]
    corrected: bool = False


PLANS = {
    "multihead": Plan(
        "thsrc", 0.15, {"exact_match": 0.997, "said": "1,000 pictures"}, corrected=True
    ),
    "ensemble": Plan("court", 0.25, {"exact_match": 0.995, "said": "overall above 99.5 %"}),
    "glyph": Plan("metu", 0.2, {"character_accuracy": 0.9994166493415833, "said": "12,000 digits"}),
    "steps": Plan("captcha_v2", 0.1, {"said": "only printed as a picture"}),
    "crnn": Plan("captcha_v2", 0.1, {"exact_match": 0.98, "said": "implied, not printed"}),
    "crnn-conv1d": Plan("captcha_v2", 0.1, {"exact_match": 0.98, "said": "implied, not printed"}),
}


def run_preset(name: str, plan: Plan, data: Path, run: Path) -> dict[str, Any]:
    """Trains, exports and evaluates one preset; what is done already is taken up."""
    from captcha_rt_export.export import export
    from captcha_rt_train.presets import load_preset
    from captcha_rt_train.training import train

    preset = load_preset(name)
    settings = replace(preset.settings, test=plan.test, seed=SEED)
    folder = data / plan.data
    if not (run / "manifest.json").exists():
        say(f"[bold]{name}[/bold]: training on {plan.data}")
        labelled = relabel(folder, run.parent / "data" / plan.data) if plan.corrected else folder
        train(labelled, run, preset, settings, resume=run.exists(), verbose=2)
    trained = trained_manifest(run, preset, settings)
    training = trained.training
    model = run / "model.onnx"
    report = export(run, model, name=name)
    solver = Solver(model, device="cpu")

    paths, labels = zip(*held_back(run, folder), strict=True)
    raw = read_all(solver, paths, labels)
    right = correct(raw, read_corrections(CORRECTIONS, plan.data))
    figures = evaluate(right)
    check_against_keras(run, trained, paths, raw)
    entry = {
        "document_figure": plan.document_figure,
        **summary(figures),
        "misread": [asdict(reading) for reading in figures.misread],
        "raw": summary(evaluate(raw)),
        "corrections": corrections(raw, right),
        "data": plan.data,
        "trained_on_corrected_labels": plan.corrected,
        "split": training["pictures"],
        "left_out": training["left_out"],
        "parameters": training["parameters"],
        "bytes": report.size,
        "operators": report.operators,
        "parity": report.probability_difference,
        "milliseconds": median_milliseconds(solver, paths),
        "training": {
            key: training[key]
            for key in ("seed", "augmentation", "epochs_trained", "best_epoch", "seconds")
        },
        "machine": {"cpu": processor(), "cores": os.cpu_count(), "threads": 1},
        "provider": solver.providers[0],
        "versions": {
            **training["versions"],
            "onnxruntime": version("onnxruntime"),
            "python": platform.python_version(),
        },
    }
    if name == "ensemble":
        entry["sessions"] = compare_with_six_sessions(run, model, paths)
    return entry


def relabel(folder: Path, made: Path) -> Path:
    """A folder with the same pictures, by a link, and with the corrected labels."""
    items = read_labels(folder).items
    shown = read_corrections(CORRECTIONS, folder.name)
    pictures = items[0][0].parent
    made.mkdir(parents=True, exist_ok=True)
    if not (made / "pictures").exists():
        (made / "pictures").symlink_to(pictures, target_is_directory=True)
    with (
        write_atomically(made / "labels.csv") as table,
        table.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("filename", "label"))
        writer.writerows(
            (f"pictures/{path.name}", shown.get(path.name, label)) for path, label in items
        )
    return made


def check_against_keras(
    run: Path,
    manifest: Manifest,
    paths: Sequence[Path],
    readings: Sequence[Reading],
) -> None:
    """Reads the same pictures with Keras, and refuses any other text."""
    import keras
    import numpy as np

    from captcha_rt import decode_image

    model = keras.models.load_model(run / "model.keras", compile=False)
    read = [(p, r) for p, r in zip(paths, readings, strict=True) if r.text]
    tensors = np.stack([manifest.recipe.apply(decode_image(path)) for path, _ in read])
    answers = manifest.decode(model.predict(manifest.batch(tensors), verbose=0))
    different = [
        (path.name, reading.text, text)
        for (path, reading), (text, _) in zip(read, answers, strict=True)
        if reading.text != text
    ]
    if different:
        raise SystemExit(f"{len(different)} texts differ from Keras's, {different[0]} first")


def compare_with_six_sessions(run: Path, model: Path, paths: Sequence[Path]) -> dict[str, float]:
    """Median milliseconds a picture of the merged graph and of a session a digit, in turn."""
    import keras
    import onnxruntime as ort

    from captcha_rt import decode_image, load_model
    from captcha_rt_export.convert import convert

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    merged = keras.models.load_model(run / "model.keras", compile=False)
    digits = [layer for layer in merged.layers if isinstance(layer, keras.Model)]
    graphs = [convert(digit).SerializeToString() for digit in digits]
    sessions = {
        "merged": [ort.InferenceSession(model, options)],
        "six": [ort.InferenceSession(graph, options) for graph in graphs],
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


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The README's table, in Markdown."""
    rows = [
        "| preset | document's figure | exact match | 95 % interval | test pictures | "
        "characters | parameters | model | a picture |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in results.items():
        figure = entry["document_figure"]
        said = figure.get("exact_match", figure.get("character_accuracy"))
        what = " of the digits" if "character_accuracy" in figure else ""
        low, high = entry["interval"]
        exact = f"{entry['exact_match']:.2%}"
        if entry["corrections"]:
            exact += f" ({entry['raw']['exact_match']:.2%} by the raw labels)"
        rows.append(
            f"| `{name}` | {'not printed' if said is None else f'{said:.2%}{what}'} | {exact} | "
            f"{low:.2%} to {high:.2%} | {entry['pictures']:,} of {entry['data']} | "
            f"{entry['character_accuracy']:.2%} | {entry['parameters']:,} | "
            f"{entry['bytes'] / 1e6:.1f} MB | {entry['milliseconds']:.2f} ms |"
        )
    return "\n".join(rows) + "\n"


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


def main() -> None:
    """Runs the presets asked for, all by default, and writes the results of all that are done."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("presets", nargs="*", help=f"{', '.join(PLANS)}; all by default")
    parser.add_argument("--table", action="store_true", help="only print the README's table")
    parser.add_argument("--runs", type=Path, default=RUNS, help="where the runs lie")
    arguments = parser.parse_args()
    if unknown := set(arguments.presets) - PLANS.keys():
        parser.error(f"no such presets: {', '.join(sorted(unknown))}")
    if arguments.table:
        print(table(json.loads(RESULT.read_text("utf-8"))), end="")  # noqa: T201
        return
    if "CAPTCHA_DATA" not in os.environ:
        parser.error("CAPTCHA_DATA does not name the folder of real labelled pictures")
    data = Path(os.environ["CAPTCHA_DATA"])
    for name in arguments.presets or PLANS:
        run = arguments.runs / name
        entry = run_preset(name, PLANS[name], data, run)
        write_json(run / "result.json", entry)
        say(f"{name}: {entry['exact_match']:.4f} of {entry['pictures']}")
        finished = {
            name: json.loads(result.read_text("utf-8"))
            for name in PLANS
            if (result := arguments.runs / name / "result.json").exists()
        }
        write_json(RESULT, finished)


if __name__ == "__main__":
    main()
