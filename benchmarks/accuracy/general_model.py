"""The general model of the wheel, made from a trunk: `python -m benchmarks general` measures it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.models import exported
from captcha_rt import load_model
from captcha_rt.cascade import recut, second_counts
from captcha_rt.decoders import Decoded
from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Prediction, calibration_error, summarize
from captcha_rt.model import EMBEDDED

CALIBRATION, CALIBRATION_SEED = 4000, 2**32
"""The number of drawn pictures that calibrate the model, and their seed, which no training can
have; some set the ranges."""

RANGES: Final = 400
"""The number of these pictures that set the ranges of 8 bits."""

RIGHT: Final = 0.98
"""The fraction of the accepted drawn pictures that has to be right: other kinds have fewer."""

TEMPERATURES: Final = tuple(round(0.4 + 0.02 * step, 2) for step in range(81))
"""The temperatures that are tried: the lower one is, the more is accepted."""

LIMITS: Final = (
    "It reads kinds of pictures that it was not trained on, and misreads many: look at the "
    "confidence. `solve` rejects what has less than the limit. The drawn pictures of its accuracy "
    "also set the temperature; docs/general-model.md has its accuracy on real pictures."
)
"""What the card says of the limits."""


def make_model(trunk_file: Path) -> bytes:
    """Makes a model file of a trunk: calibrated, in 8 bits, with its description.

    Raises:
        TrainingError: If the file is no trunk, or another network's.
    """
    from captcha_rt_train.generators.mixture import chosen_faces, draw
    from captcha_rt_train.generators.mixture.fetch import families
    from captcha_rt_train.presets import load_preset
    from captcha_rt_train.training.pretraining import plan_general
    from captcha_rt_train.training.trunk import load_trunk

    trunk = load_trunk(trunk_file)
    preset = load_preset(trunk.preset)
    planned = plan_general(preset)
    model = planned.build(planned.length)
    trunk.load_into(model, planned.manifest.charset.characters)
    faces = chosen_faces()
    drawn = [draw(np.random.default_rng([CALIBRATION_SEED, n]), faces) for n in range(CALIBRATION)]
    prepare = planned.manifest.prepare
    inputs = np.stack([prepare(d.picture) for d in drawn])
    anew = np.stack([prepare(recut(d.picture)) for d in drawn])
    labels = [d.label for d in drawn]
    first, second = (
        np.asarray(model.predict(tensors, batch_size=128, verbose=0), np.float32)
        for tensors in (inputs, anew)
    )
    manifest = replace(
        planned.manifest,
        name=trunk.preset,
        licence="Apache-2.0",
        min_confidence=load_model(EMBEDDED).manifest.min_confidence,
    )
    manifest, read = calibrate(manifest, first, second, labels)
    manifest = replace(
        manifest,
        accuracy={"drawn": summarize(read)},
        training={
            "preset": trunk.preset,
            "command": "captcha-rt fonts FONTS; captcha-rt pretrain -o RUN --faces "
            "FONTS/faces.npz --real benchmarks/general.toml, in seven parts, each from the trunk "
            "of the one before; the last: KERAS_BACKEND=jax captcha-rt pretrain -o RUN7 --faces "
            "FONTS/faces.npz --real benchmarks/general.toml --start RUN6/trunk.npz --restart "
            "--seed 6 --drawn 262144 (docs/general-model.md has the others); "
            "python -m benchmarks general",
            "pictures": trunk.pictures,
            "parameters": model.count_params(),
            "seed": trunk.seed,
            "calibration": f"{CALIBRATION} drawn pictures, {len(faces.names)} faces",
            "calibration_error": round(calibration_error(read), 4),
            "real": "one picture in 16: the training parts of captcha_v2, thsrc, court and metu",
            "limits": LIMITS,
            "fonts": "DejaVu and from Fontsource " + ", ".join(families()),
        },
    )
    return exported(model, manifest, inputs[:RANGES])


def calibrate(
    manifest: Manifest,
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    labels: Sequence[str],
) -> tuple[Manifest, list[Prediction]]:
    """Chooses the temperature with which `RIGHT` of the accepted answers are right.

    So the limit of the small model holds for both: a user need not ask which one has answered.

    Args:
        manifest: The description, with the limit.
        first: The logits of pictures that were not trained on.
        second: The logits of the same pictures, cut out anew; they count as in the cascade.
        labels: Their texts.

    Returns:
        The description with the temperature, and what is read with it.
    """
    for temperature in TEMPERATURES:
        tried = replace(manifest, temperature=temperature)
        read = [
            Prediction(str(number), label, *_counting(one, other))
            for number, (label, one, other) in enumerate(
                zip(labels, tried.decode(first), tried.decode(second), strict=True)
            )
        ]
        kept = [p for p in read if p.confidence >= manifest.min_confidence]
        if kept and sum(p.text == p.truth for p in kept) >= RIGHT * len(kept):
            return tried, read
    raise SystemExit(f"at no temperature {RIGHT:.0%} of the accepted answers are right")


def _counting(first: tuple[str, Decoded], second: tuple[str, Decoded]) -> tuple[str, float]:
    """The text and the confidence of the reading that counts."""
    counts = second_counts(first[1].confidence, second[1].confidence)
    text, decoded = second if counts else first
    return text, decoded.confidence


def describe(manifest: Manifest, size: int) -> dict[str, Any]:
    """The facts of the model for the result file."""
    facts = ("preset", "pictures", "parameters", "calibration_error")
    return {
        "bytes": size,
        **{fact: manifest.training[fact] for fact in facts},
        "temperature": manifest.temperature,
        "min_confidence": manifest.min_confidence,
        "drawn": manifest.accuracy["drawn"],
    }
