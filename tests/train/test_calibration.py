"""The temperature with which a confidence is the probability of being right."""

import keras
import numpy as np
import pytest

from captcha_rt.charset import Charset
from captcha_rt.manifest import Manifest, Tensor
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Scale
from captcha_rt_train.data.samples import Sample
from captcha_rt_train.training.calibration import fit_temperature

STEPS, CLASSES = 5, 4


@pytest.mark.parametrize(
    ("accuracy", "sharpness", "low", "high"),
    [
        (0.6, 6.0, 1.5, 4.0),  # confidences too high: the temperature lowers them
        (1.0, 2.5, 0.25, 0.7),  # confidences too low: the temperature raises them
    ],
)
def test_confidences_come_close_to_the_accuracy(
    accuracy: float, sharpness: float, low: float, high: float
) -> None:
    """The confidences of over- and under-confident networks come close to the accuracy."""
    manifest = Manifest(
        name="one",
        charset=Charset("abc", blank=0),
        recipe=Recipe((Scale(),)),
        decoder="ctc",
        scores="logits",
        input=Tensor("scores", (None, STEPS, CLASSES, 1)),
        output=Tensor("scores", (None, STEPS, CLASSES)),
    )
    scores = np.zeros((STEPS, CLASSES), np.float32)
    scores[:, 0] = 20  # blanks, and one step that says `b`
    scores[2] = [0, 0, sharpness, 0]
    count = 200
    labels = ["b" if n < accuracy * count else "a" for n in range(count)]
    picture = np.zeros((1, 1, 1), np.uint8)
    samples = [
        Sample(None, str(n), label, picture, scores[..., None]) for n, label in enumerate(labels)
    ]
    rows = keras.Input((STEPS, CLASSES, 1), name="scores")
    network = keras.Model(rows, keras.layers.Reshape((STEPS, CLASSES))(rows))
    temperature = fit_temperature(network, manifest, samples)
    assert low < temperature < high
    _, before = manifest.decode(scores[None])[0]
    _, after = manifest.decode(scores[None] / temperature)[0]
    assert abs(after.confidence - accuracy) < 0.05 < abs(before.confidence - accuracy)
