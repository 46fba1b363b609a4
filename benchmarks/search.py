"""How the preset `compact` was chosen: accuracy against latency, `python benchmarks/search.py`.

Trains each candidate for a few epochs on `benchmarks/default.toml`, exports it in float, in 16 and
in 8 bits, and times all of them in turn on one thread. Writes `benchmarks/results/search.json`. The
accuracy is that of the validation pictures; the test pictures are not looked at. Runs lie in
`benchmarks/runs/search`: stopped, the command goes on where it was. Takes about 40 minutes on two
cores.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from captcha_rt.manifest import Manifest
from harness import HERE, RESULTS, RUNS, in_turn, machine, write_json

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

RESULT = RESULTS / "search.json"
EPOCHS = 10
TIMED = 500

say = Console(stderr=True).print


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to build or train the network, where it differs from the preset.

    Attributes:
        why: What is tried.
        layers: The network's layers.
        size: The input's height and width.
        network: The network's name.
        settings: Of its training.
    """

    why: str
    layers: dict[str, Any] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    network: str = "compact"
    settings: dict[str, Any] = field(default_factory=dict)


def rows(*filters: int) -> list[list[int]]:
    """Five convolutions of so many filters; a fourth of the columns, an eighth of the rows stay."""
    strides = ((2, 2), (2, 2), (1, 1), (2, 1), (1, 1))
    sides = (5, 3, 3, 3, 3)
    return [[f, side, *s] for f, side, s in zip(filters, sides, strides, strict=True)]


def columns(filters: int, first: int = 7, second: int = 5) -> list[list[int]]:
    """The column, and two convolutions along the row."""
    return [[filters, 1, 1], [filters, first, 1], [filters, second, 2]]


CANDIDATES = {
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
    input_shape: tuple[int, ...],
    length: int,
    classes: int,
    *,
    rows: Sequence[Sequence[int]],
    columns: Sequence[Sequence[int]],
) -> Any:  # noqa: ANN401  (Keras has no types)
    """`networks.compact` with each convolution over the picture but the first in two."""
    import keras
    from keras import layers

    del length
    image = keras.Input(input_shape, name="image")
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
    return keras.Model(image, layers.Dense(classes, name="logits")(x), name="depthwise")


def train_candidate(candidate: Candidate, run: Path) -> Manifest:
    """Trains it, or takes up what was trained."""
    from captcha_rt.recipe import Recipe
    from captcha_rt.steps import Resize
    from captcha_rt_train.networks import NETWORKS
    from captcha_rt_train.presets import load_preset
    from captcha_rt_train.training import train

    NETWORKS["depthwise"] = depthwise
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
    if not (run / "manifest.json").exists():
        train(HERE / "default.toml", run, preset, settings, resume=run.exists(), verbose=2)
    return Manifest.from_json((run / "manifest.json").read_bytes())


def export_all(run: Path, manifest: Manifest) -> dict[str, bytes]:
    """The run's graph in float, in 16 and in 8 bits."""
    import keras
    import numpy as np
    from onnxruntime.transformers.float16 import convert_float_to_float16

    from captcha_rt_export.convert import convert
    from captcha_rt_export.quantize import quantize

    model = keras.models.load_model(run / "model.keras", compile=False)
    proto = convert(model)
    rows = np.random.default_rng(0).random((8, *manifest.input.shape[1:]), np.float32)
    return {
        "float": proto.SerializeToString(),
        "float16": convert_float_to_float16(proto, keep_io_types=True).SerializeToString(),
        "int8": quantize(proto, rows).SerializeToString(),
    }


def time_all(graphs: dict[str, dict[str, bytes]]) -> dict[str, dict[str, float]]:
    """Median milliseconds of a picture on one thread, all graphs in turn."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = {
        (name, kind): ort.InferenceSession(graph, options)
        for name, kinds in graphs.items()
        for kind, graph in kinds.items()
    }
    calls = {}
    for (name, kind), session in sessions.items():
        [given] = session.get_inputs()
        noise = np.random.default_rng(0).random((1, *given.shape[1:]), np.float32)
        calls[f"{name} {kind}"] = partial(session.run, None, {given.name: noise})
    times = in_turn(calls, rounds=TIMED)
    return {
        name: {kind: times[f"{name} {kind}"]["p50"] for kind in kinds}
        for name, kinds in graphs.items()
    }


def main() -> None:
    """Trains all candidates, times them and writes the table."""
    if "CAPTCHA_DATA" not in os.environ:
        raise SystemExit("CAPTCHA_DATA does not name the folder of real labelled pictures")
    manifests, graphs = {}, {}
    for name, candidate in CANDIDATES.items():
        run = RUNS / "search" / name.replace(" ", "-")
        say(f"[bold]{name}[/bold]: {candidate.why}")
        manifests[name] = train_candidate(candidate, run)
        graphs[name] = export_all(run, manifests[name])
    milliseconds = time_all(graphs)
    entries = []
    for name, candidate in CANDIDATES.items():
        manifest = manifests[name]
        found = {part: figures["exact_match"] for part, figures in manifest.accuracy.items()}
        entries.append(
            {
                "candidate": name,
                "why": candidate.why,
                "layers": manifest.training["layers"],
                "input": manifest.input.shape[1:],
                "output": manifest.output.shape[1:],
                "parameters": manifest.training["parameters"],
                "exact_match": found["validation"],
                **{
                    part.removeprefix("validation "): value
                    for part, value in found.items()
                    if part.startswith("validation ")
                },
                "milliseconds": milliseconds[name],
                "bytes": {kind: len(graph) for kind, graph in graphs[name].items()},
                "seconds": manifest.training["seconds"],
            }
        )
    result = {
        "epochs": EPOCHS,
        "pictures": manifests["preset"].training["pictures"],
        "candidates": entries,
        "machine": machine(),
    }
    write_json(RESULT, result)


if __name__ == "__main__":
    main()
