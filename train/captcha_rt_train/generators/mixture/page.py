"""The page of a picture: colours, paper, strokes, specks, and how the file is stored."""

from itertools import pairwise
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt_train.generators.mixture.style import Style, pick

_STANDS_OUT: Final = 1.8  # the contrast of the letters, as a multiple of the page's clutter
_CLUTTER: Final = 8.0  # levels of clutter that every page counts as having
_LOST: Final = 0.5  # the change of the ink by what lies over it, as a share of its contrast

Pixels = NDArray[np.float32]
"""Levels of red, green and blue along the last axis, in 0..255."""


class Stroke(NamedTuple):
    """A line, arc or wave, or many dashes, spots or circles.

    Attributes:
        under: Whether it lies under the letters.
        ink: `(H, W)` uint8.
        colour: `(3,)`.
    """

    under: bool
    ink: NDArray[np.uint8]
    colour: Pixels


def mix(picture: Pixels, ink: NDArray[np.uint8], colour: Pixels, opacity: float = 1.0) -> None:
    """Mixes a colour into a picture where there is ink.

    Args:
        picture: `(H, W, 3)`; changed in place.
        ink: `(H, W)`; 255 covers the picture, 0 leaves it.
        colour: `(3,)`, or one for each pixel, `(H, W, 3)`.
        opacity: What full ink covers, in 0..1.
    """
    fraction = (ink.astype(np.float32) * np.float32(opacity / 255))[:, :, None]
    picture += (colour - picture) * fraction


def choose_colours(rng: np.random.Generator, style: Style, count: int) -> tuple[Pixels, Pixels]:
    """Chooses the paper's colour, `(3,)`, and the colours of `count` letters, `(count, 3)`."""
    light_ink = rng.random() < style.light_ink
    if rng.random() < 0.35:
        paper = np.full(3, 0.0 if light_ink else 255.0)
    else:
        paper = rng.uniform(0, 90, 3) if light_ink else rng.uniform(170, 255, 3)
    low, high = style.contrast
    contrast = high - (high - low) * rng.random() ** 2  # the ink of most captchas is plain
    several = rng.random() < style.many_inks
    inks = np.stack([_contrast(rng, paper, contrast) for _ in range(count if several else 1)])
    if rng.random() < style.grey:
        paper = np.repeat(paper.mean(), 3)
        inks = np.repeat(inks.mean(axis=1)[:, None], 3, axis=1)
    inks = np.broadcast_to(inks, (count, 3))
    return paper.astype(np.float32), inks.astype(np.float32)


def _contrast(
    rng: np.random.Generator, paper: NDArray[np.float64], contrast: float
) -> NDArray[np.float64]:
    """A colour at a distance from the paper: a fraction of the largest possible distance."""
    far = 255.0 if paper.mean() < 128 else 0.0
    aim = np.where(rng.random(3) < 0.6, far, rng.uniform(0, 255, 3))
    difference = aim - paper
    largest = np.abs(difference).max()
    wanted = contrast * abs(far - paper.mean())
    if largest < wanted:  # a colour like the paper's: it becomes a grey
        difference, largest = far - paper, np.abs(far - paper).max()
    return np.asarray((paper + difference * (wanted / max(largest, 1))).clip(0, 255))


def draw_paper(
    rng: np.random.Generator, style: Style, size: tuple[int, int], colour: Pixels
) -> Pixels:
    """Draws the empty page, `(H, W, 3)`, in a colour, with or without a texture."""
    height, width = size
    page = np.empty((height, width, 3), np.float32)
    page[:] = colour
    other = colour + rng.uniform(-60, 60, 3).astype(np.float32)
    rows, columns = np.ogrid[:height, :width]
    match pick(rng, style.papers):
        case "gradient":
            angle = rng.uniform(0, 2 * np.pi)
            ramp = rows * np.sin(angle) / height + columns * np.cos(angle) / width
            ramp = (ramp - ramp.min()) / max(np.ptp(ramp), 1e-6)
            page += ramp.astype(np.float32)[:, :, None] * (other - colour)
        case "cloud":
            knots = rng.normal(0, 1, (int(rng.integers(2, 9)), int(rng.integers(3, 20)), 3))
            cloud = cv2.resize(
                knots.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
            )
            page += cloud * np.float32(rng.uniform(3, 16))
        case "grid":
            step, start = int(rng.integers(4, 16)), int(rng.integers(4))
            page[start::step] = other
            page[:, start::step] = other
        case "dots":
            page[rng.random(size) < rng.uniform(0.02, 0.2)] = other
        case "hatch":
            step = int(rng.integers(4, 12))
            page[(rows * rng.choice([-1, 1]) + columns) % step < rng.integers(1, 3)] = other
        case "panels":
            edges = np.linspace(0, width, int(rng.integers(3, 9))).astype(int)
            for left, right in pairwise(edges):
                page[:, left:right] += rng.uniform(-70, 70, 3).astype(np.float32)
        case "checks":
            side = int(rng.integers(5, 24))
            page[(rows // side + columns // side) % 2 == 0] = other
        case "blots":
            for _ in range(int(rng.integers(4, 30))):
                axes = rng.integers(2, max(4, height // 3), 2).tolist()
                middle = int(rng.integers(width)), int(rng.integers(height))
                cv2.ellipse(page, middle, axes, 0, 0, 360, near(rng, colour).tolist(), -1)
    return page.clip(0, 255)


def near(rng: np.random.Generator, colour: Pixels) -> Pixels:
    """A colour that stands out little from another, `(3,)`."""
    return np.asarray((colour + rng.uniform(-80, 80, 3)).clip(0, 255), np.float32)


def draw_strokes(
    rng: np.random.Generator, style: Style, size: tuple[int, int], paper: Pixels, inks: Pixels
) -> list[Stroke]:
    """Draws strokes in the letters' colours, the paper's or others."""
    cuts, own_ink = rng.random(2) < (style.cuts, style.own_ink)
    fewest, most = style.strokes
    strokes = []
    for _ in range(fewest + int((most - fewest + 1) * rng.random() ** 1.6)):  # few more often
        ink = np.zeros(size, np.uint8)
        kind = pick(rng, style.stroke_kinds)
        paths = _stroke_paths(rng, kind, size)
        width = rng.uniform(*style.stroke_width) / (2 if kind == "dashes" else 1)
        thickness = max(1, round(width * size[0] / 50))
        sixteenths = np.rint(paths * 16).astype(np.int32)
        cv2.polylines(ink, list(sixteenths), False, 255, thickness, cv2.LINE_AA, 4)
        if cuts:
            colour = paper
        elif own_ink:
            colour = inks[rng.integers(len(inks))]
        else:
            contrast = rng.uniform(0.15, 0.9)
            colour = _contrast(rng, paper.astype(np.float64), contrast).astype(np.float32)
        strokes.append(Stroke(bool(rng.random() < style.under), ink, colour))
    return strokes


def _stroke_paths(
    rng: np.random.Generator, kind: str, size: tuple[int, int]
) -> NDArray[np.float64]:
    """The points of a stroke, `(M, N, 2)`: M paths of N points, x and y in pixels."""
    height, width = size
    t = np.linspace(0, 1, 24)[:, None]
    match kind:
        case "line":
            path = rng.uniform((0, 0), (width, height), (2, 2))
            if rng.random() < 0.6:  # from side to side
                path[:, 0] = -2, width + 2
        case "spots":
            count = int(rng.integers(8, 60) * width / (2 * height))
            starts = rng.uniform((0, 0), (width, height), (count, 1, 2))
            return np.asarray(starts + np.array([[0, 0], rng.integers(0, 2, 2)]))
        case "dashes":  # many, with one direction or in all
            count = int(rng.integers(10, 70) * width / (3 * height))
            starts = rng.uniform((0, 0), (width, height), (count, 2))
            spread = rng.choice([0.2, np.pi])
            angles = rng.uniform(0, np.pi) + rng.uniform(-spread, spread, count)
            lengths = rng.uniform(0.05, 0.4, count) * height
            ends = starts + lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            return np.stack([starts, ends], axis=1)
        case "circles":
            count = int(rng.integers(3, 20))
            middles = rng.uniform((0, 0), (width, height), (count, 1, 2))
            axes = rng.uniform(0.04, 0.3, (count, 1, 1)) * height * rng.uniform(0.6, 1, (1, 1, 2))
            angles = 2 * np.pi * t
            return np.asarray(middles + axes * np.hstack([np.cos(angles), np.sin(angles)]))
        case "arc":
            middle = rng.uniform((0, -height / 2), (width, 1.5 * height))
            axes = rng.uniform((width / 6, height / 4), (width / 1.2, height))
            angles = rng.uniform(0, 2 * np.pi) + t * rng.uniform(1, 6)
            path = middle + axes * np.hstack([np.cos(angles), np.sin(angles)])
        case "wave":
            x = t * (width + 4) - 2
            turns = 2 * np.pi * x / (rng.uniform(0.25, 1.5) * width) + rng.uniform(0, 2 * np.pi)
            y = height * (rng.uniform(0.3, 0.7) + rng.uniform(0.05, 0.35) * np.sin(turns))
            path = np.hstack([x, y])
        case _:  # a cubic curve
            x = np.sort(rng.uniform(-0.05, 1.05, 4)) * width
            control = np.stack([x, rng.uniform(-0.1, 1.1, 4) * height], axis=1)
            weights = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
            path = weights @ control
    return path[None]


def draw_over(rng: np.random.Generator, style: Style, picture: Pixels, stroke: Stroke) -> None:
    """Draws a stroke over the letters, in its colour or by inverting what lies below.

    `picture`, `(H, W, 3)`, is changed in place.
    """
    if rng.random() < style.inverts:
        crossed = stroke.ink > 127
        picture[crossed] = 255 - picture[crossed]
    else:
        mix(picture, stroke.ink, stroke.colour)


def without_smooth_edges(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Ink that covers a pixel or leaves it, `(H, W)` uint8 of 0 and 255."""
    return np.asarray(cv2.threshold(ink, 64, 255, cv2.THRESH_BINARY)[1], np.uint8)


def add_specks_and_noise(
    rng: np.random.Generator, style: Style, picture: Pixels, inks: Pixels
) -> None:
    """Adds specks, in the letters' colours or in any, and normal noise, in place."""
    height, width = picture.shape[:2]
    if rng.random() < 0.5:
        low, high = style.specks
        count = int((low + (high - low) * rng.random() ** 3) * height * width)  # few more often
        rows, columns = rng.integers(height, size=count), rng.integers(width, size=count)
        if rng.random() < 0.4:
            colours = inks[rng.integers(len(inks), size=count)]
        else:
            colours = rng.uniform(0, 255, (count, 3)).astype(np.float32)
        for right in range(1 + int(rng.random() < 0.3)):  # one or two pixels wide
            picture[rows, np.minimum(columns + right, width - 1)] = colours
    if rng.random() < 0.4:
        deviation = np.float32(rng.uniform(0, style.noise))
        picture += rng.standard_normal(picture.shape, np.float32) * deviation


def is_legible(
    picture: Pixels, written: Pixels, empty: Pixels, ink: NDArray[np.uint8], paper: Pixels
) -> bool:
    """Whether a text stands out from its page.

    What nobody can read teaches nothing. The letters differ from the page by more than most of the
    page differs from its paper, and most of their ink is neither covered nor changed.

    Args:
        picture: `(H, W, 3)`, with everything on it.
        written: The page with the letters, before anything was drawn over them.
        empty: The page before the letters.
        ink: `(H, W)`, the letters' ink.
        paper: `(3,)`, the paper's colour.
    """
    core = ink > 128
    if not core.any():
        core = ink > ink.max() // 2
    contrast = np.abs(written[core] - empty[core]).max(axis=1).mean()
    clutter = np.abs(picture[ink < 32] - paper).max(axis=1).mean() if (ink < 32).any() else 0.0
    lost = np.abs(picture[core] - written[core]).max(axis=1).mean()
    return bool(contrast > _STANDS_OUT * (clutter + _CLUTTER) and lost < _LOST * contrast)


def finish(
    rng: np.random.Generator, style: Style, picture: Pixels
) -> tuple[NDArray[np.uint8], float]:
    """Scales and blurs the picture, and stores it as image files do.

    Returns:
        The picture, `(H, W, 3)` uint8, and the factor by which it was scaled.
    """
    scale = 1.0
    if rng.random() < style.rescale:
        wanted = float(rng.uniform(0.6, 1.6))
        if 18 <= picture.shape[0] * wanted <= 110:
            scale = wanted
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            resized = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=how)
            picture = np.asarray(resized, np.float32)
    if rng.random() < style.blurred:
        radius = max(rng.uniform(0, style.blur), 0.05)
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), radius), np.float32)
    levels = np.rint(picture.clip(0, 255)).astype(np.uint8)
    if rng.random() < style.frame:
        levels[[0, -1]] = levels[:, [0, -1]] = rng.integers(0, 256, 3)
    if rng.random() < style.palette:
        step = int(rng.integers(16, 64))
        levels = (levels // step * step + step // 2).astype(np.uint8)
    if rng.random() < style.jpeg:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 96))]
        bgr = cv2.cvtColor(levels, cv2.COLOR_RGB2BGR)  # the order of OpenCV's files
        stored = cv2.imencode(".jpg", bgr, quality)[1]
        bgr = np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR))
        levels = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
    return levels, scale
