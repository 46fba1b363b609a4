"""Reading with what is known: allowed characters, the length, and the likeliest texts."""

from collections import defaultdict
from itertools import groupby, product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from captcha_rt.charset import Charset
from captcha_rt.constrained import Constraints, decode_constrained
from captcha_rt.decoders import Decoded, ctc_greedy_decode, position_decode

CHARSET = Charset("abc", blank=0)
TEXTS = st.integers(0, 2**32 - 1)


def random_scores(seed: int, steps: int = 5) -> NDArray[np.float32]:
    """Probabilities `(1, steps, 4)`, some sure and some not."""
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.full(4, rng.choice([0.3, 1.0])), steps)
    return scores[None].astype(np.float32)


def decode(scores: NDArray[np.float32], *, ctc: bool = True, **known: object) -> Decoded:
    [decoded] = decode_constrained(scores, CHARSET, Constraints(**known), ctc=ctc)
    return decoded


def all_paths(scores: NDArray[np.float32]) -> dict[tuple[int, ...], tuple[float, float]]:
    """For each text the sum over its paths, and its best path's probability."""
    sums: dict[tuple[int, ...], float] = defaultdict(float)
    best: dict[tuple[int, ...], float] = defaultdict(float)
    for path in product(range(4), repeat=scores.shape[1]):
        probability = float(np.prod(scores[0, range(len(path)), path].astype(np.float64)))
        text = tuple(c for c, _ in groupby(path) if c)
        sums[text] += probability
        best[text] = max(best[text], probability)
    return {text: (sums[text], best[text]) for text in sums}


def test_the_text_that_was_read_is_an_alternative() -> None:
    """Also if each of its characters is too improbable for the search."""
    scores = np.array([[[1 - 3e-5, 1e-5, 1e-5, 1e-5]] * 4], np.float32)
    read = decode(scores, length=2, alternatives=3)
    assert read.ids in [text for text, _ in read.alternatives]


@given(TEXTS)
def test_nothing_known_reads_as_usual(seed: int) -> None:
    """Text, places and confidences are those of the plain decoders."""
    scores = random_scores(seed)
    for ctc, plain in ((True, ctc_greedy_decode), (False, position_decode)):
        assert decode(scores, ctc=ctc) == plain(scores, blank=0, kind="probabilities")[0]


@given(TEXTS, st.integers(1, 5))
def test_a_length_takes_the_best_path_with_it(seed: int, length: int) -> None:
    """Compared with all paths there are."""
    scores = random_scores(seed)
    paths = {text: both for text, both in all_paths(scores).items() if len(text) == length}
    read = decode(scores, length=length)
    assert len(read.ids) == length
    assert paths[read.ids][1] == pytest.approx(max(best for _, best in paths.values()))
    whole = sum(both[0] for both in paths.values())
    believed = 1 if whole >= 0.1 else whole
    assert read.confidence == pytest.approx(min(paths[read.ids][0] / whole, believed), rel=1e-4)


@given(TEXTS, st.sampled_from([None, 1, 2, 3]))
@example(165043, 1)  # paths of the likeliest text leave the beam
def test_alternatives_are_the_likeliest_texts(seed: int, length: int | None) -> None:
    """Their probabilities are the sums over all paths, as fractions of those with the length."""
    scores = random_scores(seed)
    paths = all_paths(scores)
    sums = {t: both[0] for t, both in paths.items() if length in (None, len(t))}
    whole = 1.0 if length is None else sum(sums.values())
    wanted = sorted(((p / whole, t) for t, p in sums.items() if t), reverse=True)[:5]
    read = decode(scores, length=length, alternatives=5)
    assert [p for _, p in read.alternatives] == pytest.approx([p for p, _ in wanted], abs=3e-3)
    for text, probability in read.alternatives:
        assert probability == pytest.approx(sums[text] / whole, abs=3e-3)


def ctc_probability(probabilities: NDArray[np.float64], text: tuple[int, ...]) -> float:
    """The sum over all paths of a text; the blank is class 0."""
    sums = {(0, 0): 1.0}  # by the number of characters so far, and the class of the last time step
    for row in probabilities:
        grown: dict[tuple[int, int], float] = defaultdict(float)
        for (count, last), total in sums.items():
            grown[count, 0] += total * row[0]
            if last:
                grown[count, last] += total * row[last]
            if count < len(text) and text[count] != last:
                grown[count + 1, text[count]] += total * row[text[count]]
        sums = grown
    return sum(total for (count, _), total in sums.items() if count == len(text))


@pytest.mark.parametrize("seed", range(5))
def test_alternatives_have_the_length_where_the_scores_have_another(seed: int) -> None:
    """Four clear characters, five known: each alternative is as likely as any with one more."""
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet([0.1] * 30, 24) * 1e-3
    scores[:, 0] += 1
    shown = tuple(rng.integers(1, 30, 4).tolist())
    for place, character in zip((3, 9, 15, 21), shown, strict=True):
        scores[place, [0, character]] = 1e-3, 1
    scores /= scores.sum(axis=1, keepdims=True)
    charset = Charset("".join(map(chr, range(97, 97 + 29))), blank=0)
    known = Constraints(length=5, alternatives=5)
    [read] = decode_constrained(scores[None].astype(np.float32), charset, known, ctc=True)
    one_more = {(*shown[:i], c, *shown[i:]) for i in range(5) for c in range(1, 30)}
    wanted = sorted((ctc_probability(scores, text) for text in one_more), reverse=True)[:5]
    found = [ctc_probability(scores, text) for text, _ in read.alternatives]
    assert all(len(text) == 5 for text, _ in read.alternatives)
    assert found == pytest.approx(wanted, rel=1e-4)


@given(TEXTS, st.sampled_from([None, 1, 2, 3, 4]))
def test_positions_are_read_alike(seed: int, length: int | None) -> None:
    """One character a position, or none: compared with all combinations."""
    scores = random_scores(seed, 4)
    sums: dict[tuple[int, ...], float] = defaultdict(float)
    best: dict[tuple[int, ...], float] = defaultdict(float)
    for classes in product(range(4), repeat=4):
        text = tuple(c for c in classes if c)
        if length in (None, len(text)):
            probability = float(np.prod(scores[0, range(4), classes].astype(np.float64)))
            sums[text] += probability
            best[text] = max(best[text], probability)
    whole = sum(sums.values())
    read = decode(scores, ctc=False, length=length, alternatives=3)
    if length is not None:
        assert len(read.ids) == length
        assert best[read.ids] == pytest.approx(max(best.values()))
        believed = 1 if whole >= 0.1 else whole
        assert read.confidence == pytest.approx(min(best[read.ids] / whole, believed), rel=1e-4)
    wanted = sorted((p / whole for t, p in sums.items() if t), reverse=True)[:3]
    assert [p for _, p in read.alternatives] == pytest.approx(wanted, abs=1e-3)


def test_a_shorter_text_has_alternatives_where_no_position_seems_empty() -> None:
    """The blank isn't among the likeliest classes of any position, but a length needs it."""
    row = [0.06, 0.7, 0.2, 0.04]
    scores = np.array([[row] * 5], np.float32)
    read = decode(scores, ctc=False, length=4, alternatives=1)
    assert read.ids == (1, 1, 1, 1)
    [(text, _)] = read.alternatives
    assert text == read.ids


@given(TEXTS)
def test_only_allowed_characters_are_read(seed: int) -> None:
    """The others' probability goes to those that are left."""
    scores = random_scores(seed)
    read = decode(scores, allowed="bz", alternatives=3)
    assert set(read.ids) <= {2}
    assert {c for text, _ in read.alternatives for c in text} <= {2}
    only = np.zeros_like(scores)
    only[..., [0, 2]] = scores[..., [0, 2]]
    only /= only.sum(axis=2, keepdims=True)
    assert read.ids == ctc_greedy_decode(only, blank=0, kind="probabilities")[0].ids


def test_what_is_known_makes_it_surer() -> None:
    """An a that may be a b is an a for sure where no b is allowed."""
    scores = np.array([[[0.1, 0.5, 0.4, 0], [1, 0, 0, 0]]], np.float32)
    assert decode(scores).confidence == pytest.approx(0.5)
    assert decode(scores, allowed="ac").confidence == pytest.approx(5 / 6)
    assert decode(scores, allowed="ac", length=1).confidence == pytest.approx(1)


def test_a_length_that_the_scores_contradict_is_not_believed() -> None:
    """Two sure characters stay two, whatever is known: a text of one is not accepted."""
    for ctc in (True, False):
        scores = np.full((1, 3, 4), 1e-4, np.float32)
        scores[0, range(3), (1, 0, 2)] = 1 - 3e-4
        for known in ({"length": 1}, {"length": 3}):
            assert decode(scores, ctc=ctc, **known).confidence < 0.01
        assert decode(scores, ctc=ctc, length=2).confidence > 0.99


def test_a_length_that_no_text_has_reads_nothing() -> None:
    """More characters than time steps, or equal ones without a blank between them."""
    scores = random_scores(1, 3)
    for ctc in (True, False):
        assert decode(scores, ctc=ctc, length=4, alternatives=2) == Decoded((), (), (), 0.0)
    sure = np.array([[[0, 1, 0, 0], [0, 1, 0, 0]]], np.float32)
    assert decode(sure, length=2).confidence == 0
    without_blank = Charset("abcd", blank=None)
    [read] = decode_constrained(scores, without_blank, Constraints(length=2), ctc=False)
    assert read == Decoded((), (), (), 0.0)
    [read] = decode_constrained(scores, without_blank, Constraints(length=3), ctc=False)
    assert len(read.ids) == 3


def test_an_allowed_character_without_probability_is_still_the_only_one() -> None:
    """Where the network is sure of another one, nothing that isn't allowed is read."""
    for charset in (Charset("abc"), Charset("abc", blank=3), Charset("abc", blank=0)):
        scores = np.zeros((1, 2, charset.classes), np.float32)
        scores[..., charset.encode("a")[0]] = 1
        for ctc in (True, False)[charset.blank is None :]:
            constraints = Constraints(allowed="b", alternatives=3)
            [read] = decode_constrained(scores, charset, constraints, ctc=ctc)
            named = {c for text, _ in read.alternatives for c in text}
            assert {*read.ids, *named} <= {charset.encode("b")[0]}


def test_long_rows_do_not_vanish() -> None:
    """The products over many time steps of many classes are smaller than float64 can hold."""
    scores = np.full((1, 400, 4000), 1 / 4000, np.float32)
    charset = Charset("".join(map(chr, range(0x4E00, 0x4E00 + 3999))), blank=0)
    [read] = decode_constrained(scores, charset, Constraints(length=3), ctc=True)
    assert len(read.ids) == 3
    assert 0 <= read.confidence < 1e-6


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"allowed": ""}, "no character"),
        ({"length": 0}, "at least 1, not 0"),
        ({"alternatives": -1}, r"0\.\.100, not -1"),
        ({"alternatives": 101}, r"0\.\.100, not 101"),
        ({"allowed": ["48", "2"]}, r"a text of characters, not \['48', '2'\]"),
        ({"length": 5.0}, "a whole number, not 5.0"),
        ({"alternatives": "5"}, "a whole number, not '5'"),
        ({"alternatives": True}, "a whole number, not True"),
        ({"length": np.float64(5)}, r"a whole number, not (np\.float64\()?5\.0"),
    ],
)
def test_wrong_values_are_refused(known: dict[str, object], message: str) -> None:
    """The error names the value, and what it has to be."""
    with pytest.raises((ValueError, TypeError), match=message):
        Constraints(**known)


def test_whole_numbers_of_numpy_are_taken() -> None:
    """As a column of lengths in a table holds them."""
    found = Constraints(length=np.int64(5), alternatives=np.uint8(2))
    assert found == Constraints(length=5, alternatives=2)
    assert type(found.length) is type(found.alternatives) is int


def test_allowed_characters_are_composed() -> None:
    """A character that was typed on a Mac, in two code points, is the model's one."""
    assert Constraints(allowed="e\u0301x").allowed == "\u00e9x"
