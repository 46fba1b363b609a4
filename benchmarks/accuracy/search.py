"""How the preset `compact` was chosen, accuracy against latency: `python -m benchmarks search`.

Trains each candidate for a few epochs on `benchmarks/default.toml`, exports it in float, in 16 and
in 8 bits, and times all exports in turn on one thread. Writes `benchmarks/results/search.json`. The
accuracy is measured on the validation pictures; the test pictures are not read. `CAPTCHA_DATA`
names the folder of real labelled pictures. The runs are in `benchmarks/runs/search`: a stopped
command continues where it was. It takes about 40 minutes on two cores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.harness import (
    CONFIG,
    RESULTS,
    RUNS,
    captcha_data,
    command_parser,
    in_turn,
    machine,
    say,
    write_json,
)
from benchmarks.sessions import bare_session
from captcha_rt.manifest import Manifest
from captcha_rt.tiles import suit_processor
from captcha_rt_export.run import Run

if TYPE_CHECKING:
    from captcha_rt_train.networks import Dimensions
    from captcha_rt_train.presets import Preset, Settings

EPOCHS: Final = 10
TIMED: Final = 500  # rounds of the clock


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variant of the preset `compact`.

    Attributes:
        why: What is tried.
        layers: The layers' parameters that differ from the preset's.
        size: Height and width of the input; None keeps the preset's.
        network: The name of the network.
        settings: The training settings that differ from the preset's.
    """

    why: str
    layers: dict[str, Any] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    network: str = "compact"
    settings: dict[str, Any] = field(default_factory=dict)


def rows(*filters: int) -> list[list[int]]:
    """Five convolutions that leave a fourth of the columns and an eighth of the rows.

    Args:
        *filters: The number of filters of each convolution.

    Returns:
        Filters, side and strides of each convolution.
    """
    strides = ((2, 2), (2, 2), (1, 1), (2, 1), (1, 1))
    sides = (5, 3, 3, 3, 3)
    return [[f, side, *s] for f, side, s in zip(filters, sides, strides, strict=True)]


def columns(filters: int, first: int = 7, second: int = 5) -> list[list[int]]:
    """A convolution over whole columns, and two along the row.

    Args:
        filters: The number of filters of each convolution.
        first: The width of the first convolution along the row.
        second: The width of the second.

    Returns:
        Filters, width and dilation of each convolution.
    """
    return [[filters, 1, 1], [filters, first, 1], [filters, second, 2]]


CANDIDATES: Final = {
    "preset": Candidate("as it is"),
    "half width": Candidate(
        "fewer filters", {"rows": rows(8, 12, 16, 24, 24), "columns": columns(40)}
    ),
    "wide": Candidate(
        "half as many filters more", {"rows": rows(12, 36, 48, 72, 72), "columns": columns(120)}
    ),
    "wide stem": Candidate("twice the filters first", {"rows": rows(16, 24, 32, 48, 48)}),
    "deep": Candidate(
        "one more convolution at two sizes",
        {
            "rows": [
                [8, 5, 2, 2],
                [24, 3, 2, 2],
                [24, 3, 1, 1],
                [32, 3, 1, 1],
                [40, 3, 2, 1],
                [40, 3, 1, 1],
                [48, 3, 1, 1],
            ]
        },
    ),
    "depthwise": Candidate(
        "depthwise and 1 x 1 convolutions after the first, at twice the width",
        {"rows": rows(8, 48, 64, 96, 96)},
        network="depthwise",
    ),
    "narrow": Candidate(
        "a receptive field of fewer columns along the row", {"columns": columns(80, 3, 3)}
    ),
    "40 x 160": Candidate("a lower input", size=(40, 160)),
    "20 time steps": Candidate(
        "a time step every eight columns",
        {"rows": [[8, 5, 2, 2], [24, 3, 2, 2], [32, 3, 1, 1], [48, 3, 2, 2], [48, 3, 1, 1]]},
    ),
    "CTC alone": Candidate("no position head", settings={"position_weight": 0.0}),
}


def depthwise(
    dimensions: "Dimensions",
    *,
    rows: Sequence[Sequence[int]],
    columns: Sequence[Sequence[int]],
) -> Any:  # noqa: ANN401  (Keras has no types)
    """`networks.compact` with depthwise convolutions.

    Each convolution over the picture but the first becomes two: a depthwise one and one of 1 x 1.

    Args:
        dimensions: The sizes of the input and the output.
        rows: The convolutions over the picture, each with filters, side and strides.
        columns: The convolutions along the row, each with filters, width and dilation.
    """
    import keras
    from keras import layers

    image = keras.Input(dimensions.input_shape, name="image")
    x = image

    def finish(x: Any) -> Any:  # noqa: ANN401
        return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))

    for number, (filters, side, *strides) in enumerate(rows):
        options = {"padding": "same", "use_bias": False}
        if number == 0:
            x = finish(layers.Conv2D(filters, side, strides=strides, **options)(x))
            continue
        if strides[0] != strides[1]:  # TensorFlow's depthwise convolution has one stride
            x = layers.MaxPooling2D(strides)(x)
            strides = [1, 1]
        x = layers.DepthwiseConv2D(side, strides=strides, **options)(x)
        x = layers.BatchNormalization(momentum=0.95)(x)
        x = finish(layers.Conv2D(filters, 1, use_bias=False)(x))
    x = finish(layers.Conv2D(columns[0][0], (x.shape[1], 1), use_bias=False)(x))
    for filters, width, dilation in columns[1:]:
        x = layers.Conv2D(
            filters, (1, width), dilation_rate=(1, dilation), padding="same", use_bias=False
        )(x)
        x = finish(x)
    x = layers.Reshape(x.shape[2:], name="features")(x)
    logits = layers.Dense(dimensions.classes, name="logits")(x)
    return keras.Model(image, logits, name="depthwise")


def variant(candidate: Candidate) -> tuple["Preset", "Settings"]:
    """The preset and the settings that a candidate is trained with."""
    from captcha_rt.recipe import Recipe
    from captcha_rt.steps.simple import Resize
    from captcha_rt_train.presets import load_preset

    preset = load_preset("compact")
    recipe = preset.recipe
    if candidate.size is not None:
        resize = Resize(*candidate.size)
        recipe = Recipe(tuple(resize if isinstance(s, Resize) else s for s in recipe.steps))
    preset = replace(
        preset,
        network=candidate.network,
        recipe=recipe,
        layers={**preset.layers, **candidate.layers},
    )
    settings = replace(preset.settings, epochs=EPOCHS, patience=EPOCHS, **candidate.settings)
    return preset, settings


def train_candidate(candidate: Candidate, run: Run) -> Manifest:
    """Trains a candidate, unless its run is finished; returns its manifest."""
    from captcha_rt_train.networks import NETWORKS
    from captcha_rt_train.training.job import Job, Observer
    from captcha_rt_train.training.train import train

    NETWORKS["depthwise"] = depthwise
    preset, settings = variant(candidate)
    if not run.finished:
        train(Job(CONFIG, run, preset, settings, resume=run.exists, observer=Observer(verbose=2)))
    return run.manifest


def export_all(run: Run) -> dict[str, bytes]:
    """The run's graph in float, in 16 and in 8 bits."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    from captcha_rt_export.convert import convert
    from captcha_rt_export.export import load_keras
    from captcha_rt_export.forms import INNER, measure_ranges, quantize

    proto = convert(load_keras(run))
    shape = run.manifest.input.shape[1:]
    rows = np.random.default_rng(0).random((8, *filter(None, shape)), np.float32)
    return {
        "float": proto.SerializeToString(),
        "float16": convert_float_to_float16(proto, keep_io_types=True).SerializeToString(),
        "int8": quantize(proto, measure_ranges(proto, rows), INNER).SerializeToString(),
    }


def time_all(graphs: Mapping[str, Mapping[str, bytes]]) -> dict[str, dict[str, float]]:
    """Median milliseconds of a picture on one thread, all graphs in turn.

    Args:
        graphs: The graphs by the candidate's name, then by precision.

    Returns:
        The milliseconds by the candidate's name, then by precision.
    """
    calls = {}
    for name, precisions in graphs.items():
        for precision, graph in precisions.items():
            session = bare_session(suit_processor(graph))
            [image] = session.get_inputs()
            noise = np.random.default_rng(0).random((1, *image.shape[1:]), np.float32)
            calls[f"{name} {precision}"] = partial(session.run, None, {image.name: noise})
    times = in_turn(calls, rounds=TIMED)
    return {
        name: {precision: times[f"{name} {precision}"]["p50"] for precision in precisions}
        for name, precisions in graphs.items()
    }


def entry(
    name: str,
    manifest: Manifest,
    graphs: Mapping[str, bytes],
    milliseconds: Mapping[str, float],
) -> dict[str, Any]:
    """A candidate's entry in the result file.

    Args:
        name: One of `CANDIDATES`.
        manifest: The manifest of the candidate's run.
        graphs: The candidate's graphs by precision.
        milliseconds: The time of a picture by precision.

    Returns:
        The entry. `exact_match` is for all validation pictures; the name of each source is a key
        for the exact match on the source's validation pictures.
    """
    exact = {part: metrics["exact_match"] for part, metrics in manifest.accuracy.items()}
    return {
        "candidate": name,
        "why": CANDIDATES[name].why,
        "layers": manifest.training["layers"],
        "input": manifest.input.shape[1:],
        "output": manifest.output.shape[1:],
        "parameters": manifest.training["parameters"],
        "exact_match": exact["validation"],
        **{
            part.removeprefix("validation "): value
            for part, value in exact.items()
            if part.startswith("validation ")
        },
        "milliseconds": milliseconds,
        "bytes": {precision: len(graph) for precision, graph in graphs.items()},
        "seconds": manifest.training["seconds"],
    }


def main(argv: Sequence[str], runs: Path = RUNS, results: Path = RESULTS) -> None:
    """Trains all candidates, times them and writes the results."""
    command_parser("search", __doc__).parse_args(argv)
    captcha_data()
    manifests, graphs = {}, {}
    for name, candidate in CANDIDATES.items():
        run = Run(runs / "search" / name.replace(" ", "-"))
        say(f"[bold]{name}[/bold]: {candidate.why}")
        manifests[name] = train_candidate(candidate, run)
        graphs[name] = export_all(run)
    milliseconds = time_all(graphs)
    result = {
        "epochs": EPOCHS,
        "pictures": manifests["preset"].training["pictures"],
        "candidates": [
            entry(name, manifests[name], graphs[name], milliseconds[name]) for name in CANDIDATES
        ],
        "machine": machine(),
    }
    write_json(results / "search.json", result)
