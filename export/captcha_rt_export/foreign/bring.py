"""Brings a model that was trained elsewhere: from its file to one checked model file."""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, helper

from captcha_rt.decoders import softmax
from captcha_rt.errors import CaptchaRTError, ImageDecodeError
from captcha_rt.image import decode_image
from captcha_rt.manifest import Manifest, Tensor
from captcha_rt.metrics import Prediction, summarize
from captcha_rt.progress import Watch, unwatched
from captcha_rt.session import Session
from captcha_rt.sums import value_of
from captcha_rt_export.convert import check_graph
from captcha_rt_export.errors import ExportError
from captcha_rt_export.export import Report, write_model
from captcha_rt_export.foreign.loading import made_by
from captcha_rt_export.foreign.network import ForeignNetwork
from captcha_rt_export.foreign.reading import THEN, Reading, find_reading
from captcha_rt_export.foreign.recipes import in_short
from captcha_rt_export.foreign.samples import Samples, limited, prepare_samples
from captcha_rt_export.foreign.surgery import (
    constant,
    set_shape,
    shape_of,
    with_outputs,
    with_prefix,
    with_reshaped_input,
    without_softmax,
)
from captcha_rt_export.foreign.trials import Trials
from captcha_rt_export.foreign.ways import Told
from captcha_rt_export.int8 import CALIBRATION_SAMPLES, Int8Samples
from captcha_rt_export.parity import (
    FOREIGN,
    HALF_PRECISION,
    PROBABILITY_TOLERANCE,
    Parity,
    check_parity,
    run_batches,
)
from captcha_rt_export.run import SampleFile
from captcha_rt_export.spread import spread
from captcha_rt_export.temperature import fit_temperature

PART: Final = "pictures"
"""The name of the pictures of `--pictures` in the model's accuracy."""

_EXACT: Final = PROBABILITY_TOLERANCE * FOREIGN
_FEWEST_RIGHT: Final = 10  # to tell a temperature from
_FIT_PICTURES: Final = 64  # the least that a temperature is fitted on
_FIT_NUMBERS: Final = 2**23  # scores to fit it on: each of 65 temperatures takes a softmax of all
_SCORES: Final = "scores"
_SLACK: Final = {"float16": HALF_PRECISION, "int8": 10_000.0}
"""How many times more an original of less precision may differ."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of a foreign model.

    Attributes:
        report: What was written.
        origin: What the file was, for people.
        notes: What was cut, found out and left open, a line each.
        right: The number of labelled pictures that the model reads right; None without labels.
    """

    report: Report
    origin: str
    notes: tuple[str, ...]
    right: int | None


def bring(
    network: ForeignNetwork,
    samples: Samples,
    told: Told,
    out: Path,
    *,
    name: str | None = None,
    licence: str = "unknown",
    int8: bool = False,
    min_confidence: float = 0.0,
    watch: Watch = unwatched,
) -> Brought:
    """Makes a model file of a network that was trained elsewhere, and checks it.

    Args:
        network: The network, as `loading.load_network` gives it.
        samples: Pictures of the network's kind, best with labels.
        told: What is known of how the network is read.
        out: The `.onnx` file to write; it appears whole or not at all.
        name: The model's name; None takes the file's.
        licence: The model's licence.
        int8: Whether the graph may compute in 8 bits, where that pays; needs labels.
        min_confidence: As for `Manifest`.
        watch: Shows the progress over the ways to read that are tried.

    Returns:
        What was made, and what was found out on the way.

    Raises:
        ExportError: If it can't be found out how the network is read, or it answers differently in
            ONNX.
        ImageDecodeError: If many pictures can't be decoded.
        RecipeError: If the recipe can't use many pictures.
    """
    network = _with_channels(network, told)
    network = replace(network, graph=with_prefix(network.graph))
    answered = shape_of(network.graph.graph.output[0])[1:]
    samples = limited(samples, prod(size or 1 for size in answered))
    reading = find_reading(_trials(network, told, samples), told, watch)
    network = _by_positions(network, reading)
    manifest = describe(network, reading, samples, name or network.path.stem, licence)
    manifest = replace(manifest, min_confidence=min_confidence)
    samples, tensors, unusable = prepare_samples(samples, manifest)
    precision = network.facts.get("precision", "")
    slack = _SLACK.get(precision, FOREIGN)
    graph = network.graph.SerializeToString()
    try:
        parity = check_parity(network.run, graph, manifest, tensors, slack=slack)
    except ExportError as error:
        raise ExportError(f"{error}. {network.advice}" if network.advice else str(error)) from error
    calibrated, manifest, notes = _calibrate(network, manifest, samples, tensors)
    manifest, right = _measure(calibrated, manifest, samples, tensors)
    report = _write(calibrated, manifest, out, parity, samples, int8=int8)
    cuts = [f"cut off: {line}" for line in network.cut]
    all_notes = (*cuts, samples.note, *unusable, *reading.notes, *notes)
    return Brought(report, network.origin, tuple(filter(None, all_notes)), right)


def _write(
    graph: ModelProto,
    manifest: Manifest,
    out: Path,
    parity: Parity,
    samples: Samples,
    *,
    int8: bool,
) -> Report:
    """Writes the model file, in 8 bits where these pay."""
    write = partial(write_model, graph, manifest, out, parity=parity, pictures=len(samples.paths))
    if not int8:
        return write()
    try:
        return write(int8=_int8_samples(samples))
    except CaptchaRTError:
        raise
    except Exception as error:
        # onnxruntime's tools for 8 bits raise errors of many kinds on graphs of other exporters.
        raise ExportError(
            f"this network can't be computed in 8 bits ({type(error).__name__}: {error}): leave "
            "--int8 out"
        ) from error


def _trials(network: ForeignNetwork, told: Told, samples: Samples) -> Trials:
    """The pictures to find things out on; those that can't be decoded are left out."""
    merge = told.recipe.merge if told.recipe is not None else None
    labels = samples.labels if samples.labels is not None else [""] * len(samples.paths)
    shown, texts = [], []
    for path, label in spread(list(zip(samples.paths, labels, strict=True)), THEN):
        with suppress(ImageDecodeError):
            shown.append(decode_image(path, merge=merge))
            texts.append(label)
    return Trials(network, shown, None if samples.labels is None else texts)


def _with_channels(network: ForeignNetwork, told: Told) -> ForeignNetwork:
    """Gives an input `(N, H, W)`, or `(N, H * W * C)`, the axes that the recipe makes.

    Raises:
        ExportError: If the recipe has to be told for that, or makes another number of values.
    """
    axes = tuple(int(size or 0) for size in shape_of(network.graph.graph.input[0])[1:])
    if len(axes) == 3:
        return network
    made = (*axes, 1) if len(axes) == 2 else made_by(told)
    if made is None or prod(made) != prod(axes):
        raise ExportError(
            f"the network takes {axes} for a picture, without saying which are its sides: name the "
            "recipe that makes as many numbers, such as --recipe grey,scale,resize:50x200"
        )
    graph = with_reshaped_input(network.graph, made)

    def run(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return network.run(rows.reshape(len(rows), *axes))

    return replace(network, graph=graph, run=run)


def _by_positions(network: ForeignNetwork, reading: Reading) -> ForeignNetwork:
    """Gives an output `(N, L * C)` the axes `(N, L, C)`."""
    length = reading.length
    if length is None or reading.decoder != "position":
        return network

    def change(names: list[str]) -> list[onnx.NodeProto]:
        return [helper.make_node("Reshape", [*names, "positions"], [_SCORES + "_by_position"])]

    graph = with_outputs(network.graph, _SCORES + "_by_position", change)
    classes = reading.charset.classes
    constant(graph, "positions", [-1, length, classes])
    set_shape(graph.graph.output[0], [None, length, classes])

    def by_positions(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        scores = network.run(rows)
        return scores.reshape(len(scores), length, classes)

    return replace(network, graph=graph, run=by_positions)


def describe(
    network: ForeignNetwork, reading: Reading, samples: Samples, name: str, licence: str
) -> Manifest:
    """The description of a network, before it is calibrated.

    Raises:
        ExportError: If the recipe doesn't make what the network takes.
    """
    check_graph(network.graph)
    [image] = network.graph.graph.input
    [output] = network.graph.graph.output
    texts = samples.labels or ()
    sums = sum(value_of(text) is not None for text in texts)
    try:
        return Manifest(
            name=name,
            charset=reading.charset,
            recipe=reading.recipe,
            decoder=reading.decoder,
            scores=network.scores,
            input=Tensor(image.name, shape_of(image)),
            output=Tensor(output.name, shape_of(output)),
            arithmetic=2 * sums > len(texts),
            training={
                "brought": "trained elsewhere, and brought by `captcha-rt export`",
                "format": network.origin,
                **network.facts,
                "cut_off": "; ".join(network.cut),
                "found_out": "; ".join(reading.notes),
            },
            licence=licence,
        )
    except CaptchaRTError as error:
        raise ExportError(
            f"{error}; name another recipe by --recipe, the one taken is {in_short(reading.recipe)}"
        ) from error


def _calibrate(
    network: ForeignNetwork, manifest: Manifest, samples: Samples, tensors: NDArray[np.float32]
) -> tuple[ModelProto, Manifest, list[str]]:
    """The graph and its description with the temperature that fits the labels, if there are any."""
    graph = network.graph
    if samples.labels is None:
        return graph, manifest, ["confidence: as the network gives it; labels would calibrate it"]
    logits = manifest
    if manifest.scores == "probabilities":
        bare = without_softmax(graph)
        if bare is None:
            return graph, manifest, ["confidence: as the network gives it: it has no softmax"]
        graph, logits = bare, replace(manifest, scores="logits")
    scores = _scores(graph, logits, tensors)
    if manifest.scores == "probabilities":
        expected = _scores(network.graph, manifest, tensors)
        if not np.abs(softmax(scores) - expected).max() < _EXACT:
            return (
                network.graph,
                manifest,
                ["confidence: as the network gives it: its softmax is another"],
            )
    texts = [text for text, _ in logits.decode(scores)]
    right = sum(text == label for text, label in zip(texts, samples.labels, strict=True))
    if right < _FEWEST_RIGHT:
        note = f"confidence: as the network gives it: {right} pictures read right are too few"
        return network.graph, manifest, [note]
    most = max(_FIT_PICTURES, _FIT_NUMBERS * len(scores) // scores.size)
    fitted = spread(range(len(samples.labels)), most)
    labels = [samples.labels[index] for index in fitted]
    temperature = fit_temperature(_rows(scores, fitted, logits), labels, logits)
    note = (
        f"confidence: temperature {temperature}, fitted on these pictures; if the network learned "
        "from them, its confidences are too high for others"
    )
    return graph, replace(logits, temperature=temperature), [note]


def _rows(
    scores: NDArray[np.float32], pictures: list[int], manifest: Manifest
) -> NDArray[np.float32]:
    """The scores of some pictures, each of which is a row, or a row for each glyph."""
    each = scores.reshape(-1, *([manifest.glyphs] if manifest.glyphs else []), *scores.shape[1:])
    return each[pictures].reshape(-1, *scores.shape[1:])


def _scores(
    graph: ModelProto, manifest: Manifest, tensors: NDArray[np.float32]
) -> NDArray[np.float32]:
    session = Session(graph.SerializeToString(), manifest, device="cpu")
    return run_batches(session, manifest, tensors, 64)


def _measure(
    graph: ModelProto, manifest: Manifest, samples: Samples, tensors: NDArray[np.float32]
) -> tuple[Manifest, int | None]:
    """The description with the accuracy on the labelled pictures, and how many are read right."""
    if samples.labels is None:
        return manifest, None
    answers = manifest.decode(_scores(graph, manifest, tensors))
    predictions = [
        Prediction(path.name, label, text, decoded.confidence)
        for path, label, (text, decoded) in zip(samples.paths, samples.labels, answers, strict=True)
    ]
    right = sum(p.text == p.truth for p in predictions)
    return replace(manifest, accuracy={PART: summarize(predictions)}), right


def _int8_samples(samples: Samples) -> Int8Samples:
    """The samples for 8 bits: the same pictures show the ranges and what is lost."""
    if samples.labels is None:
        raise ExportError(
            "--int8 needs labelled pictures, which show what it costs: name them by --pictures"
        )
    held_back = [
        SampleFile(path, label, PART)
        for path, label in zip(samples.paths, samples.labels, strict=True)
    ]
    return Int8Samples(spread(samples.paths, CALIBRATION_SAMPLES), held_back)
