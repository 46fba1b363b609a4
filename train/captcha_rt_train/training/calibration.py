"""Calibration: makes a network's confidences the probabilities of being right."""

from collections.abc import Sequence

import keras

from captcha_rt.manifest import Manifest
from captcha_rt_export import temperature
from captcha_rt_train.data.samples import Sample
from captcha_rt_train.training.fitting import predict_scores


def fit_temperature(model: keras.Model, manifest: Manifest, samples: Sequence[Sample]) -> float:
    """Finds the number to divide a network's logits by, as `temperature.fit_temperature` does.

    Args:
        model: A model from inputs to logits, as the manifest says.
        manifest: The model's description.
        samples: Samples that the model was not trained on, at least one.

    Returns:
        The temperature, in 0.25..4.
    """
    scores = predict_scores(model, manifest, samples)
    return temperature.fit_temperature(scores, [sample.label for sample in samples], manifest)
