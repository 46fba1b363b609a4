"""Finds WebPs whose pixels look damaged.

WebP has no checksum. Lossless data falls into step again after a flipped bit, and lossy data that
is out of step ends by chance, once in a thousand times, where it should. What is left are files
that an encoder could have written. So only the pixels tell.

Each sign is one that good pictures have, too, but spread over all of the picture. Damaged ones have
it from some place on. How much likelier two shares are than one is the evidence, a logarithm. It is
no proof: it asks for a surer answer, and refuses no picture.
"""

from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

_Levels: TypeAlias = NDArray[np.int16]
_Counts: TypeAlias = NDArray[Any]

_TILE: Final = 32  # pixels: the side of a square with one way to predict, as libwebp mostly takes
_SMALL: Final = 16  # levels: most of what is stored is smaller
_EDGE: Final = 24  # levels: a difference that good pictures have at edges only
_FREE: Final = 0.01  # the share of the edges elsewhere that may have run over, too
_RANGES: Final = 12, 200  # the most columns and rows of cells among which damage is looked for
_BLOCK: Final = 16  # pixels: the side of what lossy data codes at a time
_STEP: Final = 16  # levels: a step at the edge of a block that is more than the steps beside it
# Of 1,108 good lossless pictures 1 in 100 has more, and of 22 damaged ones that were read wrongly
# 15. Of 4,376 good lossy pictures 1 in 150 has more, and of 8 damaged ones 7.
_EVIDENCE: Final = 3.0
_EVIDENCE_LOSSY: Final = 26.0  # more, since the pixels along an edge aren't independent
_EVIDENCE_OF_A_BLOCK: Final = 0.5  # in large pictures, whose parts differ more surely
_TORN: Final = 0.75  # the least share of the steps that are at edges where blocks are torn


def looks_run_over(levels: NDArray[np.uint8]) -> bool:
    """Whether levels of a lossless picture run over from black to white, or back, from a place on.

    An encoder predicts each pixel from those above and to the left, and stores small differences,
    modulo 256. A wrong difference moves all that is predicted from it, until levels run over. Good
    pictures have such jumps, too: of black text on white, or of specks.

    Args:
        levels: The green channel `(H, W)`, which is stored as it is; the others are stored as
            differences from it.
    """
    if min(levels.shape) < 2:
        return False
    inner = levels[1:, 1:].astype(np.int16)
    differences, stored = _differences(levels.astype(np.int16), inner)
    predicted = inner - differences
    # From all black to all white is but a sharp edge.
    flat = ((inner == 0) | (inner == 255)) & ((predicted == 0) | (predicted == 255))
    over = (differences != stored) & (np.abs(stored) <= _SMALL) & ~flat
    edges = np.abs(differences) >= _EDGE
    # What is predicted from a damaged pixel is below it, and mostly not in all columns.
    columns, rows = (
        np.arange(0, side, least * -(-side // (least * most)))
        for side, least, most in zip(inner.shape[::-1], (_TILE, 1), _RANGES, strict=True)
    )
    hits, trials = (_in_ranges(marked, rows, columns) for marked in (over, edges))
    all_hits, all_trials = int(np.count_nonzero(over)), int(np.count_nonzero(edges))
    gain = _gain(hits, trials, all_hits, all_trials)
    begins = all_hits - hits <= _FREE * (all_trials - trials)
    return bool(np.max(gain, where=begins & (hits > 0), initial=0.0) > _EVIDENCE)


def looks_torn(levels: NDArray[np.uint8]) -> bool:
    """Whether a lossy picture has steps at the edges of blocks, and from some block on more.

    A block that was decoded from the wrong bits doesn't fit to those beside it.

    Args:
        levels: The green channel `(H, W)`.
    """
    if min(levels.shape) < 4:
        return False
    in_the_middle, at_edges = _steps(levels)
    trials = in_the_middle + at_edges
    hits, tried = (np.cumsum(counts[::-1])[::-1][1:] for counts in (at_edges, trials))
    all_hits, all_tried = int(at_edges.sum()), int(trials.sum())
    gain = _gain(hits, tried, all_hits, all_tried)
    more = (hits * all_tried > all_hits * tried) & (hits > _TORN * tried)
    least = max(_EVIDENCE_LOSSY, _EVIDENCE_OF_A_BLOCK * len(trials))
    return bool(np.max(gain, where=more, initial=0.0) > least)


def _steps(levels: NDArray[np.uint8]) -> NDArray[np.int_]:
    """Counts the steps in each block, row by row: `(2, blocks)`, in the middle and at the edges.

    An edge is one of the blocks of 4 x 4 pixels whose coefficients stand together.
    """
    height, width = levels.shape
    columns = -(-width // _BLOCK)
    blocks = -(-height // _BLOCK) * columns
    counts = np.zeros(2 * blocks, np.int_)
    for turned in (False, True):
        view = np.ascontiguousarray(levels.T) if turned else levels
        differences = cv2.absdiff(view[:, 1:], view[:, :-1])
        end = (differences.shape[1] - 1) // 2 * 2  # each second line of pixels has one
        beside = np.maximum(differences[:, :end:2], differences[:, 2 : end + 1 : 2])
        steps = np.maximum(differences[:, 1:end:2], beside) - beside >= _STEP
        along, across = np.nonzero(steps)
        across = 2 * across + 2
        y, x = (across, along) if turned else (along, across)
        block = y // _BLOCK * columns + x // _BLOCK
        counts += np.bincount(block + blocks * (across % 4 == 0), minlength=2 * blocks)
    return counts.reshape(2, blocks)


def _differences(levels: _Levels, inner: _Levels) -> tuple[_Levels, _Levels]:
    """What each pixel differs by from its prediction, in each tile the best one of three.

    Returns:
        The differences, and what is stored of them: the same modulo 256, in -128..127.
    """
    left, above, corner = levels[1:, :-1], levels[:-1, 1:], levels[:-1, :-1]
    predictions = (left, above, np.clip(left + above - corner, 0, 255))
    differences = np.stack([inner - predicted for predicted in predictions])
    stored = differences.astype(np.int8).astype(np.int16)
    rows, columns = (np.arange(0, side, _TILE) for side in inner.shape)
    costs = np.abs(stored).astype(np.int32)
    costs = np.add.reduceat(np.add.reduceat(costs, rows, axis=1), columns, axis=2)
    best = np.argmin(costs, axis=0).repeat(_TILE, axis=0).repeat(_TILE, axis=1)
    best = best[np.newaxis, : inner.shape[0], : inner.shape[1]]
    return (
        np.take_along_axis(differences, best, axis=0)[0],
        np.take_along_axis(stored, best, axis=0)[0],
    )


def _in_ranges(marked: NDArray[np.bool_], rows: _Counts, columns: _Counts) -> _Counts:
    """Counts marked pixels from each row on, in each range of columns: `(rows, ranges)`."""
    cells = np.add.reduceat(marked, rows, axis=0, dtype=np.int_)
    cells = np.add.reduceat(cells, columns, axis=1)
    sums = np.cumsum(np.cumsum(cells[::-1], axis=0)[::-1], axis=1)
    sums = np.pad(sums, ((0, 0), (1, 0)))
    start, end = np.triu_indices(sums.shape[1], 1)
    return np.asarray(sums[:, end] - sums[:, start])


def _gain(hits: _Counts, trials: _Counts, all_hits: int, all_trials: int) -> _Counts:
    """How much likelier two shares are than one: the logarithm of the likelihood ratio.

    Args:
        hits: The number of hits in each region.
        trials: The number of trials in each region, of which the hits are some.
        all_hits: The number of hits in the picture.
        all_trials: The number of trials in the picture.
    """
    two = _log_likelihood(hits, trials) + _log_likelihood(all_hits - hits, all_trials - trials)
    return np.asarray(two - _log_likelihood(np.array(all_hits), np.array(all_trials)))


def _log_likelihood(hits: _Counts, trials: _Counts) -> _Counts:
    """The logarithm of the likelihood of hits among trials at the share that they have."""
    others = trials - hits
    shares = np.stack([hits, others]) / np.maximum(trials, 1)
    logarithms = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
    return np.asarray(hits * logarithms[0] + others * logarithms[1])
