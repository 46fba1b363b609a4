"""A style: the ranges that the choices for one picture are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

Range = tuple[float, float]
Weights = Mapping[str, float]

SUM: Final = "sum"
"""In place of a charset: an arithmetic task."""

DIGITS: Final = "0123456789"
CAPITALS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SMALL: Final = CAPITALS.lower()
UNAMBIGUOUS: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
UNAMBIGUOUS_SMALL: Final = "23456789abcdefghijkmnpqrstuvwxyz"
UNAMBIGUOUS_CASES: Final = UNAMBIGUOUS + UNAMBIGUOUS_SMALL[8:]
"""Digits and letters without those that look alike: 0, O and o, 1, I and l. Where digits and
letters are mixed, most sites leave these out, so a ring among letters is mostly an O."""

_JOINS: Final[Weights] = {"cover": 8, "darken": 1, "invert": 0.5}
_FILLS: Final[Weights] = {
    "solid": 6,
    "hollow": 0.7,
    "outlined": 0.5,
    "shadow": 0.7,
    "stippled": 0.4,
    "thin": 0.6,
    "bold": 0.6,
    "rimmed": 0.5,
    "raised": 0.4,
    "faded": 0.4,
    "dotted": 0.3,
    "striped": 0.2,
    "reversed": 0.3,
}
_PAPERS: Final[Weights] = {
    "plain": 5,
    "gradient": 1.5,
    "cloud": 1.5,
    "grid": 1,
    "dots": 1,
    "hatch": 0.7,
    "panels": 0.5,
    "checks": 0.3,
    "blots": 0.6,
}
_STROKE_KINDS: Final[Weights] = {
    "line": 3,
    "arc": 1,
    "curve": 2,
    "wave": 1,
    "dashes": 2,
    "spots": 1,
    "circles": 0.5,
}

_CHOICES: Final = {
    "joins": _JOINS,
    "fills": _FILLS,
    "papers": _PAPERS,
    "stroke_kinds": _STROKE_KINDS,
}


@dataclass(frozen=True, slots=True)
class Style:
    """How one kind of picture is drawn.

    Two numbers are a range, from and to. Weights choose one of several names.

    Attributes:
        texts: Weights of the charsets; `SUM` is an arithmetic task.
        length: The number of characters; sums have their own.
        height: Of the picture, in pixels.
        size: Of the letters: an em as a share of the picture's height.
        gap: Between two letters' ink, as a share of an em; below 0 they overlap.
        uneven: The largest change of single gaps, as a share of an em, at least 0.04: some letters
            touch, others stand apart.
        ends: Paper before the text, and after it, as a share of half the height.
        common_face: The probability of a face like those that servers have.
        many_faces: The probability that each letter has a face of its own.
        stretch: How wide the letters are, as a factor.
        skew: The largest shift of a letter's corners, as a share of an em: perspective.
        turn: The largest rotation of a letter, in degrees.
        shear: The largest shear of a letter, in columns per row.
        jump: The largest shift of a letter up or down, as a share of the height.
        grow: The largest change of a letter's size, as a share.
        many_inks: The probability that each letter has a colour of its own.
        light_ink: The probability of light letters on dark paper.
        contrast: The distance of ink and paper, in 0..1 of the largest there is.
        grey: The probability of a picture without colours.
        opacity: Of the ink, in 0..1.
        aliased: The probability of letters and strokes without smooth edges, as GIFs have them.
        joins: Weights of what happens where two letters meet: `cover`, `darken`, `invert`.
        fills: Weights of `solid`, `hollow`, `outlined`, `shadow`, `stippled`, `thin`, `bold`,
            `rimmed` (outlines of letters and shadows), `raised` (the sides of letters of paper),
            `faded`, `dotted`, `striped`, and `reversed` (letters of paper on blots of ink).
        papers: Weights of `plain`, `gradient`, `cloud`, `grid`, `dots`, `hatch`, `panels`,
            `checks`, `blots`.
        scattered: The probability of small letters on the paper, which are no part of the text.
        wave: The largest shift of a wave over the picture, as a share of its height.
        fish: The strength of fish-eyes, in 0..1.
        tilt: The largest perspective, as a share of the height.
        strokes: The number of lines, arcs, waves and layers of dashes, spots or circles.
        stroke_kinds: Weights of `line`, `arc`, `curve`, `wave`, `dashes`, `spots`, `circles`.
        stroke_width: In pixels of a picture 50 pixels high; dashes are half as wide.
        own_ink: The probability that strokes have the letters' colour.
        cuts: The probability that strokes have the paper's colour, and cut the letters.
        under: The probability that a stroke lies under the letters.
        inverts: The probability that a stroke inverts what it crosses.
        specks: The share of pixels that are specks.
        noise: The largest standard deviation of normal noise, in levels.
        blurred: The probability of a blur, over specks and noise.
        blur: The largest standard deviation of a blur, in pixels.
        jpeg: The probability of JPEG, with a quality of 30 to 95.
        palette: The probability of a palette of few colours.
        rescale: The probability that the picture was drawn in another size.
        frame: The probability of a frame.

    Raises:
        ValueError: If a weight has a name that is not listed here.
    """

    texts: Weights = field(
        default_factory=lambda: {
            DIGITS: 3,
            SMALL: 1.5,
            CAPITALS: 1.5,
            UNAMBIGUOUS: 2,
            UNAMBIGUOUS_SMALL: 1.5,
            UNAMBIGUOUS_CASES: 1.5,
            DIGITS + SMALL: 1,
            DIGITS + CAPITALS: 1.5,
            DIGITS + CAPITALS + SMALL: 1.5,
            SUM: 1,
        }
    )
    length: tuple[int, int] = (3, 8)
    height: Range = (22, 100)
    size: Range = (0.4, 1.1)
    gap: Range = (-0.14, 0.5)
    uneven: float = 0.3
    ends: Range = (0.05, 1.2)
    common_face: float = 0.5
    many_faces: float = 0.25
    stretch: Range = (0.55, 1.35)
    skew: float = 0.2
    turn: float = 30
    shear: float = 0.35
    jump: float = 0.14
    grow: float = 0.25
    many_inks: float = 0.4
    light_ink: float = 0.15
    contrast: Range = (0.25, 1)
    grey: float = 0.25
    opacity: Range = (0.6, 1)
    aliased: float = 0.12
    joins: Weights = field(default_factory=lambda: _JOINS)
    fills: Weights = field(default_factory=lambda: _FILLS)
    papers: Weights = field(default_factory=lambda: _PAPERS)
    scattered: float = 0.06
    wave: float = 0.1
    fish: float = 0.3
    tilt: float = 0.1
    strokes: tuple[int, int] = (0, 7)
    stroke_kinds: Weights = field(default_factory=lambda: _STROKE_KINDS)
    stroke_width: Range = (0.7, 3)
    own_ink: float = 0.5
    cuts: float = 0.06
    under: float = 0.4
    inverts: float = 0.05
    specks: Range = (0, 0.25)
    noise: float = 14
    blurred: float = 0.3
    blur: float = 0.8
    jpeg: float = 0.45
    palette: float = 0.12
    rescale: float = 0.3
    frame: float = 0.15

    def __post_init__(self) -> None:
        for setting, known in _CHOICES.items():
            unknown = getattr(self, setting).keys() - known.keys()
            if unknown:
                raise ValueError(f"{setting} are {sorted(known)}, not {sorted(unknown)}")


def pick(rng: np.random.Generator, weights: Weights) -> str:
    """Chooses a name by weights, which need not add up to 1."""
    fractions = np.array(list(weights.values()), np.float64)
    return list(weights)[int(rng.choice(len(weights), p=fractions / fractions.sum()))]
