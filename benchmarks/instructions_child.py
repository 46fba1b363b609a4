"""What `benchmarks/instructions.py` runs under callgrind: `Solver.solve` and each of its stages.

Calls `os.getppid`, which nothing else does here, before and after the rounds of each stage, so that
callgrind can tell them apart. Prints the stages in order and how many pictures each was given.
"""

import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2

from captcha_rt import Solver, decode_image

SAMPLES = Path(__file__).parent.parent / "tests" / "samples"
ROUNDS = WARM_UP = 5  # over all samples; by then Python has specialised its bytecode


def main() -> None:
    """Runs the stages one after the other, each on what the one before made of the samples."""
    cv2.setNumThreads(1)  # whatever the machine has
    pictures = [path.read_bytes() for path in sorted(SAMPLES.glob("*.png"))]
    solver = Solver(device="cpu")
    manifest = solver.manifest
    decoded = [decode_image(picture) for picture in pictures]
    inputs = [manifest.batch(manifest.recipe.apply(pixels)[None]) for pixels in decoded]
    scores = [solver.session.run(tensor) for tensor in inputs]
    stages: dict[str, tuple[Callable[..., object], list[object]]] = {
        "decode": (decode_image, [*pictures]),
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
    """Gives a stage all that it is given, so many times."""
    for _ in range(rounds):
        for value in given:
            stage(value)


if __name__ == "__main__":
    main()
