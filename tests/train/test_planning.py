"""What the plan of a training tells of the texts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from captcha_rt.charset import Charset
from captcha_rt_train.data.samples import Dataset, Sample
from captcha_rt_train.errors import TrainingError
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "compct"}, "network is 'compct'; it must be one of "),
        ({"decoder": "cct"}, "decoder is 'cct'; it must be one of "),
        ({"layers": {"contxt": True}}, "preset 'crnn' can't read 2 characters .*contxt"),
    ],
)
def test_a_mistyped_preset_is_said_in_a_line(change: dict[str, Any], message: str) -> None:
    """What a person wrote into a preset's file is no KeyError and no TypeError."""
    preset = replace(load_preset("crnn"), **change)
    shape = (200, 50, 1)
    sample = Sample(None, "1", "ab", np.zeros((50, 200, 1), np.uint8), np.zeros(shape, np.float32))
    dataset = Dataset((sample,), shape, Charset("ab", blank=0), (), "x", "x")
    with pytest.raises(TrainingError, match=message):
        plan(dataset, preset)


def test_the_general_model_reads_sums_and_texts_of_three_or_more() -> None:
    """These are the mixture's texts."""
    manifest = plan_general(load_preset("general")).manifest
    assert (manifest.arithmetic, manifest.shortest) == (True, 3)
