"""How long each stage of `Solver.solve` takes."""

from collections.abc import Iterable
from time import perf_counter
from typing import Final

from captcha_rt.cascade import UNSURE, readings
from captcha_rt.image import ImageSource
from captcha_rt.solver import Solver

STAGES: Final = ("decode", "recipe", "session", "decoder", "whole")
"""Decoding the file, the model's recipe, the network, reading the scores, and all of `solve`."""


def time_stages(solver: Solver, pictures: Iterable[ImageSource]) -> dict[str, list[float]]:
    """Times the stages of `Solver.solve` for one picture after the other.

    For each picture the stages run one by one, and then `Solver.solve` as a whole. So no stage
    finds its data in the processor's cache only because the same stage ran just before.

    Where a picture is read more than once, a stage is the sum over all readings.

    The caller decides how often each picture is read: repeat pictures in the iterable, or let an
    iterator end when the time is over. The caller should drop the first few values, since Python
    and the processor have to warm up.

    Args:
        solver: The model.
        pictures: The pictures, each as `Solver.solve` takes it. Pass files' bytes to leave out
            the time to read the files.

    Returns:
        For each of `STAGES` one value per picture, in order: milliseconds of the wall clock.

    Raises:
        CaptchaRTError: If a picture can't be read.
    """
    solver.load()
    rows: list[tuple[float, ...]] = []
    for image in pictures:
        start = perf_counter()
        picture = solver.open(image).pixels
        decoded = perf_counter()
        recipe = network = decoder = 0.0
        begin = perf_counter()
        for reader, seen in readings(solver.readers, picture):
            manifest = reader.manifest
            tensor = manifest.prepare(seen)
            prepared = perf_counter()
            scores = reader.session.run(manifest.batch(tensor[None]))
            run = perf_counter()
            manifest.decode(scores)
            read = perf_counter()
            recipe, network = recipe + prepared - begin, network + run - prepared
            decoder += read - run
            answer = reader.decode(scores)[0]
            sure = reader is not solver.readers[0] and answer.confidence >= UNSURE
            if sure or solver.settles(answer):
                break
            begin = perf_counter()
        begin = perf_counter()
        solver.solve(image)
        rows.append((decoded - start, recipe, network, decoder, perf_counter() - begin))
    return {stage: [row[column] * 1000 for row in rows] for column, stage in enumerate(STAGES)}
