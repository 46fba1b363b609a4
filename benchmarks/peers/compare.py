"""Against what a user would pick instead: `python -m benchmarks peers`.

Every system reads the same real pictures, on which the embedded model was not trained. Labels are
corrected, and case is ignored. Each system has its best fair setting and an environment of its own
in `benchmarks/runs/environments`, which is made once. A system that can't be installed is reported
as missing, and the others are measured. Tesseract is used if it is on the PATH.

All read on one core and one thread, in alternating rounds. The results hold accuracy, CPU time and
latency a picture; CPU time and peak memory of a fresh process that reads one picture, on as many
threads as the system takes by itself; and the size of the installation. They go to
`benchmarks/results/peers.json`. A stopped command continues where it was. It takes some ten
minutes.

`systems.py` holds each system's setting; `driver.py` reads pictures inside its environment.
"""

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks import markdown
from benchmarks.harness import (
    RESULTS,
    RUNS,
    SAMPLES,
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
from benchmarks.peers.systems import (
    ENVIRONMENTS,
    PICTURES,
    SYSTEMS,
    MissingError,
    System,
    launch,
    missing,
    run,
    set_up,
)
from benchmarks.peers.tables import accuracy_table, start_table, where_others_win
from captcha_rt import decode_image
from captcha_rt.metrics import wilson_interval
from captcha_rt.steps.simple import Grey

DRIVER: Final = Path(__file__).with_name("driver.py")
ROUNDS, STARTS, WARM_UP = 3, 7, 3
LATENCIES: Final = 100  # points of each distribution that are kept
PLOTS: Final = plots.PLOTS


@dataclass(frozen=True, slots=True)
class Kind:
    """A set of pictures.

    Attributes:
        samples: The pictures, each with the text that it shows.
        characters: The characters that the set's pictures may show.
    """

    samples: Sequence[tuple[Path, str]]
    characters: str


def write_jobs(
    system: System, kinds: Mapping[str, Kind], folder: Path, *, warm_up: int, threads: int
) -> Path:
    """Writes the driver's file, and the pictures that have to be changed for the system.

    Args:
        system: The system that reads the pictures.
        kinds: The pictures, by the set's name.
        folder: Where the files go.
        warm_up: How many pictures of each set are read before the clock runs.
        threads: 1, or 0 for as many as the system takes by itself.

    Returns:
        The driver's file.
    """
    jobs = [
        {
            "system": system.reader,
            "setting": {**system.options, "command": system.command, "threads": threads},
            "characters": kind.characters,
            "pictures": [
                str(prepare(path, system, folder / f"{name}-{number}.png"))
                for number, (path, _) in enumerate(kind.samples)
            ],
            "warm_up": warm_up,
        }
        for name, kind in kinds.items()
    ]
    written = folder / "jobs.json"
    written.write_text(json.dumps(jobs), "utf-8")
    return written


def prepare(path: Path, system: System, changed: Path) -> Path:
    """The picture in the form that the system gets.

    Args:
        path: The picture.
        system: The system.
        changed: Where the changed picture goes, if the system wants it over white or larger.

    Returns:
        `path` or `changed`.
    """
    if not system.over_white:
        return path
    picture = Grey(over_white=True)(decode_image(path))
    height, width = (side * system.scale for side in picture.shape[:2])
    cv2.imwrite(str(changed), cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC))
    return changed


def pictures_of_turn(
    system: System, kinds: Mapping[str, Kind], turn: int, rounds: int
) -> dict[str, Kind]:
    """The pictures that a system reads in a round; all rounds together read each of them once."""
    return {
        name: Kind(kind.samples[: system.pictures][turn::rounds], kind.characters)
        for name, kind in kinds.items()
    }


def read(python: Path, system: System, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Reads pictures in a fresh process.

    Returns:
        By the set's name the driver's answer.

    Raises:
        MissingError: If the process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = write_jobs(system, kinds, Path(folder), warm_up=WARM_UP, threads=1)
        answer = last_line(run([python, DRIVER, file], python))
        return dict(zip(kinds, answer["jobs"], strict=True))


def last_line(output: str) -> Any:  # noqa: ANN401  (what JSON holds)
    """The driver's answer; some systems print lines before it."""
    return json.loads(output.splitlines()[-1])


def start(python: Path, system: System) -> dict[str, Any]:
    """Reads one picture in a fresh process, by the system's command and by a script.

    Returns:
        Under `command` and `script`, as far as the system has them, CPU and wall time, peak memory
        and the command's output or the script's stages.

    Raises:
        MissingError: If a process fails.
    """
    kind = Kind([(SAMPLES[0], "")], "".join(sorted({*SAMPLES[0].stem})))
    row = {}
    with tempfile.TemporaryDirectory() as folder:
        file = write_jobs(system, {"cold": kind}, Path(folder), warm_up=0, threads=0)
        if system.command:
            [picture] = json.loads(file.read_text("utf-8"))[0]["pictures"]
            words = {"picture": picture, "characters": kind.characters}
            row["command"] = launch([c.format(**words) for c in system.command], python)
        if not system.is_program:
            row["script"] = launch([python, DRIVER, file], python)
            row["script"]["stages"] = last_line(row["script"].pop("output"))["stages"]
    return row


def summarize_predictions(
    rows: Sequence[Mapping[str, Any]], turns: Sequence[Mapping[str, Kind]]
) -> dict[str, Any]:
    """The accuracy on each set, and the time a picture took.

    Args:
        rows: What `read` returned in each round.
        turns: The pictures of each round.

    Returns:
        The results by the set's name.
    """
    found = {}
    for name in turns[0]:
        texts = [text for row in rows for text in row[name]["texts"]]
        truths = [truth for turn in turns for _, truth in turn[name].samples]
        cpus, walls = ([t for row in rows for t in row[name][clock]] for clock in ("cpu", "wall"))
        right = sum(same(text, truth) for text, truth in zip(texts, truths, strict=True))
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


def same(text: str, truth: str) -> bool:
    """Whether a text is the truth; case and space are ignored."""
    return "".join(text.split()).casefold() == truth.casefold()


def summarize_starts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The cold start and the peak memory: medians of what `start` returned in each round."""
    which = "command" if "command" in rows[0] else "script"

    def median(key: str) -> float:
        return rounded(statistics.median(row[which][key] for row in rows))

    scripts = [row["script"] for row in rows if "script" in row]
    stages = [{**s["stages"], "exit": s["cpu_ms"] - sum(s["stages"].values())} for s in scripts]
    return {
        "cold_start": {
            "of": which,
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
    kinds: Mapping[str, Kind],
    *,
    rounds: int = ROUNDS,
    starts: int = STARTS,
) -> dict[str, Any]:
    """Measures all systems in turn; rows of the part are not measured again.

    Args:
        part: Keeps the rows; the environments lie in its folder of runs.
        systems: The systems by name.
        environments: The requirements that pip installs in each environment, by name.
        kinds: The sets of pictures by name.
        rounds: In how many rounds the pictures are read.
        starts: How often each system is started.

    Returns:
        By the system's name its results, or why it is `missing`.
    """
    ready, found = set_up(systems, environments, part.runs / "environments")
    turns = {
        name: [pictures_of_turn(systems[name], kinds, turn, rounds) for turn in range(rounds)]
        for name in systems
    }
    rows: dict[str, list[Any]] = {name: [] for name in ready}
    for turn in range(rounds + starts):
        say(f"round {turn + 1} of {rounds + starts}: {'reading' if turn < rounds else 'starting'}")
        for name, python in [*ready.items()]:
            if turn < rounds:
                task = partial(read, python, systems[name], turns[name][turn])
            else:
                task = partial(start, python, systems[name])
            try:
                rows[name].append(part.row(f"{turn}-{name.replace(' ', '_')}", task))
            except MissingError as error:
                found[name] = missing(name, error)
                del ready[name]
    for name in ready:
        found[name]["sets"] = summarize_predictions(rows[name][:rounds], turns[name])
        found[name].update(summarize_starts(rows[name][rounds:]))
    return found


def choose(data: Path) -> dict[str, Kind]:
    """Some pictures of each set, on which the embedded model was not trained."""
    kinds = {}
    for name, samples in unseen_pictures(data).items():
        order = np.random.default_rng(0).permutation(len(samples))[:PICTURES]
        characters = "".join(sorted({c for _, text in samples for c in text}))
        kinds[name] = Kind([samples[n] for n in order], characters)
    return kinds


def table(result: Result) -> str:
    """The result in words and tables, in Markdown."""
    pictures = ", ".join(f"{n} of {kind}" for kind, n in result["pictures"].items())
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
    kinds = choose(captcha_data())
    part = Part("peers", runs, results)
    systems = measure(part, SYSTEMS, ENVIRONMENTS, kinds)
    part.finish(
        {
            "pictures": {name: len(kind.samples) for name, kind in kinds.items()},
            "systems": systems,
            "threads": 1,
            "rounds": ROUNDS,
            "starts": STARTS,
            "warm_up": WARM_UP,
        }
    )
