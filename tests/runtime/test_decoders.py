import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from captcha_rt import ScoresError, ctc_greedy_decode
from captcha_rt.decoders import Decoded, position_decode


def probabilities(best: list[int], classes: int, sure: float = 0.9) -> NDArray[np.float32]:
    """Scores `(1, T, classes)` with the given best classes."""
    scores = np.full((1, len(best), classes), (1 - sure) / (classes - 1), np.float32)
    scores[0, range(len(best)), best] = sure
    return scores


@pytest.mark.parametrize(
    ("best", "blank", "ids", "positions"),
    [
        ([0, 1, 1, 0, 2], 0, (1, 2), (1, 4)),
        ([1, 1, 1], 0, (1,), (0,)),
        ([1, 0, 1], 0, (1, 1), (0, 2)),
        ([2, 0, 0, 1, 2], 2, (0, 1), (1, 3)),
        ([0, 0, 0], 0, (), ()),
        ([3], 0, (3,), (0,)),
        ([0], 0, (), ()),
        ([], 0, (), ()),
    ],
)
def test_best_path(
    best: list[int], blank: int, ids: tuple[int, ...], positions: tuple[int, ...]
) -> None:
    """Repeats are merged and blanks dropped, but a blank keeps equal neighbours apart."""
    [decoded] = ctc_greedy_decode(probabilities(best, 4), blank=blank, kind="probabilities")
    assert decoded.ids == ids
    assert decoded.positions == positions


def test_a_character_is_as_sure_as_its_surest_time_step() -> None:
    """Within a run of equal classes the position and confidence are those of the maximum."""
    scores = np.asarray([[[0.1, 0.9], [0.05, 0.95], [0.3, 0.7], [0.6, 0.4]]], np.float32)
    [decoded] = ctc_greedy_decode(scores, blank=0, kind="probabilities")
    assert decoded.positions == (1,)
    assert decoded.confidences == pytest.approx((0.95,))


def test_the_text_is_as_sure_as_all_its_time_steps() -> None:
    """At a peak its character counts, between two peaks the blank and both neighbours."""
    scores = np.asarray(
        [
            [
                [0.7, 0.2, 0.1],  # before the first: blank or 1
                [0.1, 0.8, 0.1],  # the peak of 1
                [0.5, 0.2, 0.3],  # between: blank, 1 or 2
                [0.3, 0.1, 0.6],  # the peak of 2
                [0.6, 0.1, 0.3],  # after the last: blank or 2
            ]
        ],
        np.float32,
    )
    [decoded] = ctc_greedy_decode(scores, blank=0, kind="probabilities")
    assert decoded.ids == (1, 2)
    assert decoded.confidences == pytest.approx((0.8, 0.6))
    assert decoded.confidence == pytest.approx(0.9 * 0.8 * 1.0 * 0.6 * 0.9)


def test_a_character_that_was_nearly_missed_makes_the_text_doubtful() -> None:
    """A character that the blank nearly hid counts, even if all others are sure."""
    scores = probabilities([1, 0, 2], 4, sure=0.99)
    scores[0, 1] = [0.55, 0.0, 0.0, 0.45]
    [decoded] = ctc_greedy_decode(scores, blank=0, kind="probabilities")
    assert min(decoded.confidences) == pytest.approx(0.99)
    assert decoded.confidence == pytest.approx(0.99 * 0.55 * 0.99)


def test_an_empty_text_has_no_confidence() -> None:
    """An empty text has confidence 0."""
    [decoded] = ctc_greedy_decode(probabilities([0, 0], 3), blank=0, kind="probabilities")
    assert decoded.confidence == 0


scores = st.tuples(st.integers(0, 4), st.integers(0, 12), st.integers(1, 6)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(-50, 50, width=32))
)


@given(scores, st.data())
def test_logits_and_their_softmax_say_the_same(
    logits: NDArray[np.float32], data: st.DataObject
) -> None:
    """The kind of the scores changes neither text nor confidence; confidences are in 0..1."""
    blank = data.draw(st.integers(0, logits.shape[2] - 1))
    powers = np.exp(logits - logits.max(axis=2, keepdims=True, initial=-50))
    softmax = (powers / powers.sum(axis=2, keepdims=True)).astype(np.float32)
    for a, b in zip(
        ctc_greedy_decode(logits, blank=blank, kind="logits"),
        ctc_greedy_decode(softmax, blank=blank, kind="probabilities"),
        strict=True,
    ):
        # Rounding may make a tie of nearly equal logits.
        if (a.ids, a.positions) == (b.ids, b.positions):
            assert a.confidences == pytest.approx(b.confidences, abs=1e-5)
        assert all(0 <= c <= 1 for c in (*a.confidences, a.confidence))
        assert a.confidence <= min(a.confidences, default=0) + 1e-6
        assert len(a.ids) == len(a.positions) == len(a.confidences) <= logits.shape[1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_an_error(bad: float) -> None:
    """NaN and infinity never become a text."""
    scores = probabilities([0, 1], 3)
    scores[0, 1, 2] = bad
    with pytest.raises(ScoresError, match="NaN or infinite"):
        ctc_greedy_decode(scores, blank=0, kind="logits")


def test_an_unknown_kind_of_scores_is_refused() -> None:
    """A misspelled kind is an error: logits are never taken for probabilities."""
    with pytest.raises(ValueError, match="kind is 'logit'"):
        ctc_greedy_decode(np.zeros((1, 2, 3), np.float32), blank=0, kind="logit")


@pytest.mark.filterwarnings("error")
def test_huge_logits_are_sure_and_silent() -> None:
    """The whole range of float32 goes through the softmax without a warning."""
    scores = np.asarray([[[-3e38, 3e38, 0]]], np.float32)
    [decoded] = ctc_greedy_decode(scores, blank=0, kind="logits")
    assert (decoded.ids, decoded.confidence) == ((1,), 1)


@pytest.mark.parametrize(("shape", "blank"), [((2, 3), 0), ((1, 2, 3), 3), ((1, 2, 3), -1)])
def test_scores_of_another_kind_are_refused(shape: tuple[int, ...], blank: int) -> None:
    """Wrong axes and a blank out of range are a ValueError."""
    with pytest.raises(ValueError, match="no CTC scores"):
        ctc_greedy_decode(np.zeros(shape, np.float32), blank=blank, kind="logits")


def test_each_position_holds_one_character() -> None:
    """The best class is read at each position; the text's confidence is their product."""
    scores = np.asarray([[[0.1, 0.9, 0], [0.2, 0, 0.8], [0.3, 0.4, 0.3]]], np.float32)
    [decoded] = position_decode(scores, blank=None, kind="probabilities")
    assert decoded.ids == (1, 2, 1)
    assert decoded.positions == (0, 1, 2)
    assert decoded.confidences == pytest.approx((0.9, 0.8, 0.4))
    assert decoded.confidence == pytest.approx(0.9 * 0.8 * 0.4)


def test_equal_neighbours_stay_apart() -> None:
    """Unlike CTC's time steps, two positions with one class are two characters."""
    scores = np.asarray([[[0, 9, 0], [0, 9, 0]]], np.float32)
    assert position_decode(scores, blank=None, kind="logits")[0].ids == (1, 1)
    assert position_decode(scores, blank=0, kind="logits")[0].ids == (1, 1)


def test_a_blank_position_holds_no_character() -> None:
    """The text is shorter, later positions stay, and the blank's probability counts as well."""
    scores = np.asarray([[[0.1, 0.9], [0.6, 0.4], [0.2, 0.8]]], np.float32)
    [decoded] = position_decode(scores, blank=0, kind="probabilities")
    assert decoded.ids == (1, 1)
    assert decoded.positions == (0, 2)
    assert decoded.confidence == pytest.approx(0.9 * 0.6 * 0.8)
    [nothing] = position_decode(scores[:, 1:2], blank=0, kind="probabilities")
    assert nothing == Decoded((), (), (), 0.0)


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(0, 3), st.integers(0, 6), st.integers(1, 5)),
        elements=st.floats(-30, 30, width=32),
    )
)
def test_positions_are_read_like_argmax(scores: NDArray[np.float32]) -> None:
    """The ids are the argmax, confidences are in 0..1, and the text's is the lowest of them."""
    answers = position_decode(scores, blank=None, kind="logits")
    assert [d.ids for d in answers] == [tuple(row) for row in scores.argmax(axis=2).tolist()]
    for decoded in answers:
        assert all(0 <= c <= 1 for c in decoded.confidences)
        assert 0 <= decoded.confidence <= min(decoded.confidences, default=0) + 1e-6


def test_positions_with_scores_that_are_no_numbers_are_an_error() -> None:
    """NaN is never read as a character; wrong axes and a blank out of range are a ValueError."""
    with pytest.raises(ScoresError):
        position_decode(np.full((1, 2, 3), np.nan, np.float32), blank=None, kind="logits")
    with pytest.raises(ValueError, match="blank 3"):
        position_decode(np.zeros((1, 2, 3), np.float32), blank=3, kind="logits")
    with pytest.raises(ValueError, match="blank None"):
        position_decode(np.zeros((2, 3), np.float32), blank=None, kind="logits")
