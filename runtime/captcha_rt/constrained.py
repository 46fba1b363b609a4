"""Reads scores with what the user knows, the characters or the length, and names likely texts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from math import inf
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from captcha_rt.charset import Charset
from captcha_rt.decoders import Decoded, read_path, read_positions

MAX_ALTERNATIVES: Final = 100
"""The time of the search grows with their number."""

_BEAM: Final = 60  # the texts that are kept at a time step, at least
_NEGLIGIBLE: Final = 1e-4  # a class with less probability doesn't make a text likely
_RARE: Final = 1e-6  # nor one with less, where a text has to get a length

_CREDIBLE: Final = 0.1
"""The least probability of a known length with which the scores don't contradict it. Of three kinds
that the general model never saw, 151 answers of the right length were accepted, all right, 147 with
at least this one; of a length that is one too short 109, all wrong, 5 with at least this one."""


@dataclass(frozen=True, slots=True)
class Constraints:
    """What the user knows, and how many texts are wanted.

    Attributes:
        allowed: The characters that a text may hold, composed (NFC); None allows all of the
            model's.
        length: The number of characters; None leaves it open.
        alternatives: How many of the likeliest texts to name, at most `MAX_ALTERNATIVES`.

    Raises:
        TypeError: If a value has another type.
        ValueError: If no character is allowed, or a number is out of range.
    """

    allowed: str | None = None
    length: int | None = None
    alternatives: int = 0

    def __post_init__(self) -> None:
        if self.allowed is not None and not isinstance(self.allowed, str):
            raise TypeError(f"allowed is a text of characters, not {self.allowed!r}")
        if self.allowed is not None and not self.allowed.isascii():
            from unicodedata import normalize  # few texts need it

            object.__setattr__(self, "allowed", normalize("NFC", self.allowed))
        if self.allowed == "":
            raise ValueError("allowed has no character; leave it out to allow all")
        if self.length is not None:
            object.__setattr__(self, "length", _whole(self.length, "a length is"))
        if self.length is not None and self.length < 1:
            raise ValueError(f"a length is at least 1, not {self.length}")
        object.__setattr__(self, "alternatives", _whole(self.alternatives, "alternatives are"))
        if not 0 <= self.alternatives <= MAX_ALTERNATIVES:
            raise ValueError(f"alternatives are in 0..{MAX_ALTERNATIVES}, not {self.alternatives}")

    def fit(self, text: str) -> bool:
        """Whether a text is as it is known to be."""
        right_length = self.length is None or len(text) == self.length
        return right_length and (self.allowed is None or set(text) <= set(self.allowed))

    def allows_some(self, charset: Charset) -> bool:
        """Whether a model has one of the allowed characters."""
        return self.allowed is None or not set(self.allowed).isdisjoint(charset.characters)


def _whole(value: int, what: str) -> int:
    """A whole number of Python or NumPy as Python's.

    Raises:
        TypeError: If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{what} a whole number, not {value!r}")
    return int(value)


def decode_constrained(
    probabilities: NDArray[np.float32], charset: Charset, constraints: Constraints, *, ctc: bool
) -> list[Decoded]:
    """Reads texts that hold the allowed characters only, and have the given length.

    The probabilities of the classes that may be read are scaled to a sum of 1 at each time step. So
    all confidences are those of somebody who knows that the other characters don't occur. With a
    length, the best path is the best of the paths with so many characters, and the confidence of
    the text is the sum over its paths, as a fraction of the sum over all paths with that length. If
    the scores contradict the length, it is no higher than the probability of the length.

    The alternatives are found by prefix beam search; each has the sum over its paths. Source:
    A. Graves and N. Jaitly, "Towards End-to-End Speech Recognition with Recurrent Neural Networks"
    (ICML 2014), algorithm 1, without a language model. The first is nearly always the text itself.

    Args:
        probabilities: `(N, T, C)`, of T time steps or positions.
        charset: The model's.
        constraints: What is known; the model has one of the allowed characters.
        ctc: Whether T are the time steps of CTC; otherwise each is a position with one character,
            or with none where the blank is likeliest.

    Returns:
        N results. If no text has the length, a result is empty, with the confidence 0.
    """
    probabilities = allow_only(probabilities, charset, constraints)
    read = _read_time_steps if ctc else _read_positions
    return [read(picture, charset.blank, constraints) for picture in probabilities]


def decode_length(
    probabilities: NDArray[np.float32],
    blank: int,
    length: int,
    constraints: Constraints | None = None,
) -> Decoded:
    """Reads the likeliest text with a number of characters, where another text is likelier.

    Args:
        probabilities: `(T, C)`, of CTC's time steps.
        blank: The blank's class.
        length: The number of characters, at least 1.
        constraints: How many alternatives are wanted, of any length.

    Returns:
        The result. Its confidence is the text's probability among all texts, of any length: the sum
        over its paths. It is 0, and the result empty, if no text has the length.
    """
    rows = probabilities.astype(np.float64)
    best, _ = _path_of_length(rows / rows.max(axis=1, keepdims=True), blank, length)
    if not best:
        return Decoded((), (), (), 0.0)
    decoded = read_path(probabilities, best, blank)
    confidence = min(_probability_of(decoded.ids, rows, blank), 1.0)
    texts = _likeliest_texts(rows, blank, constraints or Constraints(), decoded.ids)
    return replace(decoded, confidence=confidence, alternatives=_scaled(texts, 1.0))


def allow_only(
    probabilities: NDArray[np.float32], charset: Charset, constraints: Constraints
) -> NDArray[np.float32]:
    """Gives the characters that are not allowed the probability 0, and the others a sum of 1.

    Args:
        probabilities: `(..., C)`.
        charset: The model's.
        constraints: What is known; the model has one of the allowed characters.
    """
    if constraints.allowed is None:
        return probabilities
    allowed = set(constraints.allowed)
    known = "".join(c for c in charset.characters if c in allowed)
    classes = [*charset.encode(known), *([] if charset.blank is None else [charset.blank])]
    kept = np.zeros_like(probabilities)
    # Where all of them have the probability 0, they are equally likely.
    kept[..., classes] = np.maximum(probabilities[..., classes], np.finfo(np.float32).tiny)
    return np.asarray(kept / kept.sum(axis=-1, keepdims=True))


def _read_time_steps(
    probabilities: NDArray[np.float32], blank: int | None, constraints: Constraints
) -> Decoded:
    """Reads the time steps of one picture, `(T, C)`, as CTC has them."""
    assert blank is not None  # noqa: S101  (CTC's decoder needs a blank, which a manifest checks)
    if constraints.length is None:
        decoded = read_path(probabilities, probabilities.argmax(axis=1).tolist(), blank)
        texts = _likeliest_texts(probabilities, blank, constraints, decoded.ids)
        return replace(decoded, alternatives=_scaled(texts, 1.0))
    # What follows are quotients, which stay the same; the products would vanish in float64.
    rows = probabilities.astype(np.float64)
    highest = rows.max(axis=1, keepdims=True)
    rows /= highest
    best, whole = _path_of_length(rows, blank, constraints.length)
    if not whole:
        return Decoded((), (), (), 0.0)
    decoded = read_path(probabilities, best, blank)
    texts = _likeliest_texts(rows, blank, constraints, decoded.ids)
    confidence = _believe(
        _probability_of(decoded.ids, rows, blank) / whole, whole * float(np.prod(highest))
    )
    return replace(decoded, confidence=confidence, alternatives=_scaled(texts, whole))


def _believe(confidence: float, length: float) -> float:
    """The confidence of a text, capped where the known length has too low a probability."""
    return min(confidence, 1.0 if length >= _CREDIBLE else length)


def _probability_of(text: Sequence[int], probabilities: NDArray[np.float64], blank: int) -> float:
    """The sum over all paths of a text: CTC's forward pass (Graves et al. 2006, section 4.1)."""
    classes = [blank, *(c for character in text for c in (character, blank))]
    # A character follows another one directly, unless both are equal.
    skips = np.array([i > 1 and c not in (blank, classes[i - 2]) for i, c in enumerate(classes)])
    sums = np.zeros(len(classes))
    sums[0] = 1.0
    for row in probabilities[:, classes]:
        moved = np.concatenate([[0.0], sums[:-1]])
        skipped = np.concatenate([[0.0, 0.0], sums[:-2]]) * skips
        sums = (sums + moved + skipped) * row
    return float(sums[-2:].sum())


def _path_of_length(
    probabilities: NDArray[np.float64], blank: int, length: int
) -> tuple[list[int], float]:
    """Finds the best path of all with a number of characters.

    After a time step a path is either in a run of a character's time steps, or on a blank. `runs`
    and `blanks` hold the best path for each number of characters so far, `(length + 1, C)` and
    `(length + 1,)`, and their sums over all paths.

    Returns:
        The path, empty if there is none, and the probability of all paths with this length.
    """
    steps, classes = probabilities.shape
    if length > steps:
        return [], 0.0
    runs, run_sums = np.zeros((2, length + 1, classes))
    blanks, blank_sums = np.zeros((2, length + 1))
    blanks[0] = blank_sums[0] = 1.0
    # Where a path came from: the class of the time step before.
    from_runs = np.zeros((steps, length + 1, classes), np.intp)
    from_blanks = np.zeros((steps, length + 1), np.intp)
    for step, now in enumerate(probabilities):
        first = runs.argmax(axis=1)
        others = runs.copy()
        np.put_along_axis(others, first[:, None], 0, axis=1)
        second = others.argmax(axis=1)
        # A new character follows the best run of another character, or a blank.
        before = np.where(np.arange(classes) == first[:, None], second[:, None], first[:, None])
        values = np.take_along_axis(runs, before, axis=1)
        after_blank = blanks[:, None] >= values
        before = np.where(after_blank, blank, before)
        values = np.where(after_blank, blanks[:, None], values)
        started = np.vstack([np.zeros((1, classes)), values[:-1]])
        came = np.vstack([np.zeros((1, classes), np.intp), before[:-1]])
        stays = runs >= started
        new_runs = np.where(stays, runs, started) * now
        from_runs[step] = np.where(stays, np.arange(classes), came)
        highest = runs[np.arange(length + 1), first]
        from_blanks[step] = np.where(blanks >= highest, blank, first)
        new_blanks = np.maximum(blanks, highest) * now[blank]
        run_sums, blank_sums = _next_sums(run_sums, blank_sums, now, blank)
        runs, blanks = new_runs, new_blanks
        runs[:, blank] = 0
    whole = float(run_sums[length].sum() + blank_sums[length])
    best = int(runs[length].argmax())
    if not max(runs[length, best], blanks[length]) > 0:
        return [], 0.0
    last = blank if blanks[length] >= runs[length, best] else best
    return _trace_back(from_runs, from_blanks, last, length, blank), whole


def _next_sums(
    runs: NDArray[np.float64], blanks: NDArray[np.float64], now: NDArray[Any], blank: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The sums over all paths, by their number of characters, after one more time step.

    Args:
        runs: `(length + 1, C)`, of paths that end with a run of a class.
        blanks: `(length + 1,)`, of paths that end with the blank.
        now: `(C,)`, the time step's probabilities.
        blank: The blank's class.
    """
    totals = runs.sum(axis=1)
    entered = totals[:-1, None] - runs[:-1] + blanks[:-1, None]
    grown = (runs + np.vstack([np.zeros((1, len(now))), entered])) * now
    grown[:, blank] = 0
    return grown, (blanks + totals) * now[blank]


def _trace_back(
    from_runs: NDArray[np.intp], from_blanks: NDArray[np.intp], last: int, count: int, blank: int
) -> list[int]:
    """Goes back along the best path: its last class and number of characters are known."""
    path = [last]
    for step in range(len(from_runs) - 1, 0, -1):
        if last == blank:
            last = int(from_blanks[step, count])
        else:
            before = int(from_runs[step, count, last])
            count -= before != last
            last = before
        path.append(last)
    return path[::-1]


def _likeliest_texts(
    probabilities: NDArray[np.float32] | NDArray[np.float64],
    blank: int,
    constraints: Constraints,
    read: tuple[int, ...],
) -> list[tuple[tuple[int, ...], float]]:
    """The likeliest texts, each with the sum over its paths, by prefix beam search.

    Where the length is known, a prefix counts by how likely the characters that it lacks are in the
    time steps that follow: else the beam would hold prefixes that end too short.

    The text that was read is one of those to choose from, also if the search has lost it.
    """
    if not constraints.alternatives:
        return []
    length = constraints.length
    longest = inf if length is None else length
    ahead = None if length is None else _probabilities_ahead(probabilities, blank, length)
    width = max(_BEAM, 4 * constraints.alternatives)
    # A text's probability, by whether its paths end on a blank or on its last character.
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (1.0, 0.0)}
    least = _NEGLIGIBLE if length is None else _RARE
    for step, now in enumerate(probabilities, 1):
        likely = [c for c in np.flatnonzero(now > least).tolist() if c != blank]
        row = now.tolist()
        grown: dict[tuple[int, ...], list[float]] = {}
        for text, (on_blank, on_last) in beam.items():
            same = grown.setdefault(text, [0.0, 0.0])
            same[0] += (on_blank + on_last) * row[blank]
            if text:
                same[1] += on_last * row[text[-1]]
            if len(text) >= longest:
                continue
            for c in likely:
                start = on_blank if text and c == text[-1] else on_blank + on_last
                grown.setdefault((*text, c), [0.0, 0.0])[1] += start * row[c]
        if ahead is not None:
            weights = ahead[step].tolist()
            worth = {text: sum(both) * weights[len(text)] for text, both in grown.items()}
            kept = nlargest(width, grown.items(), key=lambda item: worth[item[0]])
        else:
            kept = nlargest(width, grown.items(), key=lambda item: sum(item[1]))
        beam = {text: (both[0], both[1]) for text, both in kept}
    found = [
        (sum(both), text) for text, both in beam.items() if text and length in (None, len(text))
    ]
    # Paths that left the beam for a while are missing in its sums.
    rows = probabilities.astype(np.float64)
    likeliest = {text for _, text in nlargest(2 * constraints.alternatives, found)}
    likeliest |= {read} if read else set()
    summed = [(text, _probability_of(text, rows, blank)) for text in sorted(likeliest)]
    return nlargest(constraints.alternatives, summed, key=lambda item: item[1])


def _probabilities_ahead(
    probabilities: NDArray[np.float32] | NDArray[np.float64], blank: int, length: int
) -> NDArray[np.float64]:
    """How likely a text with some characters so far gets the length in the time steps that follow.

    Returns:
        `(T + 1, length + 1)`, by the number of time steps and of characters so far; only quotients
        within a row count.
    """
    runs, blanks = np.zeros((length + 1, probabilities.shape[1])), np.zeros(length + 1)
    blanks[0] = 1.0
    ahead = [blanks[::-1]]
    for now in probabilities[::-1]:
        runs, blanks = _next_sums(runs, blanks, now, blank)
        totals = runs.sum(axis=1) + blanks
        largest = max(totals.max(), np.finfo(np.float64).tiny)
        runs, blanks = runs / largest, blanks / largest
        ahead.append(totals[::-1] / largest)
    return np.stack(ahead[::-1])


def _read_positions(
    probabilities: NDArray[np.float32], blank: int | None, constraints: Constraints
) -> Decoded:
    """Reads one character at each position of one picture, `(L, C)`."""
    texts = _texts_by_position(probabilities, blank, constraints.length, constraints.alternatives)
    if constraints.length is None:
        decoded = read_positions(probabilities, probabilities.argmax(axis=1).tolist(), blank)
        return replace(decoded, alternatives=_scaled(texts, 1.0))
    whole, best = _places_of_length(probabilities, blank, constraints.length)
    if best is None:
        return Decoded((), (), (), 0.0)
    decoded = read_positions(probabilities, best, blank)
    return replace(
        decoded,
        confidence=_believe(decoded.confidence / whole, whole) if whole else 0.0,
        alternatives=_scaled(texts, whole),
    )


def _places_of_length(
    probabilities: NDArray[np.float32], blank: int | None, length: int
) -> tuple[float, list[int] | None]:
    """The probability of a number of characters, and the best class of each position with it."""
    positions = len(probabilities)
    if blank is None:
        best = probabilities.argmax(axis=1).tolist() if length == positions else None
        return 1.0, best
    if length > positions:
        return 0.0, None
    characters = np.delete(probabilities, blank, axis=1)
    counts = np.zeros(positions + 1)
    counts[0] = 1.0
    for empty in probabilities[:, blank].tolist():
        counts = counts * empty + np.concatenate([[0.0], counts[:-1]]) * (1 - empty)
    # The positions whose best character is likeliest, compared with none.
    gain = characters.max(axis=1) / np.maximum(probabilities[:, blank], 1e-30)
    filled = set(np.argsort(-gain, kind="stable")[:length].tolist())
    without = probabilities.copy()
    without[:, blank] = -1
    best = [int(row.argmax()) if i in filled else blank for i, row in enumerate(without)]
    return float(counts[length]), best


def _texts_by_position(
    probabilities: NDArray[np.float32], blank: int | None, length: int | None, count: int
) -> list[tuple[tuple[int, ...], float]]:
    """The likeliest texts: for each position the likeliest of the texts so far and its classes."""
    if not count:
        return []
    texts: dict[tuple[int, ...], float] = {(): 1.0}
    for row in probabilities:
        classes = np.argsort(-row)[: count + 1].tolist()
        if blank is not None and blank not in classes:  # a text of a length may need it
            classes.append(blank)
        grown: dict[tuple[int, ...], float] = {}
        for text, probability in texts.items():
            for c in classes:
                longer = text if c == blank else (*text, c)
                if row[c] and (length is None or len(longer) <= length):
                    grown[longer] = grown.get(longer, 0.0) + probability * float(row[c])
        texts = dict(nlargest(max(_BEAM, 4 * count), grown.items(), key=lambda item: item[1]))
    found = [item for item in texts.items() if item[0] and length in (None, len(item[0]))]
    return nlargest(count, found, key=lambda item: item[1])


def _scaled(
    texts: Sequence[tuple[tuple[int, ...], float]], whole: float
) -> tuple[tuple[tuple[int, ...], float], ...]:
    """The texts with their probabilities as fractions of `whole`."""
    return tuple((text, min(probability / whole, 1.0)) for text, probability in texts if whole)
