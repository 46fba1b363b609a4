"""Scores that a decoder must not take for what the description says they are."""

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from captcha_rt import ScoresError, ctc_greedy_decode
from captcha_rt.constrained import Constraints
from captcha_rt.decoders import TEMPERATURES, position_decode, softmax
from captcha_rt.model import load_model

RNG = np.random.default_rng(0)


def rows(*shape: int) -> NDArray[np.float32]:
    """Probabilities of the given shape."""
    return softmax(RNG.normal(0, 5, shape).astype(np.float32))


@pytest.mark.parametrize("decode", [ctc_greedy_decode, position_decode])
@pytest.mark.parametrize(
    "row",
    [
        [48.0, -1.07, 3.0],
        [0.5, 0.6, -0.1],
        [0.9, 0.9, 0.9],
        [0.2, 0.2, 0.2],
        [0.0, 0.0, 0.0],
        [1.02, 0.0, 0.0],
        [3e38, 3e38, 3e38],
        [3e38, -3e38, 1.0],
    ],
)
def test_probabilities_that_are_none_are_refused(decode, row: list[float]) -> None:
    """One row among good ones that is not in 0..1, or doesn't add up to 1, is an error."""
    scores = rows(2, 7, 3)
    assert len(decode(scores, blank=0, kind="probabilities")) == 2
    scores[1, 4] = row
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ScoresError, match="no probabilities"):
            decode(scores, blank=0, kind="probabilities")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_probabilities_that_are_no_numbers_are_refused(value: float) -> None:
    """NaN and infinities are named as such, and NumPy prints no warning."""
    scores = rows(1, 5, 4)
    scores[0, 2, 1:3] = value, -value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ScoresError, match="NaN or infinite"):
            ctc_greedy_decode(scores, blank=0, kind="probabilities")


@pytest.mark.parametrize("classes", [2, 36, 5000])
def test_rounded_probabilities_are_read(classes: int) -> None:
    """Those of float16 and bfloat16 pass, with confidences in 0..1 and nearly the same."""
    scores = rows(1, 9, classes)
    [exact] = ctc_greedy_decode(scores, blank=0, kind="probabilities")
    half = scores.astype(np.float16).astype(np.float32)
    bfloat = (scores.view(np.uint32) + 0x8000 & 0xFFFF0000).view(np.float32)
    for rounded in (half, bfloat):
        [found] = ctc_greedy_decode(rounded, blank=0, kind="probabilities")
        assert found.confidence == pytest.approx(exact.confidence, abs=0.02)
        assert all(0 <= c <= 1 for c in found.confidences)


def test_no_confidence_is_above_1() -> None:
    """Not even that of a row which adds up to a little more than 1."""
    scores = np.full((1, 6, 3), 0, np.float32)
    scores[..., 1] = 1.000003
    for decode in (ctc_greedy_decode, position_decode):
        [found] = decode(scores, blank=0, kind="probabilities")
        assert found.confidence <= 1
        assert max(found.confidences) <= 1


@pytest.mark.parametrize("temperature", [5e-324, 0.0, -1.0, 1e-4, 1e4, 1e300, np.inf, np.nan])
@pytest.mark.parametrize("decode", [ctc_greedy_decode, position_decode])
def test_a_temperature_out_of_range_is_refused(decode, temperature: float) -> None:
    """With a temperature of 5e-324 every logit would become infinite or NaN."""
    with pytest.raises(ValueError, match="the temperature is"):
        decode(rows(1, 5, 3), blank=0, kind="logits", temperature=temperature)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("size", [0, 1e-30, 1.0, 1e4, 1e18, 3e38])
def test_logits_of_any_size_have_a_confidence(temperature: float, size: float) -> None:
    """At the smallest and largest temperature, too: in 0..1, and never NaN."""
    scores = (RNG.uniform(-1, 1, (3, 6, 4)) * size).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for found in position_decode(scores, blank=None, kind="logits", temperature=temperature):
            assert 0 <= found.confidence <= 1


def test_constraints_read_the_same_scores(stripes) -> None:
    """What is known of a text doesn't let scores pass that are no probabilities."""
    manifest = load_model(stripes).manifest
    probabilities = np.full((1, 16, 4), 7, np.float32)
    object.__setattr__(manifest, "scores", "probabilities")
    with pytest.raises(ScoresError):
        manifest.decode(probabilities, Constraints(length=2))
