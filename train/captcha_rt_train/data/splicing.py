"""Splicing: new training pictures from the left part of one picture and the right part of another.

A few hundred pictures show each character a few times, always beside the same neighbours. As soon
as a network knows where the characters stand, two pictures of one kind can be cut between two
characters and put together. With 200 pictures of a kind with 58 characters, that makes a fifth of
the errors go away.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.recipe import Recipe
from captcha_rt.steps.framing import Fit

Place = NDArray[np.floating]
"""The places of a picture's characters, `(L,)`, from left to right."""

_SPREAD = 0.05  # of the width: how far from the best place the second picture may be cut
_FEWEST = 2  # characters of a picture that can be cut between them


def align(scores: NDArray[np.float32], labels: Sequence[Sequence[int]], blank: int) -> list[Place]:
    """Finds the time steps of the characters: the likeliest path that reads the label.

    Args:
        scores: Logits, `(N, T, C)`.
        labels: N sequences of class ids, without blanks, each of which fits into T time steps.
        blank: The blank's class id.

    Returns:
        For each label the middles of its characters, as fractions of the T time steps in 0..1.
        Source: CTC's trellis, A. Graves et al., "Connectionist Temporal Classification" (ICML
        2006), with the maximum in place of the sum.
    """
    scores = scores.astype(np.float32)
    top = scores.max(axis=2, keepdims=True)
    logs = scores - top - np.log(np.exp(scores - top).sum(axis=2, keepdims=True))
    return [_align(rows, ids, blank) for rows, ids in zip(logs, labels, strict=True)]


def _align(logs: NDArray[np.float32], ids: Sequence[int], blank: int) -> Place:
    states = np.full(2 * len(ids) + 1, blank)
    states[1::2] = ids
    # A blank may be left out between two characters that differ.
    skips = np.zeros(len(states), bool)
    skips[3::2] = states[3::2] != states[1:-2:2]
    emitted = logs[:, states]
    best = np.full(len(states), -np.inf, np.float32)
    best[:2] = emitted[0, :2]
    came = np.zeros(emitted.shape, np.int8)
    for time in range(1, len(logs)):
        ways = np.full((3, len(states)), -np.inf, np.float32)
        ways[0] = best
        ways[1, 1:] = best[:-1]
        ways[2, 2:] = np.where(skips[2:], best[:-2], -np.inf)
        came[time] = ways.argmax(axis=0)
        best = ways.max(axis=0) + emitted[time]
    state = len(states) - 1
    if len(states) > 1 and best[-2] > best[-1]:
        state -= 1
    times = np.zeros(len(ids)), np.zeros(len(ids))
    for time in range(len(logs) - 1, -1, -1):
        if state % 2:
            times[0][state // 2] += time + 0.5
            times[1][state // 2] += 1
        state -= int(came[time, state])
    return times[0] / np.maximum(times[1], 1) / len(logs)


def columns(places: Place, shape: tuple[int, ...], recipe: Recipe) -> Place:
    """Where characters stand in a picture.

    Args:
        places: Fractions of the time steps, from left to right.
        shape: The picture's shape, `(H, W, C)`, before the recipe.
        recipe: The steps from the picture to the network's input: one `fit`, or others that keep
            the order and the share of the columns.

    Returns:
        The columns in pixels.
    """
    for step in recipe.steps:
        if isinstance(step, Fit):
            scale, left, _ = step.place(shape)
            return (places * step.width - left) / scale
    return places * shape[1]


def splice(
    left: NDArray[np.uint8],
    right: NDArray[np.uint8],
    places: tuple[Place, Place],
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], int, int] | None:
    """Puts the left part of a picture and the right part of another together.

    Args:
        left: `(H, W, C)` uint8.
        right: `(H', W', C)` uint8; it is scaled to the height of the other.
        places: The columns of the characters of both, in pixels.
        rng: Chooses where to cut: the left picture between any two characters, the right one where
            the new picture gets about the width of the left one.

    Returns:
        The new picture, the number of characters of the left one that it shows, and the number of
        characters of the right one that it doesn't show; None if a picture has less than two
        characters, or another number of channels.
    """
    if min(map(len, places)) < _FEWEST or left.shape[2] != right.shape[2]:
        return None
    height, width, channels = left.shape
    scale = height / right.shape[0]
    if scale != 1:
        size = max(1, round(right.shape[1] * scale)), height
        right = np.asarray(cv2.resize(right, size), np.uint8).reshape(height, -1, channels)
    cuts, others = ((found[:-1] + found[1:]) / 2 for found in (places[0], places[1] * scale))
    kept = int(rng.integers(len(cuts)))
    far = np.abs(others - cuts[kept]) + rng.uniform(0, _SPREAD * width, len(others))
    dropped = int(far.argmin())
    first, second = (
        int(np.clip(round(cut), 1, picture.shape[1] - 1)) if picture.shape[1] > 1 else 0
        for cut, picture in ((float(cuts[kept]), left), (float(others[dropped]), right))
    )
    if not (first and second):
        return None
    spliced = np.concatenate([left[:, :first], right[:, second:]], axis=1)
    return spliced, kept + 1, dropped + 1
