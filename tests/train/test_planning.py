"""What the plan of a training tells of the texts."""

import numpy as np
import pytest

from captcha_rt.charset import Charset
from captcha_rt_train.data.samples import Dataset, Sample
from captcha_rt_train.presets import load_preset
from captcha_rt_train.training.planning import plan
from captcha_rt_train.training.pretraining import plan_general


@pytest.mark.parametrize(
    ("labels", "arithmetic", "shortest"),
    [
        (["3+5=?", "12-4=?", "7+1=?"], True, 5),
        (["3-5", "abc", "abcd"], False, 3),
        (["12345", "123456", ""], False, 5),
        (["", ""], False, 0),
        (["abcd", "dcba", "badc"], False, 4),
    ],
)
def test_the_labels_tell_what_the_texts_are(
    labels: list[str], arithmetic: bool, shortest: int
) -> None:
    """The description says whether most labels are sums, and how long the shortest text is."""
    preset = load_preset("crnn")
    shape = (200, 50, 1)
    samples = tuple(
        Sample(None, str(n), label, np.zeros((50, 200, 1), np.uint8), np.zeros(shape, np.float32))
        for n, label in enumerate(labels)
    )
    charset = Charset("+-=?0123456789abcd", blank=0)
    manifest = plan(Dataset(samples, shape, charset, (), "x", "x"), preset).manifest
    assert (manifest.arithmetic, manifest.shortest) == (arithmetic, shortest)
    assert manifest.length == 0  # too few to tell
    many = plan(Dataset(samples * 20, shape, charset, (), "x", "x"), preset).manifest
    lengths = {len(label) for label in labels if label}
    assert many.length == (lengths.pop() if len(lengths) == 1 else 0)


def test_the_general_model_reads_sums_and_texts_of_three_or_more() -> None:
    """These are the mixture's texts."""
    manifest = plan_general(load_preset("general")).manifest
    assert (manifest.arithmetic, manifest.shortest) == (True, 3)
