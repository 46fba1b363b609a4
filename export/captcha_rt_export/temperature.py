"""Finds the temperature with which a confidence is the probability of being right."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from captcha_rt.manifest import Manifest

_TEMPERATURES = np.geomspace(0.25, 4, 65)  # 1 is the middle one
_EPSILON = 1e-6  # keeps the logarithm of a confidence finite


def fit_temperature(
    scores: NDArray[np.float32], labels: Sequence[str], manifest: Manifest
) -> float:
    """Finds the number to divide the logits by.

    The temperature with the smallest log loss of the texts' confidences is chosen. With r right and
    w wrong predictions, the target is `(r + 1) / (r + 2)` for a right prediction and `1 / (w + 2)`
    for a wrong one: with targets of 1 and 0, the temperature of a network that misread nothing
    would be 0. Sources: C. Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017);
    J. Platt, "Probabilistic Outputs for Support Vector Machines" (1999).

    Args:
        scores: The logits of pictures that the network was not trained on, at least one.
        labels: The pictures' labels.
        manifest: The network's description.

    Returns:
        The temperature, in 0.25..4.
    """
    texts = [text for text, _ in manifest.decode(scores)]
    right = np.array([text == label for text, label in zip(texts, labels, strict=True)])
    hits, misses = right.sum(), (~right).sum()
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))

    def log_loss(temperature: float) -> float:
        decoded = replace(manifest, temperature=temperature).decode(scores)
        found = np.clip([answer.confidence for _, answer in decoded], _EPSILON, 1 - _EPSILON)
        return float(-np.mean(target * np.log(found) + (1 - target) * np.log(1 - found)))

    losses = [log_loss(temperature) for temperature in _TEMPERATURES.tolist()]
    return round(float(_TEMPERATURES[np.argmin(losses)]), 4)
