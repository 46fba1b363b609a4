"""Loads a network of any format: an `.onnx` file without TensorFlow, everything else with it."""

import logging
from functools import partial
from pathlib import Path

from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.network import ForeignNetwork
from captcha_rt_export.foreign.onnx import load_onnx
from captcha_rt_export.foreign.ways import Told


def load_network(
    path: Path,
    told: Told,
    shape: tuple[int, ...] | None = None,
    *,
    scores: str | None = None,
    custom: Path | None = None,
    trust: bool = False,
) -> ForeignNetwork:
    """Loads a network of any format; a size that the file leaves free is the one the recipe makes.

    Args:
        path: The network's file or folder.
        told: What is known of how the network is read.
        shape: The input's axes after the batch, where the file leaves some free.
        scores: The layer, or of an ONNX file the tensor, whose output are the scores.
        custom: A file with layers of the user's own, which is run.
        trust: Whether code inside the file may run.

    Raises:
        ExportError: If the network can't be loaded.
    """
    made = made_by(told)
    if path.suffix.lower() == ".onnx":
        return load_onnx(path, scores=scores, shape=shape or made)
    from captcha_rt_export.backend import set_up_keras

    set_up_keras("tensorflow")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of its own old functions
    from captcha_rt_export.foreign.load import load_foreign

    load = partial(load_foreign, path, custom=custom, trust=trust, scores=scores)
    try:
        return load(shape=shape)
    except ExportError as error:
        if shape is not None or made is None or "--input-shape" not in str(error):
            raise
    return load(shape=made)


def made_by(told: Told) -> tuple[int, ...] | None:
    """The shape that the recipe makes of every picture, where it is told."""
    made = told.recipe.fixed_shape() if told.recipe is not None else None
    shape = tuple(size for size in made or () if size is not None)
    if made is None or len(shape) < len(made):
        return None
    return shape[1:] if len(shape) == 4 else shape  # a glyph is a row of its own
