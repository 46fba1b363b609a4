"""Finds lossless WebPs whose pixels look damaged.

The format is VP8L (RFC 9649). It has no checksum, and its codes fall into step again after a
flipped bit: nine of ten damaged files that still end where they should are files that an encoder
could have written. So only the pixels tell. An encoder predicts each pixel from those above and to
the left, and stores small differences, modulo 256. A wrong difference moves all that is predicted
from it, until levels run over from black to white and back. Good pictures have such jumps, too: of
black text on white, or of specks. But these are spread over all edges, and don't begin in some row.

That is evidence, no proof: it asks for a surer answer, and refuses no picture.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_PREDICTED, _SUBTRACTED_GREEN = 0, 2  # the types of transforms that can come first
_TRANSFORMS: Final = 40  # the first bit of the transforms, after signature, size, alpha and version
_TILE: Final = 32  # pixels: the side of a square with one way to predict, as libwebp mostly takes
_SMALL: Final = 16  # levels: most of what is stored is smaller
_EDGE: Final = 24  # levels: a difference that good pictures have at edges only
_FREE: Final = 0.01  # the share of the edges above the damage that may have run over, too
# How much likelier two shares of such edges are than one, as a logarithm. Of 69 damaged files that
# were read wrongly 60 had more; of 500 good pictures of two kinds 2, of a third kind 4 of 100.
_EVIDENCE: Final = 3.0


def is_predicted(body: bytes) -> bool:
    """Whether pixels are predicted from others, as all but pictures with few colours are.

    Args:
        body: The body of a `VP8L` chunk.
    """
    bits = int.from_bytes(body[:8], "little") >> _TRANSFORMS
    if bits & 1 and bits >> 1 & 3 == _SUBTRACTED_GREEN:
        bits >>= 3
    return bool(bits & 1 and bits >> 1 & 3 == _PREDICTED)


def looks_damaged(levels: NDArray[np.uint8]) -> bool:
    """Whether levels begin to run over from black to white, or back, in some row of a picture.

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
    return _evidence(over.sum(axis=1), edges.sum(axis=1)) > _EVIDENCE


def _differences(
    levels: NDArray[np.int16], inner: NDArray[np.int16]
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
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


def _evidence(over: NDArray[np.int_], edges: NDArray[np.int_]) -> float:
    """The evidence that edges run over from some row on, and hardly ever above it.

    Args:
        over: The number of edges in each row that have run over.
        edges: The number of all edges in each row.

    Returns:
        The logarithm of how much likelier two shares are than one: a likelihood ratio.
    """
    over_above, edges_above = np.cumsum(over)[:-1], np.cumsum(edges)[:-1]
    over_below, edges_below = over.sum() - over_above, edges.sum() - edges_above
    gain = _log_likelihood(over_above, edges_above) + _log_likelihood(over_below, edges_below)
    gain -= _log_likelihood(over.sum(), edges.sum())
    begins = (over_above <= _FREE * edges_above) & (over_below > 0)
    return float(np.max(gain, where=begins, initial=0.0))


def _log_likelihood(hits: NDArray[np.int_], trials: NDArray[np.int_]) -> NDArray[np.float64]:
    """The logarithm of the likelihood of hits among trials at the share that they have."""
    others = trials - hits
    shares = np.stack([hits, others]) / np.maximum(trials, 1)
    logarithms = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
    return np.asarray(hits * logarithms[0] + others * logarithms[1])
