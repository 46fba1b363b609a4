"""Against what a user would pick instead: `python benchmarks/peers.py`.

Reads the same real pictures with each system: those that the embedded model was not trained on,
with corrected labels, case ignored. Each has its best fair setting and an environment of its own in
`benchmarks/runs/environments`, made once; one that can't be installed is said, and the rest goes
on. Tesseract is taken where it is on the PATH. All read on one core and one thread, in alternating
rounds. Beside accuracy stand CPU time and latency a picture, and of a fresh process that reads one
picture, on as many threads as the system takes by itself, CPU time and peak memory; and what is
installed. Writes `benchmarks/results/peers.json`. Stopped, it goes on where it was. Takes some
ten minutes.

`peer_systems.py` says how each is set up; `peer_driver.py` reads, inside of their environments.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from rich.console import Console

from captcha_rt import decode_image
from captcha_rt.metrics import wilson_interval
from captcha_rt.steps import Grey
from harness import HERE, RUNS, SAMPLES, Part, percentiles, rounded, unseen_pictures
from peer_systems import ENVIRONMENTS, PICTURES, SYSTEMS, MissingError, System, missing, run, set_up

DRIVER: Final = HERE / "peer_driver.py"
ROUNDS, STARTS, WARM_UP = 3, 7, 3
LATENCIES: Final = 100  # points of each distribution that are kept

say = Console(stderr=True).print


@dataclass(frozen=True, slots=True)
class Kind:
    """A set of pictures.

    Attributes:
        items: The pictures, each with what it shows.
        characters: Those that its pictures may show.
    """

    items: Sequence[tuple[Path, str]]
    characters: str


def drive(python: Path, *arguments: str | Path) -> Any:  # noqa: ANN401  (what JSON holds)
    """What the driver answers; a peer may print before it.

    Raises:
        MissingError: If it fails.
    """
    return json.loads(run([python, DRIVER, *arguments], python).splitlines()[-1])


def jobs(
    system: System, kinds: Mapping[str, Kind], folder: Path, *, warm_up: int, threads: int
) -> Path:
    """Writes the driver's file for these pictures, and pictures that have to be changed.

    Args:
        system: What reads them.
        kinds: The pictures, by the set's name.
        folder: Where the file goes.
        warm_up: So many of each set are read before.
        threads: 1, or 0 for as many as the system takes by itself.
    """
    its = [
        {
            "system": system.reader,
            "setting": {**system.options, "command": system.command, "threads": threads},
            "characters": kind.characters,
            "pictures": [
                str(prepare(path, system, folder / f"{name}-{number}.png"))
                for number, (path, _) in enumerate(kind.items)
            ],
            "warm_up": warm_up,
        }
        for name, kind in kinds.items()
    ]
    written = folder / "jobs.json"
    written.write_text(json.dumps(its), "utf-8")
    return written


def prepare(path: Path, system: System, changed: Path) -> Path:
    """The picture as the system gets it: its own file, or `changed`, over white or larger."""
    if not system.over_white:
        return path
    picture = Grey(over_white=True)(decode_image(path))
    height, width = (side * system.scale for side in picture.shape[:2])
    cv2.imwrite(str(changed), cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC))
    return changed


def share(system: System, kinds: Mapping[str, Kind], turn: int, rounds: int) -> dict[str, Kind]:
    """The pictures that a system reads in a round."""
    return {
        name: Kind(kind.items[: system.pictures][turn::rounds], kind.characters)
        for name, kind in kinds.items()
    }


def read(python: Path, system: System, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Reads pictures in a fresh process; by the set's name what the driver says.

    Raises:
        MissingError: If the process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = jobs(system, kinds, Path(folder), warm_up=WARM_UP, threads=1)
        return dict(zip(kinds, drive(python, file)["jobs"], strict=True))


def start(python: Path, system: System) -> dict[str, Any]:
    """Reads one picture in a fresh process: by the system's command, and by a script.

    Returns:
        What the driver says of each that there is; of the script its stages, too.

    Raises:
        MissingError: If a process fails.
    """
    kind = Kind([(SAMPLES[0], "")], "".join(sorted({*SAMPLES[0].stem})))
    row = {}
    with tempfile.TemporaryDirectory() as folder:
        file = jobs(system, {"cold": kind}, Path(folder), warm_up=0, threads=0)
        if system.command:
            [picture] = json.loads(file.read_text("utf-8"))[0]["pictures"]
            words = {"picture": picture, "characters": kind.characters}
            row["command"] = drive(python, "--launch", *(c.format(**words) for c in system.command))
        if not system.is_program:
            row["script"] = drive(python, "--launch", python, DRIVER, file)
            output = row["script"].pop("output")
            row["script"]["stages"] = json.loads(output.splitlines()[-1])["stages"]
    return row


def summarise_readings(
    rows: Sequence[Mapping[str, Any]], shares: Sequence[Mapping[str, Kind]]
) -> dict[str, Any]:
    """By the set's name how much was read right, and how long it took.

    Args:
        rows: What `read` returned, a row a round.
        shares: The pictures of each round.
    """
    found = {}
    for name in shares[0]:
        texts = [text for row in rows for text in row[name]["texts"]]
        truths = [truth for its in shares for _, truth in its[name].items]
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
    """Whether a text is the truth, but for case and space."""
    return "".join(text.split()).casefold() == truth.casefold()


def summarise_starts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The cold start and the peak memory, each the median of the rows that `start` returned."""
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
                stage: rounded(statistics.median(its[stage] for its in stages))
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
    folder: Path = RUNS / "environments",
    rounds: int = ROUNDS,
    starts: int = STARTS,
) -> dict[str, Any]:
    """Measures all systems in turn; what lies in the part is not measured again.

    Args:
        part: Where the rows lie.
        systems: The systems by name.
        environments: By name what pip installs in each.
        kinds: The sets of pictures by name.
        folder: Where the environments lie.
        rounds: So many shares the pictures are cut into.
        starts: So often each is started.

    Returns:
        By the system's name its figures, or why it is `missing`.
    """
    ready, found = set_up(systems, environments, folder)
    shares = {
        name: [share(systems[name], kinds, turn, rounds) for turn in range(rounds)]
        for name in systems
    }
    rows: dict[str, list[Any]] = {name: [] for name in ready}
    for turn in range(rounds + starts):
        say(f"round {turn + 1} of {rounds + starts}: {'reading' if turn < rounds else 'starting'}")
        for name, python in [*ready.items()]:
            if turn < rounds:
                task = partial(read, python, systems[name], shares[name][turn])
            else:
                task = partial(start, python, systems[name])
            try:
                rows[name].append(part.row(f"{turn}-{name.replace(' ', '_')}", task))
            except MissingError as error:
                found[name] = missing(name, error)
                del ready[name]
    for name in ready:
        found[name]["sets"] = summarise_readings(rows[name][:rounds], shares[name])
        found[name].update(summarise_starts(rows[name][rounds:]))
    return found


def choose(data: Path) -> dict[str, Kind]:
    """Of each set some of the pictures that the embedded model was not trained on."""
    kinds = {}
    for name, items in unseen_pictures(data).items():
        order = np.random.default_rng(0).permutation(len(items))[:PICTURES]
        characters = "".join(sorted({c for _, text in items for c in text}))
        kinds[name] = Kind([items[n] for n in order], characters)
    return kinds


def main() -> None:
    """Measures all systems, and writes the result file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.parse_args()
    if "CAPTCHA_DATA" not in os.environ:
        parser.error("CAPTCHA_DATA does not name the folder of real labelled pictures")
    part = Part("peers")
    kinds = choose(Path(os.environ["CAPTCHA_DATA"]))
    systems = measure(part, SYSTEMS, ENVIRONMENTS, kinds)
    part.finish(
        {
            "pictures": {name: len(kind.items) for name, kind in kinds.items()},
            "systems": systems,
            "threads": 1,
            "rounds": ROUNDS,
            "starts": STARTS,
            "warm_up": WARM_UP,
        }
    )


if __name__ == "__main__":
    main()
