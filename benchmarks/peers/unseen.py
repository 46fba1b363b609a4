"""Captcha readers on kinds that nobody was trained on: `python -m benchmarks unseen`.

Every system reads the same pictures, of three groups:

- `drawn`: by packages that people install on their servers. Each draws in its own environment, with
  its defaults, always the same pictures. One that can't be installed is reported and left out.
- `foreign`: real pictures, in the folder `foreign` of `CAPTCHA_DATA`.
- `trained`: the documents' four kinds, which captcha-rt was trained on, and the others were not.
  These are the pictures of `peers`, held back from training.

captcha-rt was trained on none of the first two groups; what the others were trained on is not
known. Systems with a range read once without it, and once with the set's characters. Case and space
are ignored. The systems read on one core and one thread, in alternating rounds, as in `peers`.

Writes `benchmarks/results/unseen.json`. A stopped command continues where it was. It takes some ten
minutes. With `--table` it only prints the tables of the result.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import (
    OURS,
    RESULTS,
    RUNS,
    Part,
    captcha_data,
    command_parser,
    read_json,
    rounded,
    say,
)
from benchmarks.peers.compare import (
    choose_pictures,
    is_exact_match,
    pictures_of_round,
    take_turns,
)
from benchmarks.peers.generators import GENERATORS, draw, labelled
from benchmarks.peers.reading import WARM_UP, PictureSet, read
from benchmarks.peers.systems import (
    ENVIRONMENTS,
    SYSTEMS,
    MissingError,
    System,
    missing,
    set_up,
)
from benchmarks.peers.unseen_tables import RANGE, table
from captcha_rt.metrics import wilson_interval

DRAWN: Final = 200  # pictures of each generator
ROUNDS: Final = 2

_OURS, _RAPIDOCR, _BETA = SYSTEMS[OURS], SYSTEMS["RapidOCR"], SYSTEMS["ddddocr 1.6.1 beta, range"]
COMPARED: Final[Mapping[str, System]] = {
    OURS: replace(_OURS, setting="the models in the wheel"),
    f"{OURS}{RANGE}": replace(
        _OURS,
        setting="the models in the wheel, with `allowed`: the set's characters",
        options={"range": "allowed"},
    ),
    "ddddocr 1.6.1": SYSTEMS["ddddocr 1.6.1"],
    f"ddddocr 1.6.1{RANGE}": SYSTEMS["ddddocr 1.6.1, range"],
    "ddddocr 1.6.1 beta": replace(
        _BETA, setting="the beta model, with `png_fix`", options={"beta": True, "range": None}
    ),
    f"ddddocr 1.6.1 beta{RANGE}": _BETA,
    "RapidOCR": replace(_RAPIDOCR, setting="the recogniser alone", options={}),
    f"RapidOCR{RANGE}": _RAPIDOCR,
    "captcha-whisperer": SYSTEMS["captcha-whisperer"],
}
"""The systems by name; the name of one with a range ends with `RANGE`."""


def choose_sets(data: Path, runs: Path) -> tuple[dict[str, dict[str, PictureSet]], dict[str, str]]:
    """Draws and finds the pictures.

    Args:
        data: The folder of real labelled pictures.
        runs: The folder of the runs.

    Returns:
        The sets by group and name, and why each missing generator is missing.
    """
    drawn, absent = {}, {}
    for name in GENERATORS:
        say(f"drawing with {name}")
        try:
            drawn[name] = draw(name, runs, DRAWN)
        except MissingError as error:
            absent[name] = missing(name, error)["missing"]
    folders = sorted(path for path in (data / "foreign").glob("*") if path.is_dir())
    groups = {
        "drawn": drawn,
        "foreign": {folder.name: labelled(folder) for folder in folders},
        "trained": choose_pictures(data),
    }
    return groups, absent


def measure(
    part: Part, systems: Mapping[str, System], sets: Mapping[str, PictureSet]
) -> dict[str, Any]:
    """Lets all systems read in turn; rows that the part has kept are not measured again.

    Args:
        part: Keeps the rows; the environments lie in its folder of runs.
        systems: The systems by name.
        sets: The pictures by the set's name.

    Returns:
        The results by the system's name; those of a missing system only say why it is `missing`.
    """
    needed = {system.environment for system in systems.values()}
    environments = {name: wanted for name, wanted in ENVIRONMENTS.items() if name in needed}
    ready, found = set_up(systems, environments, part.runs / "environments")
    rounds = [pictures_of_round(_OURS, sets, number, ROUNDS) for number in range(ROUNDS)]

    def task(name: str, number: int) -> Any:  # noqa: ANN401  (rows of JSON)
        return read(ready[name], systems[name], rounds[number])

    rows = take_turns(part, [*ready], ROUNDS, task, found)
    for name in rows:
        found[name]["sets"] = {
            set_name: summarize(
                [text for pictures in rounds for _, text in pictures[set_name].samples],
                [row[set_name] for row in rows[name]],
            )
            for set_name in sets
        }
    return found


def summarize(truths: Sequence[str], answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The accuracy on a set, and the CPU time that a picture takes.

    Args:
        truths: The labels, in the order in which the pictures were read.
        answers: What `read` returned for the set in each round.

    Returns:
        How many pictures were read right, case ignored, with the 95 % Wilson interval, and the
        median CPU time. If the system says which answers it accepts, also how many these are, and
        how many of them are right.
    """
    texts, accepted, cpus = (
        [value for answer in answers for value in answer[key]]
        for key in ("texts", "accepted", "cpu")
    )
    right = [is_exact_match(text, truth) for text, truth in zip(texts, truths, strict=True)]
    summary = {
        "pictures": len(right),
        "right": sum(right),
        "exact_match": rounded(sum(right) / len(right)),
        "interval": [rounded(end) for end in wilson_interval(sum(right), len(right))],
        "cpu_ms": rounded(statistics.median(cpus)),
    }
    if None not in accepted:
        summary["accepted"] = sum(accepted)
        summary["accepted_right"] = sum(a and r for a, r in zip(accepted, right, strict=True))
    return summary


def means(
    sets: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """The mean exact match of each group, and of `unseen`: all sets that nobody was trained on.

    Args:
        sets: A system's results by the set's name.
        groups: The names of each group's sets.
    """
    groups = {**groups, "unseen": [*groups["drawn"], *groups["foreign"]]}
    return {
        group: rounded(statistics.fmean(sets[name]["exact_match"] for name in names))
        for group, names in groups.items()
        if names
    }


def describe(groups: Mapping[str, Mapping[str, PictureSet]]) -> dict[str, dict[str, Any]]:
    """The group, number of pictures and characters of each set, and what drew it."""
    described: dict[str, dict[str, Any]] = {}
    for group, sets in groups.items():
        for name, pictures in sets.items():
            described[name] = {
                "group": group,
                "pictures": len(pictures.samples),
                "characters": pictures.characters,
            }
            if group == "drawn":
                generator = GENERATORS[name]
                described[name] |= {"package": generator.package, "licence": generator.licence}
    return described


def main(argv: Sequence[str], runs: Path = RUNS, results: Path = RESULTS) -> None:
    """Measures all systems and writes the result file, or prints the tables of one."""
    parser = command_parser("unseen", __doc__)
    parser.add_argument("--table", action="store_true", help="only print the tables")
    if parser.parse_args(argv).table:
        print(table(read_json(results / "unseen.json")), end="")  # noqa: T201
        return
    groups, absent = choose_sets(captcha_data(), runs)
    part = Part("unseen", runs, results)
    sets = {name: pictures for group in groups.values() for name, pictures in group.items()}
    systems = measure(part, COMPARED, sets)
    for entry in systems.values():
        if "sets" in entry:
            entry["means"] = means(entry["sets"], {group: [*groups[group]] for group in groups})
    part.finish(
        {
            "sets": describe(groups),
            "missing_sets": absent,
            "systems": systems,
            "threads": 1,
            "rounds": ROUNDS,
            "warm_up": WARM_UP,
        }
    )
