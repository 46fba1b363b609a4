"""Lets a system read pictures in a fresh process, and measures the process."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2

from benchmarks.harness import SAMPLES
from benchmarks.peers.systems import System, launch, run
from captcha_rt import decode_image
from captcha_rt.steps.simple import Grey

DRIVER: Final = Path(__file__).with_name("driver.py")
WARM_UP: Final = 3  # pictures of each set that are read before the clock runs


@dataclass(frozen=True, slots=True)
class PictureSet:
    """Labelled pictures of one picture_set.

    Attributes:
        samples: The pictures, each with the text that it shows.
        characters: The characters that the set's pictures may show.
    """

    samples: Sequence[tuple[Path, str]]
    characters: str


def read(python: Path, system: System, sets: Mapping[str, PictureSet]) -> dict[str, Any]:
    """Reads pictures in a fresh process.

    Returns:
        The driver's answer by the set's name: `texts`, whether the system accepts each, and the
        milliseconds `cpu` and `wall` of each picture.

    Raises:
        MissingError: If the process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = write_jobs(system, sets, Path(folder), warm_up=WARM_UP, threads=1)
        answer = last_line(run([python, DRIVER, file], python))
        return dict(zip(sets, answer["jobs"], strict=True))


def start(python: Path, system: System) -> dict[str, Any]:
    """Reads one picture in a fresh process, by the system's command and by a script.

    Returns:
        `command` and `script`, if the system has them. Each holds `cpu_ms`, `wall_ms` and
        `peak_mb`, and the command's `output` or the script's `stages`.

    Raises:
        MissingError: If a process fails.
    """
    picture_set = PictureSet([(SAMPLES[0], "")], "".join(sorted({*SAMPLES[0].stem})))
    row = {}
    with tempfile.TemporaryDirectory() as folder:
        file = write_jobs(system, {"cold": picture_set}, Path(folder), warm_up=0, threads=0)
        if system.command:
            [picture] = json.loads(file.read_text("utf-8"))[0]["pictures"]
            fields = {"picture": picture, "characters": picture_set.characters}
            row["command"] = launch([part.format(**fields) for part in system.command], python)
        if not system.is_program:
            row["script"] = launch([python, DRIVER, file], python)
            row["script"]["stages"] = last_line(row["script"].pop("output"))["stages"]
    return row


def write_jobs(
    system: System, sets: Mapping[str, PictureSet], folder: Path, *, warm_up: int, threads: int
) -> Path:
    """Writes the driver's file, and the pictures that have to be changed for the system.

    Args:
        system: The system that reads the pictures.
        sets: The pictures, by the set's name.
        folder: Where the files go.
        warm_up: How many pictures of each set are read before the clock runs.
        threads: 1, or 0 for as many as the system takes by default.

    Returns:
        The driver's file.
    """
    jobs = [
        {
            "system": system.reader,
            "setting": {**system.options, "command": system.command, "threads": threads},
            "characters": picture_set.characters,
            "pictures": [
                str(prepare(path, system, folder / f"{name}-{number}.png"))
                for number, (path, _) in enumerate(picture_set.samples)
            ],
            "warm_up": warm_up,
        }
        for name, picture_set in sets.items()
    ]
    written = folder / "jobs.json"
    written.write_text(json.dumps(jobs), "utf-8")
    return written


def prepare(path: Path, system: System, changed: Path) -> Path:
    """The picture in the form that the system gets.

    Args:
        path: The picture.
        system: The system.
        changed: Where the changed picture goes, if the system wants pictures over white.

    Returns:
        `path` or `changed`.
    """
    if not system.over_white:
        return path
    picture = Grey(over_white=True)(decode_image(path))
    height, width = (side * system.scale for side in picture.shape[:2])
    cv2.imwrite(str(changed), cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC))
    return changed


def last_line(output: str) -> Any:  # noqa: ANN401  (what JSON holds)
    """The driver's answer, which is the last line: some systems print other lines before."""
    return json.loads(output.splitlines()[-1])
