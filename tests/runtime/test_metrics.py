import pytest
from hypothesis import given
from hypothesis import strategies as st

from captcha_rt.metrics import (
    Confusion,
    Prediction,
    align,
    align_characters,
    calibration_error,
    evaluate,
    summarize,
    wilson_interval,
)


def prediction(truth: str, text: str) -> Prediction:
    return Prediction("p.png", truth, text, 0.5)


def test_metrics_of_a_small_set() -> None:
    """The metrics of three predictions equal those computed by hand."""
    pairs = [("abcd", "abcd"), ("abcd", "abxd"), ("ab", "b")]
    result = evaluate([prediction(truth, text) for truth, text in pairs])
    assert (result.total, result.errors) == (3, 2)
    assert result.exact_match == pytest.approx(1 / 3)
    assert result.character_error_rate == pytest.approx(2 / 10)
    assert result.position_accuracy == pytest.approx((2 / 3, 2 / 3, 1 / 2, 1))
    assert set(result.confusions) == {Confusion("c", "x", 1), Confusion("a", "", 1)}
    assert [r.text for r in result.misread] == ["abxd", "b"]


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (8, 10, 0.4902, 0.9433), (98, 100, 0.93, 0.9945)],
)
def test_wilson_interval(right: int, total: int, low: float, high: float) -> None:
    """The bounds equal published values of the 95 % interval."""
    assert wilson_interval(right, total) == pytest.approx((low, high), abs=1e-4)


words = st.text("abc", max_size=6)


@given(words, words)
def test_edits_lead_from_the_truth_to_the_text(truth: str, text: str) -> None:
    """The edits account for every character that is not shared."""
    edits = align(truth, text)
    kept = len(truth) - sum(1 for a, _ in edits if a)
    assert kept == len(text) - sum(1 for _, b in edits if b)
    assert abs(len(truth) - len(text)) <= len(edits) <= max(len(truth), len(text))
    assert (not edits) == (truth == text)


@given(words, words)
def test_aligned_characters_spell_both_texts(truth: str, text: str) -> None:
    """The pairs hold every character of both in order; those that differ are the edits."""
    pairs = align_characters(truth, text)
    assert "".join(a for a, _ in pairs) == truth
    assert "".join(b for _, b in pairs) == text
    assert [(a, b) for a, b in pairs if a != b] == align(truth, text)


def test_no_predictions_are_refused() -> None:
    """Without predictions there is nothing to measure: a ValueError."""
    with pytest.raises(ValueError, match="no predictions"):
        evaluate([])


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([(1.0, True)] * 4, 0.0),
        ([(1.0, True), (1.0, False)], 0.5),
        ([(0.55, True)] * 3 + [(0.55, False)], 0.2),
        ([(0.75, True), (0.75, True), (0.75, True), (0.75, False)], 0.0),
        ([(0.05, False), (0.95, True)], 0.05),
    ],
)
def test_the_calibration_error(answers: list[tuple[float, bool]], error: float) -> None:
    """The error is the difference of confidence and fraction right, over ten bins."""
    predictions = [Prediction("a.png", "x", "x" if right else "y", sure) for sure, right in answers]
    assert calibration_error(predictions) == pytest.approx(error)
    assert evaluate(predictions).calibration_error == pytest.approx(error)
    assert summarize(predictions)["pictures"] == len(answers)
