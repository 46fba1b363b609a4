"""Styles: the ranges that the choices for one picture are drawn from.

`FREE` has the widest ranges. The others are narrower, as the captcha engines that sites use draw:
written from what is known of the engines, and of no single site.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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

_NAMES: Final = {
    "fills": {"solid", "hollow", "outlined", "shadow", "stippled", "thin", "bold"},
    "papers": {"plain", "gradient", "cloud", "grid", "dots", "hatch"},
    "stroke_kinds": {"line", "arc", "curve", "wave", "dashes", "spots"},
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
        fills: Weights of `solid`, `hollow`, `outlined`, `shadow`, `stippled`, `thin`, `bold`.
        papers: Weights of `plain`, `gradient`, `cloud`, `grid`, `dots`, `hatch`.
        wave: The largest shift of a wave over the picture, as a share of its height.
        fish: The strength of fish-eyes, in 0..1.
        tilt: The largest perspective, as a share of the height.
        strokes: The number of lines, arcs, waves and layers of dashes or spots.
        stroke_kinds: Weights of `line`, `arc`, `curve`, `wave`, `dashes`, `spots`.
        stroke_width: In pixels of a picture 50 pixels high; dashes are half as wide.
        own_ink: The probability that strokes have the letters' colour.
        cuts: The probability that strokes have the paper's colour, and cut the letters.
        under: The probability that a stroke lies under the letters.
        inverts: The probability that a stroke inverts what it crosses.
        specks: The share of pixels that are specks.
        noise: The largest standard deviation of normal noise, in levels.
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
            UNAMBIGUOUS: 1.5,
            DIGITS + SMALL: 2,
            DIGITS + CAPITALS: 2,
            DIGITS + CAPITALS + SMALL: 2.5,
            SUM: 1,
        }
    )
    length: tuple[int, int] = (3, 8)
    height: Range = (22, 100)
    size: Range = (0.4, 0.95)
    gap: Range = (-0.14, 0.5)
    ends: Range = (0.05, 1.2)
    common_face: float = 0.35
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
    fills: Weights = field(
        default_factory=lambda: {
            "solid": 6,
            "hollow": 0.7,
            "outlined": 0.5,
            "shadow": 0.7,
            "stippled": 0.4,
            "thin": 0.6,
            "bold": 0.6,
        }
    )
    papers: Weights = field(
        default_factory=lambda: {
            "plain": 5,
            "gradient": 1.5,
            "cloud": 1.5,
            "grid": 1,
            "dots": 1,
            "hatch": 0.7,
        }
    )
    wave: float = 0.1
    fish: float = 0.3
    tilt: float = 0.1
    strokes: tuple[int, int] = (0, 7)
    stroke_kinds: Weights = field(
        default_factory=lambda: {
            "line": 3,
            "arc": 1,
            "curve": 2,
            "wave": 1,
            "dashes": 2,
            "spots": 1,
        }
    )
    stroke_width: Range = (0.7, 3)
    own_ink: float = 0.5
    cuts: float = 0.06
    under: float = 0.4
    inverts: float = 0.05
    specks: Range = (0, 0.25)
    noise: float = 14
    blur: float = 0.8
    jpeg: float = 0.45
    palette: float = 0.12
    rescale: float = 0.3
    frame: float = 0.15

    def __post_init__(self) -> None:
        for setting, names in _NAMES.items():
            unknown = getattr(self, setting).keys() - names
            if unknown:
                raise ValueError(f"{setting} are {sorted(names)}, not {sorted(unknown)}")


FREE: Final = Style()

_CALM: Final = replace(FREE, strokes=(0, 2), specks=(0, 0.01), noise=4, fish=0, tilt=0, wave=0)

STYLES: Final[dict[str, tuple[float, Style]]] = {
    "free": (6, FREE),
    "clean": (2, replace(_CALM, turn=12, shear=0.15, strokes=(0, 0))),
    # Rippled bold text with thick curves over a gradient.
    "kaptcha": (
        1.5,
        replace(
            _CALM,
            length=(4, 6),
            height=(36, 70),
            size=(0.7, 0.95),
            gap=(-0.02, 0.15),
            turn=3,
            shear=0.05,
            jump=0.02,
            grow=0.05,
            stretch=(0.8, 1.2),
            skew=0,
            contrast=(0.6, 1),
            papers={"gradient": 3, "plain": 1.5, "grid": 0.5},
            fills={"solid": 4, "bold": 1.5, "shadow": 1},
            common_face=0.7,
            wave=0.12,
            fish=0.6,
            strokes=(0, 2),
            stroke_kinds={"curve": 1},
            stroke_width=(1.5, 4),
            own_ink=0.8,
            under=0,
        ),
    ),
    # Small digits in colours on a tint, with dots or short lines: the many small GD pages.
    "small": (
        2.5,
        replace(
            _CALM,
            texts={DIGITS: 5, UNAMBIGUOUS: 1, DIGITS + SMALL: 1, DIGITS + CAPITALS: 1},
            length=(4, 5),
            height=(18, 34),
            size=(0.5, 0.9),
            gap=(0, 1.2),
            common_face=0.6,
            aliased=0.3,
            turn=20,
            shear=0.1,
            contrast=(0.35, 1),
            many_inks=0.6,
            specks=(0, 0.25),
            strokes=(0, 5),
            stroke_kinds={"line": 2, "curve": 1, "dashes": 3, "spots": 1},
            stroke_width=(0.8, 1.6),
            blur=0.3,
        ),
    ),
    # Turned letters, each in a colour, lines and dots: the PHP frameworks' and forums' own.
    "framework": (
        2,
        replace(
            FREE,
            length=(4, 6),
            height=(30, 80),
            size=(0.45, 0.8),
            gap=(-0.05, 0.4),
            common_face=0.5,
            turn=40,
            light_ink=0.05,
            papers={"plain": 5, "dots": 2, "cloud": 1},
            wave=0.08,
            fish=0,
            specks=(0, 0.15),
            stroke_kinds={"line": 3, "arc": 1, "curve": 2, "dashes": 2},
        ),
    ),
    # Stretched, touching letters under one arc: Java libraries and lepture's captcha.
    "arc": (
        1.5,
        replace(
            FREE,
            length=(4, 6),
            height=(40, 90),
            size=(0.55, 0.9),
            gap=(-0.12, 0.1),
            turn=30,
            papers={"plain": 1},
            specks=(0, 0.03),
            strokes=(1, 3),
            stroke_kinds={"arc": 2, "curve": 2, "spots": 1},
            stroke_width=(1, 3.5),
            own_ink=0.5,
            stretch=(0.45, 1.2),
            skew=0.3,
        ),
    ),
    # Black warped letters that touch, no colours.
    "warped": (
        1.5,
        replace(
            FREE,
            texts={SMALL: 2, CAPITALS: 1, DIGITS + SMALL: 1, DIGITS + CAPITALS + SMALL: 1},
            height=(40, 80),
            size=(0.5, 0.95),
            gap=(-0.16, 0.05),
            contrast=(0.7, 1),
            grey=0.8,
            aliased=0.3,
            wave=0.2,
            fish=0.6,
            tilt=0.2,
            papers={"plain": 1},
            strokes=(0, 2),
            stroke_kinds={"wave": 2, "curve": 1},
            specks=(0, 0.01),
        ),
    ),
    # Thick strikes in the letters' colour, over the text.
    "struck": (
        1.5,
        replace(
            FREE,
            length=(4, 6),
            gap=(-0.1, 0.15),
            strokes=(1, 6),
            stroke_width=(1, 4),
            own_ink=0.8,
            under=0.15,
            specks=(0, 0.03),
        ),
    ),
    # Small text on a wide canvas.
    "wide": (1, replace(FREE, height=(40, 80), size=(0.2, 0.4), ends=(1, 4), blur=0.3, wave=0.04)),
    # Pale letters on white, a colour each.
    "pale": (
        1,
        replace(
            FREE,
            contrast=(0.15, 0.4),
            many_inks=0.8,
            grey=0,
            light_ink=0,
            specks=(0, 0.02),
            noise=6,
        ),
    ),
    # svg-captcha: outlines of letters, filled, with thin curves.
    "svg": (
        1,
        replace(
            _CALM,
            length=(4, 5),
            height=(40, 60),
            size=(0.7, 1),
            gap=(0, 0.4),
            many_inks=0.6,
            contrast=(0.3, 1),
            strokes=(0, 4),
            stroke_kinds={"curve": 1},
            stroke_width=(0.8, 1.5),
            jpeg=0,
        ),
    ),
    "sum": (
        1,
        replace(
            FREE,
            texts={SUM: 1},
            gap=(0.05, 0.5),
            common_face=0.5,
            strokes=(0, 4),
            turn=15,
            specks=(0, 0.35),
        ),
    ),
}
"""Each style with its weight in the mixture."""


def pick(rng: np.random.Generator, weights: Weights) -> str:
    """Chooses a name by weights, which need not add up to 1."""
    fractions = np.array(list(weights.values()), np.float64)
    return list(weights)[int(rng.choice(len(weights), p=fractions / fractions.sum()))]
