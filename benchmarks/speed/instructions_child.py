"""The script that `instructions.py` runs under callgrind: `Solver.solve` and each of its stages.

The script calls `os.getppid` before and after the rounds of each stage, so that callgrind can
separate the stages; nothing else here calls this function. The script prints the names of the
stages in order, and how many pictures each stage reads. It imports no other module of the
benchmarks.
"""

import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2

from captcha_rt import Solver

SAMPLES = Path(__file__).parents[2] / "tests" / "samples"
ROUNDS = WARM_UP = 5  # runs over all samples; after five, Python has specialised its bytecode


def main() -> None:
    """Runs the stages in order; all but `solve` read the results of the stage before."""
    cv2.setNumThreads(1)  # so that the counts don't depend on the machine's cores
    pictures = [path.read_bytes() for path in sorted(SAMPLES.glob("*.png"))]
    solver = Solver(device="cpu")
    manifest = solver.manifest
    decoded = [solver.open(picture).pixels for picture in pictures]
    inputs = [manifest.batch(manifest.recipe.apply(pixels)[None]) for pixels in decoded]
    scores = [solver.session.run(tensor) for tensor in inputs]
    stages: dict[str, tuple[Callable[..., object], list[object]]] = {
        "decode": (solver.open, [*pictures]),
        "recipe": (manifest.recipe.apply, [*decoded]),
        "session": (solver.session.run, [*inputs]),
        "decoder": (manifest.decode, [*scores]),
        "solve": (solver.solve, [*pictures]),
    }
    gc.disable()
    for stage, given in stages.values():
        repeat(stage, given, WARM_UP)
        os.getppid()
        repeat(stage, given, ROUNDS)
        os.getppid()
    json.dump({"stages": [*stages], "pictures": ROUNDS * len(pictures)}, sys.stdout)


def repeat(stage: Callable[..., object], given: list[object], rounds: int) -> None:
    """Runs a stage on all its inputs, several times."""
    for _ in range(rounds):
        for value in given:
            stage(value)


if __name__ == "__main__":
    main()
