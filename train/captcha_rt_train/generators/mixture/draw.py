"""Draws pictures of the mixture: a style, a text, letters on a page."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from captcha_rt_train.generators import foreign
from captcha_rt_train.generators.mixture import letters, page
from captcha_rt_train.generators.mixture.faces import Faces
from captcha_rt_train.generators.mixture.style import SUM, Style, pick
from captcha_rt_train.generators.mixture.styles import STYLES

_TRIES: Final = 4  # pictures that nobody can read are drawn again
_WITHOUT_TEXT: Final = 0.04  # the fraction of the pictures
_ENDS: Final = {"": 2, "=": 4, "=?": 3}  # of sums; a `?` is easily seen in the noise after a `=`


@dataclass(frozen=True, slots=True)
class Drawn:
    """A drawn picture.

    Attributes:
        label: The text that the picture shows; empty if it shows none.
        picture: `(H, W, 3)` uint8, RGB.
        centres: `(len(label),)` float32: the column of each character's middle. A network learns
            faster if it is told where each character stands.
    """

    label: str
    picture: NDArray[np.uint8]
    centres: NDArray[np.float32]


def draw(rng: np.random.Generator, faces: Faces, style: Style | None = None) -> Drawn:
    """Draws one picture; the same for the same state of `rng` and the same faces.

    Args:
        rng: Chooses everything.
        faces: The faces to draw with.
        style: The style; None chooses one of `STYLES` by their weights.
    """
    if style is None:
        if rng.random() < _WITHOUT_TEXT:
            return _draw_without_text(rng)
        weights = {name: weight for name, (weight, _) in STYLES.items()}
        style = STYLES[pick(rng, weights)][1]
    for _ in range(_TRIES):
        drawn, legible = _draw_text(rng, faces, style)
        if legible:
            break
    return drawn


def _draw_text(rng: np.random.Generator, faces: Faces, style: Style) -> tuple[Drawn, bool]:
    """Draws a picture with a text, and says whether somebody could read it."""
    text = draw_text(rng, style)
    height = round(rng.uniform(*style.height))
    placed, centres, width = letters.place(rng, faces, style, text, height)
    size = height, width
    paper, inks = page.choose_colours(rng, style, len(text))
    picture = page.draw_paper(rng, style, size, paper)
    letters.scatter(rng, faces, style, picture, paper)
    aliased = rng.random() < style.aliased
    strokes = page.draw_strokes(rng, style, size, paper, inks)
    if aliased:
        strokes = [s._replace(ink=page.without_smooth_edges(s.ink)) for s in strokes]
    for stroke in strokes:
        if stroke.under:
            page.mix(picture, stroke.ink, stroke.colour)
    ink, colours = letters.join(rng, style, placed, inks, size)
    ink, colours, centres = letters.warp(rng, style, ink, colours, centres)
    if aliased:
        ink = page.without_smooth_edges(ink)
    empty = picture.copy()
    ink = letters.write(rng, style, picture, ink, colours, paper)
    written = picture.copy()
    for stroke in strokes:
        if not stroke.under:
            page.draw_over(rng, style, picture, stroke)
    page.add_specks_and_noise(rng, style, picture, inks)
    legible = page.is_legible(picture, written, empty, ink, paper)
    finished, scale = page.finish(rng, style, picture)
    return Drawn(text, finished, centres * np.float32(scale)), legible


def _draw_without_text(rng: np.random.Generator) -> Drawn:
    """Draws a page with strokes and specks alone, or noise or a texture in colours.

    A reader that sees none of these reads letters into every picture.
    """
    style = STYLES["free"][1]
    height = round(rng.uniform(*style.height))
    size = height, round(height * rng.uniform(1, 6))
    paper, inks = page.choose_colours(rng, style, 4)
    if rng.random() < 0.5:
        picture = page.draw_paper(rng, style, size, paper)
        for stroke in page.draw_strokes(rng, style, size, paper, inks):
            page.draw_over(rng, style, picture, stroke)
    else:
        levels = foreign.draw_without_text(size, rng, rng.uniform(0, foreign.WITHOUT_TEXT))
        share = (levels / 255).clip(0, 1).astype(np.float32)[:, :, None]
        picture = inks[0] + (paper - inks[0]) * share
    page.add_specks_and_noise(rng, style, picture, inks)
    finished, _ = page.finish(rng, style, picture)
    return Drawn("", finished, np.zeros(0, np.float32))


def draw_text(rng: np.random.Generator, style: Style) -> str:
    """Draws a text: characters of one charset, or a sum such as `3+15=?`; at most 8 characters."""
    charset = pick(rng, style.texts)
    if charset != SUM:
        length = int(rng.integers(style.length[0], style.length[1] + 1))
        return "".join(charset[i] for i in rng.integers(len(charset), size=length))
    largest = (10, 100)[int(rng.integers(2))]
    a, b = (str(number) for number in rng.integers(largest, size=2))
    return f"{a}{'+-x'[rng.integers(3)]}{b}{pick(rng, _ENDS)}"
