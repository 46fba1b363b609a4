"""Makes the general model of the wheel and measures it: `python -m benchmarks general`.

The model is the trunk in `train/captcha_rt_train/trunks`, exported in 8 bits. Drawn pictures, which
were not trained on, set its temperature, such that the small model's limit holds for both. They are
drawn with the faces in the file that `CAPTCHA_FACES` names, or else with matplotlib's few. The
command writes the model and its card into `runtime/captcha_rt/models`.

Then `Solver()`, which asks the small model first, reads the pictures of `CAPTCHA_DATA`: those in
the folder `foreign`, which are for validation only, with case ignored; the test parts of the
documents' kinds; and photographs, noise and empty pages. That takes some minutes. It writes
`benchmarks/results/general.json`, and `misread.png` with drawn pictures that the model misreads.

With `--measure` the model stays as it is, and is only measured. With `--trunk FILE` another trunk
reads the pictures in `foreign`, and nothing is written.
"""

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import markdown
from benchmarks.accuracy.foreign_kinds import draw_foreign
from benchmarks.accuracy.general_model import describe, make_model
from benchmarks.accuracy.mixture import draw_misread, write_sheet
from benchmarks.harness import (
    HERE,
    RESULTS,
    ROOT,
    Result,
    captcha_data,
    command_parser,
    in_turn,
    machine,
    program,
    read_json,
    say,
    write_json,
)
from benchmarks.markdown import milliseconds
from benchmarks.sessions import bare_session
from captcha_rt import Solution, Solver, load_model
from captcha_rt.diagnostics.card import model_card
from captcha_rt.files import write_atomically
from captcha_rt.labels import read_labels
from captcha_rt.metrics import wilson_interval
from captcha_rt.model import EMBEDDED, GENERAL, detach
from captcha_rt.tiles import has_tiles, move_zero_points

TIMED: Final = 100
"""The number of pictures of each kind that are read one by one for the times."""

REAL: Final = HERE / "general.toml"
"""The real pictures that were trained on; their test parts are measured."""

WITHOUT_TEXT: Final = 500
"""The number of pictures of each kind without a text, which are to be rejected."""


def measure(
    solvers: Mapping[str, Solver],
    pictures: Sequence[tuple[Path, str]],
    *,
    fold_case: bool,
) -> dict[str, Any]:
    """Reads the pictures of one kind.

    Args:
        solvers: The solvers that are timed, in turn; the first one's answers count.
        pictures: The paths with their labels.
        fold_case: Whether case is ignored.

    Returns:
        How many pictures were read right, with the 95 % Wilson interval; the fraction that was
        accepted, and how many of these are right; and for each solver the median CPU time a picture
        in milliseconds, from the file's bytes to the text.
    """
    read = read_right(next(iter(solvers.values())), pictures, fold_case=fold_case)
    kept = [right for right, accepted in read if accepted]
    right = sum(right for right, _ in read)
    files = [path.read_bytes() for path, _ in pictures[:TIMED]]

    def solve_all(solver: Solver) -> None:
        for file in files:
            solver.solve(file)

    calls = {name: partial(solve_all, solver) for name, solver in solvers.items()}
    return {
        "pictures": len(pictures),
        "right": right,
        "exact_match": right / len(pictures),
        "interval": wilson_interval(right, len(pictures)),
        "accepted": len(kept) / len(pictures),
        "right_of_accepted": sum(kept) / len(kept) if kept else None,
        "cpu_ms": {
            name: times["cpu"] / len(files) for name, times in in_turn(calls, rounds=15).items()
        },
    }


def read_right(
    solver: Solver, pictures: Sequence[tuple[Path, str]], *, fold_case: bool
) -> list[tuple[bool, bool]]:
    """Reads labelled pictures: whether each answer is right, and whether it was accepted."""
    answers = solver.solve_batch([path for path, _ in pictures])
    return [
        (a.text.casefold() == t.casefold() if fold_case else a.text == t, a.accepted)
        for a, (_, t) in zip(answers, pictures, strict=True)
        if isinstance(a, Solution)
    ]


def foreign_pictures() -> dict[str, list[tuple[Path, str]]]:
    """The pictures of each kind in the folder `foreign`, with their labels."""
    folders = sorted(path for path in (captcha_data() / "foreign").glob("*") if path.is_dir())
    if not folders:
        say(f"no folders of pictures in {captcha_data() / 'foreign'}", soft_wrap=True)
        sys.exit(2)
    return {folder.name: [*read_labels(folder).items] for folder in folders}


def held_back_pictures() -> dict[str, list[tuple[Path, str]]]:
    """The test parts of the documents' kinds, with corrected labels."""
    from captcha_rt_train.data.samples import split
    from captcha_rt_train.data.sources import read_dataset
    from captcha_rt_train.presets import load_preset

    preset = load_preset("general")
    dataset = read_dataset(REAL, preset.recipe)
    settings = preset.settings
    parts = split(dataset, validation=settings.validation, test=settings.test, seed=settings.seed)
    return {
        source: [(s.path, s.label) for s in parts["test"] if s.source == source and s.path]
        for source in dataset.settings
    }


def rejected() -> dict[str, float]:
    """The fraction of the pictures without a text that are rejected, by the kind's name."""
    solver = Solver(device="cpu")
    kinds = draw_foreign(WITHOUT_TEXT)
    return {
        kind: float(np.mean([not solver.solve(picture).accepted for _, picture in drawn]))
        for kind, drawn in kinds.items()
        if not any(text for text, _ in drawn)
    }


def time_zero_points() -> dict[str, float]:
    """CPU milliseconds of one run of the network, by where the zero points of the weights are.

    A `Session` moves them where the processor has tiles.
    """
    model = load_model(GENERAL)
    image = model.manifest.input
    feeds = {image.name: np.zeros([axis or 1 for axis in image.shape], np.float32)}
    graphs = {"as in the file": model.data, "moved": move_zero_points(model.data)}
    calls = {name: partial(bare_session(graph).run, None, feeds) for name, graph in graphs.items()}
    times = in_turn(calls, rounds=40, runs=20)
    return {name: time["cpu"] for name, time in times.items()}


def table(result: Result) -> str:
    """The table of the page on the general model, in Markdown."""
    header = (
        "kind",
        "exact match",
        "95 % interval",
        "pictures",
        "accepted",
        "right of these",
        "CPU",
    )
    rows = []
    for kind, entry in (result["kinds"] | result["documents"]).items():
        low, high = entry["interval"]
        rows.append(
            (
                kind,
                f"{entry['exact_match']:.1%}",
                f"{low:.1%} to {high:.1%}",
                f"{entry['pictures']:,}",
                f"{entry['accepted']:.1%}",
                "-" if entry["right_of_accepted"] is None else f"{entry['right_of_accepted']:.1%}",
                milliseconds(entry["cpu_ms"]["both"]),
            )
        )
    return markdown.table(header, rows)


def main(argv: Sequence[str], results: Path = RESULTS) -> None:
    """Makes and measures the model of the committed trunk, or measures another trunk."""
    from captcha_rt_train.trunks import GENERAL as TRUNK

    parser = command_parser("general", __doc__)
    parser.add_argument("--trunk", type=Path, help="another trunk; only prints")
    parser.add_argument("--measure", action="store_true", help="only measure what is in the wheel")
    parser.add_argument("--table", action="store_true", help="only print the page's table")
    options = parser.parse_args(argv)
    if options.table:
        print(table(read_json(results / "general.json")), end="")  # noqa: T201
        return
    kinds = foreign_pictures()
    if options.measure:
        write_json(results / "general.json", measure_all(kinds))
        return
    data = make_model(options.trunk or TRUNK)
    if options.trunk is not None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "general.onnx"
            file.write_bytes(data)
            alone = {"general": Solver(file, device="cpu")}
        say(describe(detach(data), len(data)))
        for kind, pictures in kinds.items():
            say(f"{kind}: {measure(alone, pictures, fold_case=True)}")
        return
    write(data)
    # In a process that has not loaded TensorFlow, like a user's.
    subprocess.run(program("general", "--measure"), cwd=ROOT, check=True)
    write_sheet(results / "misread.png", draw_misread(Solver(GENERAL, device="cpu")))


def write(data: bytes) -> None:
    """Writes the model and its card into the wheel's folder."""
    with write_atomically(GENERAL) as path:
        path.write_bytes(data)
    GENERAL.with_name("GENERAL_CARD.md").write_text(model_card(detach(data), len(data)), "utf-8")


def measure_all(kinds: Mapping[str, Sequence[tuple[Path, str]]]) -> dict[str, Any]:
    """Measures the wheel's models on the foreign and on the documents' kinds."""
    both = Solver(device="cpu")
    small, general = Solver(EMBEDDED, device="cpu"), Solver(GENERAL, device="cpu")
    found: dict[str, dict[str, Any]] = {"kinds": {}, "documents": {}}
    for kind, pictures in kinds.items():
        found["kinds"][kind] = measure({"both": both}, pictures, fold_case=True)
        say(f"{kind}: {found['kinds'][kind]}")
    for kind, pictures in held_back_pictures().items():
        solvers = {"both": both, "small": small, "general": general}
        found["documents"][kind] = entry = measure(solvers, pictures, fold_case=False)
        alone = read_right(general, pictures, fold_case=False)
        entry["general_alone"] = sum(right for right, _ in alone) / len(pictures)
        say(f"{kind}: {found['documents'][kind]}")
    return {
        "model": describe(load_model(GENERAL).manifest, GENERAL.stat().st_size),
        **found,
        "rejected": rejected(),
        "tiles": has_tiles(),
        "run_cpu_ms": time_zero_points(),
        "threads": 1,
        "machine": machine(),
    }
