"""A pool of drawn pictures in the memory of JAX's device, which changes them anew itself.

On a GPU the processor's cores can't change as many pictures as the network trains on. What is done
to a picture is what `pool.change` does; only the random numbers are others.
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Final, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from captcha_rt_train.data.pool import (
    ACROSS,
    BRIGHTNESS,
    CONTRAST,
    DOWN,
    EDGE,
    INVERTED,
    NOISE,
    NOISY,
    OVER,
    PERMUTED,
    SHEAR,
    SHRUNK,
    SIGMA,
    SOFTENED,
    TURN,
    Pool,
    order,
)
from captcha_rt_train.data.real import RealPictures, real_in
from captcha_rt_train.errors import TrainingError

_TAPS: Final = 3  # pixels on each side that a blur reads
_CUBIC: Final = -0.75  # OpenCV's cubic interpolation


class Part(NamedTuple):
    """Pictures on JAX's device.

    Attributes:
        pictures: `(N, H, W, 3)` uint8.
        labels: `(N, LENGTH)` int32 class ids, padded with the blank.
        columns: `(N, LENGTH)` float32: where each character stands, as a fraction of the width; -1
            where that is not known.
    """

    pictures: Array
    labels: Array
    columns: Array


@partial(jax.tree_util.register_dataclass, data_fields=["drawn", "real"], meta_fields=["sources"])
@dataclass(frozen=True, slots=True)
class JaxPool:
    """Drawn pictures, and the real ones that are mixed in, on JAX's device.

    Real pictures are changed as drawn ones are, and not by their own augmentation.

    Attributes:
        drawn: The drawn pictures.
        real: The real ones; None if there are none.
        sources: The numbers of the real pictures of each source.
    """

    drawn: Part
    real: Part | None = None
    sources: tuple[range, ...] = ()

    @classmethod
    def load(cls, pool: Pool, real: RealPictures | None) -> Self:
        """Copies the pictures into the device's memory, 28 kB each.

        Raises:
            TrainingError: If they don't fit.
        """
        try:
            drawn = _put(pool.pictures, pool.labels, pool.columns)
            if real is None:
                return cls(drawn)
            pictures, labels = (np.concatenate(parts) for parts in zip(*real.sources, strict=True))
            others = _put(pictures, labels, np.full(labels.shape, -1, np.float32))
        except jax.errors.JaxRuntimeError as error:
            raise TrainingError(
                f"{len(pool)} drawn pictures don't fit into the memory of {jax.devices()[0]}: "
                f"name fewer with --drawn ({str(error).splitlines()[0]})"
            ) from error
        ends = np.cumsum([0, *(len(labels) for _, labels in real.sources)]).tolist()
        return cls(drawn, others, tuple(range(*ends_of) for ends_of in pairwise(ends)))

    def choose(self, seed: int, first: int, steps: int, size: int) -> NDArray[np.int32]:
        """Chooses the pictures of training steps: the drawn ones in `Pool.choose`'s order.

        Args:
            seed: Chooses the order.
            first: The number of the first step.
            steps: The number of steps.
            size: The pictures of a step; one in `SHARE` is a real one, if there are any.

        Returns:
            `(steps, size)` numbers: of drawn pictures, and behind them of real ones.
        """
        count, real = len(self.drawn.labels), self._real_of(size)
        places = np.arange(first * (size - real), (first + steps) * (size - real))
        turns = places // count
        drawn = np.concatenate(
            [
                order(count, seed, int(turn))[places[turns == turn] % count]
                for turn in np.unique(turns)
            ]
        )
        others = [self._choose_real((seed, first + step), real) for step in range(steps)]
        parts = drawn.reshape(steps, -1), np.array(others, int).reshape(steps, real)
        return np.concatenate(parts, axis=1).astype(np.int32)

    def take(self, numbers: Array, key: Array) -> tuple[Array, Array, Array]:
        """Takes the pictures of a step, each changed anew.

        Args:
            numbers: `(N,)` int32, as `choose` makes them.
            key: Chooses the changes.

        Returns:
            The inputs `(N, H, W, 3)` float32 in 0..1, labels and columns.
        """
        drawn = len(numbers) - self._real_of(len(numbers))
        taken = Part(*(rows[numbers[:drawn]] for rows in self.drawn))
        if self.real is not None:
            others = (rows[numbers[drawn:]] for rows in self.real)
            taken = Part(*map(jnp.concatenate, zip(taken, others, strict=True)))
        pictures, columns = change(taken.pictures, taken.columns, key)
        return pictures / 255, taken.labels, columns

    def _real_of(self, size: int) -> int:
        """How many of the pictures of a step are real ones."""
        return 0 if self.real is None else real_in(size)

    def _choose_real(self, seed: tuple[int, int], size: int) -> list[int]:
        """Chooses real pictures; each source as often."""
        rng = np.random.default_rng(seed)
        chosen = [self.sources[rng.integers(len(self.sources))] for _ in range(size)]
        return [source[rng.integers(len(source))] for source in chosen]


def _put(*rows: NDArray[Any]) -> Part:
    """Copies pictures, labels and columns; waits, so that what doesn't fit is an error here."""
    return Part(*(jax.device_put(np.asarray(part)).block_until_ready() for part in rows))


def change(pictures: Array, columns: Array, key: Array) -> tuple[Array, Array]:
    """Changes drawn pictures: their place, size, shape, colours, and noise.

    Args:
        pictures: `(N, H, W, 3)` uint8.
        columns: `(N, L)` float32: where their characters stand, as fractions of the width; 0 where
            there is none, and -1 where it is not known.
        key: The source of randomness.

    Returns:
        The pictures, float32 of whole numbers in 0..255, and where their characters stand in them.
    """
    places, softness, colours = jax.random.split(key, 3)
    matrix = _placements(pictures.shape, columns, places)
    moved = _warp(pictures.astype(jnp.float32), matrix)
    width = pictures.shape[2]
    middle = (pictures.shape[1] - 1) / 2
    across, shear, shift = (matrix[:, 0, n, None] for n in range(3))
    standing = ((across * columns * width + shear * middle + shift) / width).clip(0, 1)
    return (
        _recolour(_soften(moved, softness), colours),
        jnp.where(columns < 0, columns, standing),
    )


def _placements(shape: tuple[int, ...], columns: Array, key: Array) -> Array:
    """How each picture is scaled, turned, sheared and moved: `(N, 2, 3)`, to its new places."""
    size, height, width, _ = shape
    keys = iter(jax.random.split(key, 5))

    def between(low: float, high: float) -> Array:
        return jax.random.uniform(next(keys), (size,), minval=low, maxval=high)

    across, down = (jnp.exp(between(*np.log(limits).tolist())) for limits in (ACROSS, DOWN))
    turn, shear = jnp.deg2rad(between(-TURN, TURN)), between(-SHEAR, SHEAR)
    # No picture is widened so far that a character leaves it, or, where its characters' places
    # aren't known, at all.
    farthest = jnp.where(columns > 0, jnp.abs(columns - 0.5), 0).max(axis=1)
    widest = jnp.where(farthest > 0, jnp.maximum(0.5 / (farthest + EDGE), 1), ACROSS[1])
    across = jnp.minimum(across, jnp.where((columns < 0).any(axis=1), 1, widest))
    linear = jnp.stack(
        [
            jnp.stack([across * jnp.cos(turn), across * shear - down * jnp.sin(turn)], axis=-1),
            jnp.stack([across * jnp.sin(turn), down * jnp.cos(turn)], axis=-1),
        ],
        axis=1,
    )
    room = jnp.stack([width * (1 - across), height * (1 - down)], axis=-1).clip(0) / 2 + OVER
    middle = jnp.array([(width - 1) / 2, (height - 1) / 2])
    moved = room * jax.random.uniform(next(keys), (size, 2), minval=-1, maxval=1)
    shift = middle - (linear * middle).sum(axis=2) + moved
    return jnp.concatenate([linear, shift[:, :, None]], axis=2)


def _warp(pictures: Array, matrix: Array) -> Array:
    """Moves pixels as `cv2.warpAffine` does; outside is the colour of the first corner."""
    size, height, width, channels = pictures.shape
    (a, b, right_by), (c, d, down_by) = jnp.moveaxis(matrix, 0, 2)[..., None, None]
    # Not as products of matrices, for which a GPU would round the places to three digits.
    y, x = jnp.mgrid[:height, :width].astype(jnp.float32)
    x, y, determinant = x - right_by, y - down_by, a * d - b * c
    sources = jnp.stack([d * x - b * y, a * y - c * x], axis=-1) / determinant[..., None]
    sources = sources.reshape(size, -1, 2)
    corner = jnp.floor(sources).astype(jnp.int32)
    part = sources - corner
    flat, frame = pictures.reshape(size, -1, channels), pictures[:, 0, :1]
    result = jnp.zeros_like(flat)
    for right in (0, 1):
        for below in (0, 1):
            column, row = corner[..., 0] + right, corner[..., 1] + below
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            place = row.clip(0, height - 1) * width + column.clip(0, width - 1)
            pixels = jnp.take_along_axis(flat, place[..., None], axis=1)
            weight = jnp.abs(1 - right - part[..., :1]) * jnp.abs(1 - below - part[..., 1:])
            result += weight * jnp.where(inside[..., None], pixels, frame)
    return result.reshape(pictures.shape)


def _soften(pictures: Array, key: Array) -> Array:
    """Gives some pictures a blur, the loss of a smaller picture, or a median filter."""
    which, sigmas, factors, cubic = jax.random.split(key, 4)
    size = len(pictures)
    # Of `SOFTENED` pictures a third each; the others stay.
    kind = (jax.random.uniform(which, (size, 1, 1, 1)) / SOFTENED * 3).astype(jnp.int32)
    sigma = jax.random.uniform(sigmas, (size,), minval=SIGMA[0], maxval=SIGMA[1])
    factor = jax.random.uniform(factors, (size,), minval=SHRUNK[0], maxval=SHRUNK[1])
    smooth = jax.random.bernoulli(cubic, 0.5, (size,))
    softer = (blur(pictures, sigma), shrink(pictures, factor, smooth), median(pictures))
    for number, softened in enumerate(softer):
        pictures = jnp.where(kind == number, softened, pictures)
    return pictures


def blur(pictures: Array, sigma: Array) -> Array:
    """Blurs each picture with a Gaussian of a standard deviation `(N,)`, in pixels, up to 1."""
    taps = jnp.arange(-_TAPS, _TAPS + 1)
    weights = jnp.exp(-((taps / sigma[:, None]) ** 2) / 2)
    weights /= weights.sum(axis=1, keepdims=True)
    for axis in (1, 2):
        edges = [(0, 0)] * 4
        edges[axis] = (_TAPS, _TAPS)
        padded = jnp.pad(pictures, edges, mode="reflect")
        length = pictures.shape[axis]
        pictures = jnp.zeros_like(pictures)
        for n in range(len(taps)):
            part = jax.lax.slice_in_dim(padded, n, n + length, axis=axis)
            pictures += weights[:, n, None, None, None] * part
    return pictures


def shrink(pictures: Array, factor: Array, cubic: Array) -> Array:
    """Makes each picture smaller by a factor `(N,)`, and as large as it was again.

    Both are sums over rows and columns: over the area on the way there, and by linear or, where
    `cubic` (`(N,)`, bool) says so, cubic interpolation on the way back.
    """
    down, across = (_shrinking(length, factor, cubic) for length in pictures.shape[1:3])
    narrow = jnp.einsum("nwv,nhvc->nhwc", across, pictures)
    return jnp.einsum("nhg,ngwc->nhwc", down, narrow).clip(0, 255)


def _shrinking(length: int, factor: Array, cubic: Array) -> Array:
    """The weights of the places before in each place after: `(N, length, length)`."""
    smaller = jnp.round(length * factor)[:, None, None]
    step = length / smaller
    small, large = jnp.arange(length)[:, None], jnp.arange(length)[None, :]
    # The part of each small place that each large one covers.
    ends = jnp.minimum((small + 1) * step, large + 1)
    area = (ends - jnp.maximum(small * step, large)).clip(0) / step
    area = jnp.where(small < smaller, area, 0)
    place = (large.T + 0.5) / step - 0.5
    taps = jnp.floor(place) + jnp.arange(-1, 3)  # (N, length, 4)
    near = jnp.abs(place - taps)
    linear = (1 - near).clip(0)
    inner = ((_CUBIC + 2) * near - (_CUBIC + 3)) * near**2 + 1
    outer = ((_CUBIC * near - 5 * _CUBIC) * near + 8 * _CUBIC) * near - 4 * _CUBIC
    weights = jnp.where(cubic[:, None, None], jnp.where(near <= 1, inner, outer), linear)
    taps = taps.clip(0, smaller - 1)[..., None]
    back = jnp.sum(weights[..., None] * (taps == jnp.arange(length)), axis=2)
    return back @ area


def median(pictures: Array) -> Array:
    """The median of the 3 x 3 pixels around each; the edges are repeated.

    Source: J. L. Smith, "Implementing median filters in XC4000E FPGAs" (1996): the median of nine
    is the median of the largest of the rows' smallest, the middle one of their middle ones, and the
    smallest of their largest.
    """
    _, height, width, _ = pictures.shape
    padded = jnp.pad(pictures, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = [
        _sorted(*(padded[:, y : y + height, x : x + width] for x in range(3))) for y in range(3)
    ]
    low, middle, high = zip(*rows, strict=True)
    return _sorted(_sorted(*low)[2], _sorted(*middle)[1], _sorted(*high)[0])[1]


def _sorted(a: Array, b: Array, c: Array) -> tuple[Array, Array, Array]:
    low, high = jnp.minimum(a, b), jnp.maximum(a, b)
    return jnp.minimum(low, c), jnp.maximum(low, jnp.minimum(high, c)), jnp.maximum(high, c)


def _recolour(pictures: Array, key: Array) -> Array:
    """Exchanges channels, inverts, changes contrast and brightness, adds noise."""
    keys = iter(jax.random.split(key, 8))
    each = (len(pictures), 1, 1, 1)

    def happens(probability: float) -> Array:
        return jax.random.bernoulli(next(keys), probability, each)

    def around_zero(largest: float) -> Array:
        return jax.random.uniform(next(keys), each, minval=-largest, maxval=largest)

    orders = jnp.argsort(jax.random.uniform(next(keys), (each[0], 3)), axis=1)
    exchanged = jnp.take_along_axis(pictures, orders[:, None, None, :], axis=3)
    levels = jnp.where(happens(PERMUTED), exchanged, pictures) / 255
    levels = jnp.where(happens(INVERTED), 1 - levels, levels)
    levels = (levels - 0.5) * (1 + around_zero(CONTRAST)) + 0.5 + around_zero(BRIGHTNESS)
    levels = jnp.round(levels.clip(0, 1) * 255)
    deviation = 255 * NOISE * jax.random.uniform(next(keys), each) * happens(NOISY)
    noise = deviation * jax.random.normal(next(keys), pictures.shape)
    return jnp.floor(levels + noise).clip(0, 255)
