"""The embedded model against other OCR systems: `python -m benchmarks peers`.

Every system reads the same real pictures, on which the embedded model was not trained. Labels are
corrected; case and space are ignored. Each system has its best fair setting, and its own
environment in `benchmarks/runs/environments`, which is made once. A system that can't be installed
is reported as missing, and the others are measured. Tesseract is used if it is on the PATH.

The systems read on one core and one thread, in alternating rounds. Writes
`benchmarks/results/peers.json` with

- accuracy, and CPU time and latency of a picture,
- CPU time and peak memory of a fresh process that reads one picture, on as many threads as the
  system takes by default,
- the size of the installation.

A stopped command continues where it was. It takes some ten minutes.

`systems.py` holds each system's setting. `reading.py` starts its processes, and `driver.py` reads
pictures inside its environment.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import markdown
from benchmarks.harness import (
    RESULTS,
    RUNS,
    Part,
    Result,
    captcha_data,
    command_parser,
    percentiles,
    rounded,
    say,
    unseen_pictures,
)
from benchmarks.peers import plots
from benchmarks.peers.reading import WARM_UP, PictureSet, read, start
from benchmarks.peers.systems import (
    ENVIRONMENTS,
    PICTURES,
    SYSTEMS,
    MissingError,
    System,
    missing,
    set_up,
)
from benchmarks.peers.tables import accuracy_table, start_table, where_others_win
from captcha_rt.metrics import wilson_interval

ROUNDS, STARTS = 3, 7  # rounds of reading, and fresh processes of each system
LATENCIES: Final = 100  # quantiles of each distribution that the results keep
PLOTS: Final = plots.PLOTS


def pictures_of_round(
    system: System, sets: Mapping[str, PictureSet], number: int, rounds: int
) -> dict[str, PictureSet]:
    """The pictures that a system reads in one round; it reads each picture in exactly one round.

    Args:
        system: The system.
        sets: The pictures, by the set's name.
        number: The number of the round, from 0.
        rounds: How many rounds there are.
    """
    return {
        name: PictureSet(
            picture_set.samples[: system.pictures][number::rounds], picture_set.characters
        )
        for name, picture_set in sets.items()
    }


def summarize_predictions(
    rows: Sequence[Mapping[str, Any]], rounds: Sequence[Mapping[str, PictureSet]]
) -> dict[str, Any]:
    """The accuracy on each set, and the time that a picture takes.

    Args:
        rows: What `read` returned in each round.
        rounds: The pictures of each round.

    Returns:
        The results by the set's name.
    """
    found = {}
    for name in rounds[0]:
        texts = [text for row in rows for text in row[name]["texts"]]
        truths = [truth for sets in rounds for _, truth in sets[name].samples]
        cpus, walls = ([t for row in rows for t in row[name][clock]] for clock in ("cpu", "wall"))
        right = sum(is_exact_match(text, truth) for text, truth in zip(texts, truths, strict=True))
        found[name] = {
            "exact_match": rounded(right / len(truths)),
            "errors": len(truths) - right,
            "pictures": len(truths),
            "interval": [rounded(end) for end in wilson_interval(right, len(truths))],
            "cpu_ms": rounded(statistics.median(cpus)),
            "wall_ms": percentiles(walls),
            "latencies": [
                rounded(wall)
                for wall in statistics.quantiles(walls, n=LATENCIES + 1, method="inclusive")
            ],
        }
    return found


def is_exact_match(text: str, truth: str) -> bool:
    """Whether a text is the label, if case and space are ignored."""
    return "".join(text.split()).casefold() == truth.casefold()


def summarize_starts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The cold start and the peak memory.

    Args:
        rows: What `start` returned each time.

    Returns:
        The medians: `cold_start` and `peak_mb`.
    """
    timed = "command" if "command" in rows[0] else "script"

    def median(key: str) -> float:
        return rounded(statistics.median(row[timed][key] for row in rows))

    scripts = [row["script"] for row in rows if "script" in row]
    stages = [{**s["stages"], "exit": s["cpu_ms"] - sum(s["stages"].values())} for s in scripts]
    return {
        "cold_start": {
            "of": timed,
            "cpu_ms": median("cpu_ms"),
            "wall_ms": median("wall_ms"),
            "stages": {
                stage: rounded(statistics.median(script[stage] for script in stages))
                for stage in (stages[0] if stages else ())
            },
        },
        "peak_mb": median("peak_mb"),
    }


def measure(
    part: Part,
    systems: Mapping[str, System],
    environments: Mapping[str, Sequence[str]],
    sets: Mapping[str, PictureSet],
    *,
    rounds: int = ROUNDS,
    starts: int = STARTS,
) -> dict[str, Any]:
    """Measures all systems in turn; rows that the part has kept are not measured again.

    Args:
        part: Keeps the rows; the environments lie in its folder of runs.
        systems: The systems by name.
        environments: The requirements that pip installs in each environment, by name.
        sets: The pictures by the set's name.
        rounds: In how many rounds the pictures are read.
        starts: How often each system is started.

    Returns:
        The results by the system's name; those of a missing system only say why it is `missing`.
    """
    ready, found = set_up(systems, environments, part.runs / "environments")
    reading = {
        name: [pictures_of_round(systems[name], sets, n, rounds) for n in range(rounds)]
        for name in systems
    }

    def task(name: str, number: int) -> Any:  # noqa: ANN401  (rows of JSON)
        if number < rounds:
            return read(ready[name], systems[name], reading[name][number])
        return start(ready[name], systems[name])

    rows = take_turns(part, [*ready], rounds + starts, task, found)
    for name in rows:
        found[name]["sets"] = summarize_predictions(rows[name][:rounds], reading[name])
        found[name].update(summarize_starts(rows[name][rounds:]))
    return found


def take_turns(
    part: Part,
    names: Sequence[str],
    rounds: int,
    task: Callable[[str, int], Any],
    found: dict[str, dict[str, Any]],
) -> dict[str, list[Any]]:
    """Lets all systems do their tasks in turn; rows that the part has kept are not measured again.

    Args:
        part: Keeps the rows.
        names: The names of the systems.
        rounds: The number of rounds.
        task: Measures the row of a system and a round.
        found: Gets the reason by the name of each system that fails.

    Returns:
        The rows of each other system by its name.
    """
    rows: dict[str, list[Any]] = {name: [] for name in names}
    for number in range(rounds):
        for name in [*rows]:
            say(f"round {number + 1} of {rounds}: {name}")
            try:
                row = part.row(f"{number}-{name.replace(' ', '_')}", partial(task, name, number))
                rows[name].append(row)
            except MissingError as error:
                found[name] = missing(name, error)
                del rows[name]
    return rows


def choose_pictures(data: Path) -> dict[str, PictureSet]:
    """Chooses up to `PICTURES` pictures of each set that the embedded model was not trained on.

    The choice is random, with a fixed seed.

    Args:
        data: The folder of real labelled pictures.

    Returns:
        The pictures by the set's name.
    """
    sets = {}
    for name, samples in unseen_pictures(data).items():
        order = np.random.default_rng(0).permutation(len(samples))[:PICTURES]
        characters = "".join(sorted({c for _, text in samples for c in text}))
        sets[name] = PictureSet([samples[n] for n in order], characters)
    return sets


def table(result: Result) -> str:
    """The result in words and tables, in Markdown."""
    pictures = ", ".join(f"{count} of {name}" for name, count in result["pictures"].items())
    settings = [
        f"- {system}, {entry.get('version') or 'not here'}: {entry.get('setting') or 'missing'}"
        for system, entry in result["systems"].items()
    ]
    return "\n".join(
        [
            "One core, one thread, the same pictures, which our model was not trained on: "
            f"{pictures}.\n",
            accuracy_table(result),
            start_table(result),
            "Where another system is better:\n",
            markdown.bullets(where_others_win(result)),
            "The settings:\n",
            *settings,
            "",
        ]
    )


def main(argv: Sequence[str], runs: Path = RUNS, results: Path = RESULTS) -> None:
    """Measures all systems, and writes the result file."""
    command_parser("peers", __doc__).parse_args(argv)
    sets = choose_pictures(captcha_data())
    part = Part("peers", runs, results)
    systems = measure(part, SYSTEMS, ENVIRONMENTS, sets)
    part.finish(
        {
            "pictures": {name: len(picture_set.samples) for name, picture_set in sets.items()},
            "systems": systems,
            "threads": 1,
            "rounds": ROUNDS,
            "starts": STARTS,
            "warm_up": WARM_UP,
        }
    )
