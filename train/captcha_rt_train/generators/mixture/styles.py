"""The styles of the mixture.

`FREE` mixes nearly everything. The others go further in what marks them, and are narrower in the
rest, as the captcha engines that sites use draw: written from what is known of the engines, and of
no single site.
"""

from dataclasses import replace
from typing import Final

from captcha_rt_train.generators.mixture.style import (
    CAPITALS,
    DIGITS,
    SMALL,
    SUM,
    UNAMBIGUOUS,
    UNAMBIGUOUS_SMALL,
    Style,
)

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
            scattered=0.25,
            wave=0.08,
            fish=0,
            specks=(0, 0.15),
            stroke_kinds={"line": 3, "arc": 1, "curve": 2, "dashes": 2},
        ),
    ),
    # Plain letters before many short strokes.
    "dashed": (
        2.5,
        replace(
            FREE,
            length=(4, 6),
            height=(20, 60),
            size=(0.5, 0.95),
            gap=(-0.02, 0.4),
            common_face=0.7,
            many_faces=0.1,
            turn=15,
            shear=0.15,
            many_inks=0.7,
            contrast=(0.4, 1),
            papers={"plain": 5, "gradient": 1},
            wave=0,
            fish=0,
            tilt=0,
            strokes=(1, 5),
            stroke_kinds={"dashes": 4, "line": 1},
            stroke_width=(0.7, 2),
            own_ink=0.15,
            under=0.6,
            specks=(0, 0.03),
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
            joins={"cover": 2, "darken": 2},
        ),
    ),
    # Black warped letters that touch, no colours.
    "warped": (
        2,
        replace(
            FREE,
            texts={SMALL: 2, CAPITALS: 1, UNAMBIGUOUS_SMALL: 1, DIGITS + CAPITALS + SMALL: 1},
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
    # Letters that touch and cover each other; in half of the texts some stand apart.
    "crowded": (
        2,
        replace(
            FREE,
            height=(30, 90),
            size=(0.6, 1.1),
            gap=(-0.25, 0.05),
            uneven=0.5,
            common_face=0.6,
            many_faces=0.15,
            stretch=(0.45, 1.2),
            many_inks=0.25,
            strokes=(0, 3),
            specks=(0, 0.04),
            noise=6,
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
        1.5,
        replace(
            _CALM,
            length=(4, 5),
            height=(40, 60),
            size=(0.7, 1),
            gap=(0, 0.4),
            many_inks=0.6,
            contrast=(0.3, 1),
            fills={"solid": 3, "rimmed": 2, "raised": 1, "hollow": 1},
            strokes=(0, 4),
            stroke_kinds={"curve": 1},
            stroke_width=(0.8, 1.5),
            jpeg=0,
        ),
    ),
    # Faces that are drawn rather than written: rims, fading, dots, and letters cut out of blots.
    "fancy": (
        1,
        replace(
            _CALM,
            length=(4, 6),
            height=(40, 80),
            size=(0.6, 1),
            gap=(0, 0.3),
            common_face=0.1,
            many_faces=0.5,
            many_inks=0.7,
            contrast=(0.3, 1),
            fills={
                "rimmed": 3,
                "raised": 2,
                "faded": 2,
                "dotted": 2,
                "striped": 1,
                "reversed": 1,
                "hollow": 1,
            },
            strokes=(0, 4),
            stroke_kinds={"line": 2, "curve": 2, "circles": 2},
            stroke_width=(0.8, 1.6),
        ),
    ),
    # Letters, and often dense specks, that a filter has smoothed.
    "smoothed": (
        1,
        replace(
            FREE,
            length=(4, 6),
            height=(24, 60),
            size=(0.6, 1.1),
            gap=(-0.05, 0.2),
            common_face=0.6,
            specks=(0.04, 0.3),
            blurred=0.9,
            blur=1.2,
            strokes=(0, 3),
        ),
    ),
    "sum": (
        1.5,
        replace(
            FREE,
            texts={SUM: 1},
            gap=(0.05, 0.5),
            common_face=0.5,
            strokes=(0, 4),
            turn=15,
            specks=(0, 0.35),
            blurred=0.5,
        ),
    ),
}
"""Each style with its weight in the mixture."""
