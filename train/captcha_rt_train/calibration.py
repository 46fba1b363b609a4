"""Makes a network's confidences mean what they say."""

from collections.abc import Sequence
from dataclasses import replace

import keras
import numpy as np

from captcha_rt.manifest import Manifest
from captcha_rt_train.data import Batches, Item

_TEMPERATURES = np.geomspace(0.25, 4, 65)  # 1 is the middle one
_TINY = 1e-6


def fit_temperature(model: keras.Model, manifest: Manifest, items: Sequence[Item]) -> float:
    """What to divide the logits by, so that the confidences are those of the answers being right.

    Of some temperatures the one with the smallest log loss of the texts' confidences. A right
    answer counts as right by `(r + 1) / (r + 2)`, a wrong one by `1 / (w + 2)`, of r and w in all:
    else the temperature of a network that misread none would be 0. Sources: C. Guo et al., "On
    Calibration of Modern Neural Networks" (ICML 2017); J. Platt, "Probabilistic Outputs for
    Support Vector Machines" (1999).

    Args:
        model: From inputs to logits, as the manifest says.
        manifest: What it is.
        items: Pictures that it was not trained on.
    """
    scores = model.predict(Batches(items, manifest, batch_size=64), verbose=0)
    right = np.array(
        [text == item.label for item, (text, _) in zip(items, manifest.decode(scores), strict=True)]
    )
    hits, misses = right.sum(), (~right).sum()
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))

    def log_loss(temperature: float) -> float:
        decoded = replace(manifest, temperature=temperature).decode(scores)
        sure = np.clip([answer.confidence for _, answer in decoded], _TINY, 1 - _TINY)
        return float(-np.mean(target * np.log(sure) + (1 - target) * np.log(1 - sure)))

    losses = [log_loss(temperature) for temperature in _TEMPERATURES.tolist()]
    return round(float(_TEMPERATURES[np.argmin(losses)]), 4)
