"""Training on one's own captchas: `python -m benchmarks own`.

Runs `captcha-rt train FOLDER -o RUN` without an option on folders of 50, 200 and 1,000 labelled
pictures of each kind, and reads pictures that the run has not seen with `RUN/model.onnx`. Case
counts. Seven packages draw a kind each, in an environment of its own; nothing in captcha-rt was
tuned on their pictures, but for the loss from which on the larger network is taken. The other kinds
are the real pictures in the folder `foreign` of `CAPTCHA_DATA`: the general model was not trained
on them, but what it learns from was widened after it was measured on them.

With `--seeds 20`, twenty runs on other choices of 50 pictures show how many end on the plateau: the
model answers every picture with the same text, or reads none of them. With `--noise 0.02`, that
fraction of a folder's labels is made wrong: how many of them does `captcha-rt suspects` find, and
how much worse is a model that was trained on them?

Writes `benchmarks/results/own.json` after each row. What stands there is not measured again, unless
with `--again`: so a stopped command continues where it was. Each training takes up to ten minutes
on two cores. With `--retime` nothing is trained: the models of the runs that are there are timed,
and the times are written into the same rows. With `--table` it only prints the tables of the
result.
"""

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.accuracy.evaluation import read_all
from benchmarks.accuracy.own_kinds import (
    Kind,
    describe,
    drawn_kind,
    foreign_folders,
    foreign_kind,
    wrong_labels,
)
from benchmarks.accuracy.own_runs import (
    Bench,
    Row,
    find_suspects,
    retime,
    score,
    train_and_read,
)
from benchmarks.accuracy.own_tables import table
from benchmarks.harness import (
    RESULTS,
    RUNS,
    captcha_data,
    command_parser,
    read_json,
    say,
)
from benchmarks.peers.generators import HELD_BACK
from benchmarks.peers.systems import MissingError, missing
from captcha_rt import Solver

SIZES: Final = (50, 200, 1000)
FEW: Final = 50  # pictures of each run of `--seeds`
MANY: Final = 1000  # pictures of the folder whose labels `--noise` makes wrong


def make_kinds(names: Sequence[str], bench: Bench) -> list[Kind]:
    """Draws and finds the pictures of the named kinds; a kind that can't be drawn is reported."""
    kinds = []
    for name in names:
        try:
            if name in HELD_BACK:
                kind = drawn_kind(name, bench.runs)
            else:
                kind = foreign_kind(foreign_folders(captcha_data())[name])
        except MissingError as error:
            bench.write("missing", name, missing(name, error))
            continue
        kinds.append(kind)
        bench.row("kinds", name, partial(characterize, kind))
    return kinds


def characterize(kind: Kind) -> Row:
    """What a kind is like; under `untrained` how well the models in the wheel read its test."""
    paths, texts = zip(*kind.test, strict=True)
    read = score(read_all(Solver(device="cpu"), paths, texts))
    return {**describe(kind), "untrained": read["case_ignored"]}


def measure_size(bench: Bench, kind: Kind, size: int) -> Row:
    """Trains on the first pictures of a kind's pool."""
    samples = kind.subset(size)
    key = f"{kind.name} {len(samples)}"
    return bench.row("sizes", key, lambda: train_and_read(bench, key, kind, samples))


def retime_sizes(bench: Bench, kinds: Sequence[Kind]) -> None:
    """Times the models of the rows that have a run."""
    tests = {kind.name: kind.test for kind in kinds}
    for key, row in bench.read().get("sizes", {}).items():
        if row["kind"] in tests:
            retime(bench, key, row, [path for path, _ in tests[row["kind"]]])


def measure_seed(bench: Bench, kind: Kind, seed: int) -> Row:
    """Trains on few pictures of a kind's pool, which the seed chooses."""
    samples = kind.subset(FEW, seed)
    key = f"{kind.name} seed {seed}"
    return bench.row("seeds", key, lambda: train_and_read(bench, key, kind, samples))


def measure_noise(bench: Bench, kind: Kind, fraction: float) -> None:
    """Trains on right labels and on some wrong ones, and looks for the wrong ones."""
    measure_size(bench, kind, MANY)
    samples = kind.subset(MANY)
    wrong = wrong_labels(samples, fraction)
    key = f"{kind.name} {fraction:g} wrong"
    bench.row("noise", key, lambda: train_and_read(bench, key, kind, samples, wrong))
    bench.row("suspects", key, lambda: find_suspects(bench, key, kind, samples, wrong))


def main(argv: Sequence[str], runs: Path = RUNS, results: Path = RESULTS) -> None:
    """Measures what the options ask for, and writes the result file."""
    parser = command_parser("own", __doc__)
    parser.add_argument("kinds", nargs="*", help="which kinds to train on; default: all")
    parser.add_argument("--sizes", type=int, nargs="+", help="numbers of labelled pictures")
    parser.add_argument("--seeds", type=int, help="only this many runs on 50 pictures each")
    parser.add_argument("--noise", type=float, help="only this fraction of labels made wrong")
    parser.add_argument("--draw", action="store_true", help="only make the pictures")
    parser.add_argument("--again", action="store_true", help="measure what stands there again")
    parser.add_argument("--table", action="store_true", help="only print the tables")
    parser.add_argument("--retime", action="store_true", help="only time the models of the runs")
    parser.add_argument(
        "--train-options", default="", help="more options for captcha-rt train, in one text"
    )
    parser.add_argument(
        "--runs", type=Path, default=runs, help="the folder of the runs; default: %(default)s"
    )
    options = parser.parse_args(argv)
    file = results / "own.json"
    if options.table:
        print(table(read_json(file)), end="")  # noqa: T201
        return
    known = [*HELD_BACK, *foreign_folders(captcha_data())]
    if unknown := set(options.kinds) - set(known):
        parser.error(f"no kind {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    extra = tuple(shlex.split(options.train_options))
    bench = Bench(options.runs, file, extra, again=options.again)
    try:
        kinds = make_kinds(options.kinds or known, bench)
        if options.draw:
            return
        if options.retime:
            retime_sizes(bench, kinds)
            return
        sizes = options.sizes or (() if options.seeds or options.noise else SIZES)
        measure(bench, kinds, sizes, options.seeds or 0, options.noise)
    except KeyboardInterrupt:
        say("stopped; the same command continues here")
        sys.exit(130)


def measure(
    bench: Bench, kinds: Sequence[Kind], sizes: Sequence[int], seeds: int, noise: float | None
) -> None:
    """Measures the kinds one after the other.

    Args:
        bench: Keeps the rows.
        kinds: The kinds.
        sizes: The numbers of labelled pictures of the runs on each kind.
        seeds: The number of runs on few pictures; the kinds take turns.
        noise: The fraction of the labels that is made wrong; None leaves them right.
    """
    for kind in kinds:
        for size in sizes:
            measure_size(bench, kind, size)
    for seed in range(seeds if kinds else 0):
        measure_seed(bench, kinds[seed % len(kinds)], seed)
    # Real kinds have too few pictures for a fraction of wrong labels.
    for kind in kinds if noise else ():
        if noise and kind.group == "drawn":
            measure_noise(bench, kind, noise)
