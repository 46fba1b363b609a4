"""Measures the general reader on kinds that it never saw: `python -m benchmarks general`.

The reader is the trunk in `train/captcha_rt_train/trunks`, exported in 8 bits, without a picture of
these kinds. The pictures are those in the folder `foreign` of `CAPTCHA_DATA`, which are for
validation only. Texts count as right whatever their case. The command takes a minute. It writes
`benchmarks/results/general.json`, and `misread.png` with drawn pictures that the reader misreads,
in the faces of the file that `CAPTCHA_FACES` names, or else in matplotlib's few.

With `--trunk FILE` another trunk is measured, and nothing is written.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import markdown
from benchmarks.accuracy.evaluation import read_all
from benchmarks.accuracy.mixture import draw_misread, write_sheet
from benchmarks.harness import (
    RESULTS,
    Result,
    captcha_data,
    command_parser,
    in_turn,
    machine,
    read_json,
    say,
    write_json,
)
from benchmarks.markdown import milliseconds
from benchmarks.models import exported
from captcha_rt import Solver
from captcha_rt.labels import read_labels
from captcha_rt.metrics import Prediction, wilson_interval

CALIBRATION, CALIBRATION_SEED = 400, (2, 0)
"""The number of drawn pictures that set the ranges of 8 bits, and their seed."""

TIMED = 100
"""The number of pictures of each kind that are read one by one for the times."""

ACCEPTED = 0.5
"""The confidence from which an answer counts as accepted, in 0..1; the model sets none yet."""


def make_model(trunk_file: Path) -> tuple[bytes, dict[str, Any]]:
    """Makes a model file of a trunk, in 8 bits.

    Returns:
        The bytes of the file, and facts about the trunk.

    Raises:
        TrainingError: If the file is no trunk, or another network's.
    """
    from captcha_rt.steps import Scale
    from captcha_rt_train.generators.mixture.batch import draw_batch
    from captcha_rt_train.generators.mixture.faces import default_faces
    from captcha_rt_train.presets import load_preset
    from captcha_rt_train.training.pretraining import plan_general
    from captcha_rt_train.training.trunk import load_trunk

    trunk = load_trunk(trunk_file)
    planned = plan_general(load_preset(trunk.preset))
    model = planned.build(planned.length)
    trunk.load_into(model, planned.manifest.charset.characters)
    with tempfile.TemporaryDirectory() as folder:
        faces = Path(folder) / "faces.npz"
        default_faces().save(faces)
        drawn = draw_batch(faces, planned.manifest, CALIBRATION_SEED, CALIBRATION)
    data = exported(model, planned.manifest, Scale()(drawn.pictures))
    facts = {
        "preset": trunk.preset,
        "epochs_trained": trunk.epoch,
        "parameters": model.count_params(),
        "bytes": len(data),
    }
    return data, facts


def measure(solver: Solver, folder: Path) -> dict[str, Any]:
    """Reads the pictures of one kind.

    Returns:
        How many pictures were read right, case ignored, with the 95 % Wilson interval; the fraction
        with a confidence of at least `ACCEPTED`; and the median CPU time per picture in
        milliseconds, from the file's bytes to the text.
    """
    paths, labels = zip(*read_labels(folder).items, strict=True)
    predictions = read_all(solver, paths, labels)
    right = sum(map(is_right, predictions))
    files = [path.read_bytes() for path in paths[:TIMED]]
    times = in_turn({"solve": lambda: [solver.solve(file) for file in files]}, rounds=5)
    return {
        "pictures": len(paths),
        "right": right,
        "exact_match": right / len(paths),
        "interval": wilson_interval(right, len(paths)),
        "accepted": float(np.mean([p.confidence >= ACCEPTED for p in predictions])),
        "cpu_ms": times["solve"]["cpu"] / len(files),
    }


def is_right(prediction: Prediction) -> bool:
    """Whether a text was read right, case ignored."""
    return prediction.text.casefold() == prediction.truth.casefold()


def table(result: Result) -> str:
    """The table of the page on the general reader, in Markdown."""
    header = ("kind", "exact match, case ignored", "95 % interval", "pictures", "CPU a picture")
    rows = []
    for kind, entry in result["kinds"].items():
        low, high = entry["interval"]
        interval = f"{low:.1%} to {high:.1%}"
        cpu = milliseconds(entry["cpu_ms"])
        rows.append((kind, f"{entry['exact_match']:.1%}", interval, entry["pictures"], cpu))
    return markdown.table(header, rows)


def main(argv: Sequence[str], results: Path = RESULTS) -> None:
    """Measures the committed trunk, or another one."""
    from captcha_rt_train.trunks import GENERAL

    parser = command_parser("general", __doc__)
    parser.add_argument("--trunk", type=Path, help="another trunk; only prints")
    parser.add_argument("--table", action="store_true", help="only print the page's table")
    options = parser.parse_args(argv)
    path, trunk = results / "general.json", options.trunk
    if options.table:
        print(table(read_json(path)), end="")  # noqa: T201
        return
    foreign = captcha_data() / "foreign"
    folders = sorted(path for path in foreign.glob("*") if path.is_dir())
    if not folders:
        say(f"no folders of pictures in {foreign}", soft_wrap=True)
        sys.exit(2)
    data, facts = make_model(trunk or GENERAL)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "general.onnx"
        file.write_bytes(data)
        solver = Solver(file, device="cpu")
    kinds = {}
    for kind in folders:
        kinds[kind.name] = measure(solver, kind)
        say(f"{kind.name}: {kinds[kind.name]}")
    if trunk is None:
        write_sheet(results / "misread.png", draw_misread(solver))
        result = {"model": facts, "kinds": kinds, "threads": 1, "machine": machine()}
        write_json(path, result)
