"""The command `captcha-rt explain`."""

import os
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Final

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from captcha_rt.cli.answers import frames_note
from captcha_rt.cli.options import DeviceOption, ModelOption
from captcha_rt.cli.output import (
    SOME_FAILED,
    complain,
    complain_about,
    from_checkout,
    mention_waiting,
)
from captcha_rt.diagnostics import explain as diagnostics
from captcha_rt.errors import ImageDecodeError, InstallationError
from captcha_rt.files import write_atomically
from captcha_rt.pictures import read_stdin
from captcha_rt.solution import reject_unsure
from captcha_rt.solver import Solver

GROUP: Final = "captcha_rt.activations"
"""The entry-point group of the function `activations(run, rows, layer)` of captcha-rt-train."""


def explain(
    image: Annotated[str, typer.Argument(help="A picture; - is stdin.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The PNG to write.")],
    model: ModelOption = None,
    device: DeviceOption = "auto",
    layer: Annotated[
        str | None, typer.Option(help="Also show this layer's activations; needs --run.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The training run that the model was exported from.")
    ] = None,
) -> None:
    """Draw what a model sees of one picture: each step, the scores, the answer."""
    if (layer is None) != (run is None):
        raise typer.BadParameter("--layer and --run go together")
    layers = {} if layer is None or run is None else {layer: _activations(run, layer)}
    solver = Solver(model, device=device, pictures=1)
    if image == "-":
        mention_waiting()
    source = read_stdin() if image == "-" else Path(image)
    try:
        if isinstance(source, ImageDecodeError):
            raise source
        explanation = diagnostics.explain(solver, source, layers)
    except ImageDecodeError as error:
        complain_about(image, error)
        raise typer.Exit(SOME_FAILED) from None
    _, png = cv2.imencode(".png", explanation.sheet[:, :, ::-1])
    with write_atomically(out) as path:
        path.write_bytes(png.tobytes())
    if explanation.error is not None:
        complain_about(image, explanation.error)
        raise typer.Exit(SOME_FAILED)
    typer.echo(f"{explanation.text} ({explanation.confidence:.4f})")
    if (answer := explanation.answer) is not None:
        if not answer.accepted:
            complain(f"{image}: `solve` rejects it: {reject_unsure(answer, None)}")
        if answer.frames > 1 and solver.readers[0].manifest.recipe.merge is None:
            complain(frames_note(image, answer))


def _activations(run: Path, layer: str) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Makes a function from the graph's input to one layer's activations, by captcha-rt-train."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow is loaded
    for entry in entry_points(group=GROUP, name="activations"):
        try:
            activations = entry.load()
        except ModuleNotFoundError as error:  # the package was removed, but not its metadata
            if (error.name or "").partition(".")[0] != entry.module.partition(".")[0]:
                raise
        else:
            return lambda rows: activations(run, rows, layer)
    name = "captcha-rt-train"
    raise InstallationError(f"--layer is part of {name}: {from_checkout(name)}")
