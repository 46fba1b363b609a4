"""The letters of a picture: placed, joined, warped and written onto the page."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt_train.generators.mixture.faces import BASELINE, CHARACTERS, EM, Faces
from captcha_rt_train.generators.mixture.page import Pixels, mix, near
from captcha_rt_train.generators.mixture.style import Style, pick

_INDEX: Final = {character: number for number, character in enumerate(CHARACTERS)}
_CROSS: Final = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


class Letter(NamedTuple):
    """A letter at its place.

    Attributes:
        ink: `(h, w)` uint8, cut to the ink.
        left: The column of its left edge on the page.
        top: The row of its upper edge on the page.
    """

    ink: NDArray[np.uint8]
    left: int
    top: int


def place(
    rng: np.random.Generator, faces: Faces, style: Style, text: str, height: int
) -> tuple[list[Letter], NDArray[np.float32], int]:
    """Turns, scales and sets the letters of a text.

    Args:
        rng: Chooses faces, sizes, turns and gaps.
        faces: The faces to draw with.
        style: The ranges of the choices.
        text: The text, of `CHARACTERS`.
        height: The height of the page in pixels.

    Returns:
        The letters, the columns of their middles, `(len(text),)`, and the page's width in pixels.
    """
    em = rng.uniform(*style.size) * height
    many_faces = rng.random() < style.many_faces
    face = _choose_face(rng, faces, style)
    turn, shear, jump, grow = (
        rng.random() * most for most in (style.turn, style.shear, style.jump, style.grow)
    )
    stretch = np.exp(rng.uniform(*np.log(style.stretch)))
    gap = rng.uniform(*style.gap) * em * min(stretch, 1)
    uneven = max(0.04, rng.uniform(-1, 1) * style.uneven) * em  # most texts are nearly even
    skew = rng.random() * style.skew if rng.random() < 0.5 else 0
    x = rng.uniform(*style.ends) * height / 2
    middle = height * rng.uniform(0.44, 0.56)
    letters: list[Letter] = []
    centres: list[float] = []
    for character in text:
        if many_faces:
            face = _choose_face(rng, faces, style)
        scale = em / EM * (1 + rng.uniform(-grow, grow))
        across = scale * stretch * (1 + rng.uniform(-grow, grow) / 2)
        angle, lean = np.deg2rad(rng.uniform(-turn, turn)), rng.uniform(-shear, shear)
        corners = rng.uniform(-skew, skew, (4, 2)) * em
        glyph = faces.ink[face, _INDEX[character]]
        ink = _transform(glyph, (across, scale), float(angle), lean, corners if skew else None)
        left, top, width, rows = cv2.boundingRect(ink)
        row = round(middle + rng.uniform(-jump, jump) * height - len(ink) / 2) + top
        letters.append(Letter(ink[top : top + rows, left : left + width], round(x), row))
        centres.append(x + width / 2)
        end = x + width
        # However narrow the gap, a letter does not cover the one before it.
        x += max(width + gap + rng.uniform(-uneven, uneven), 0.4 * width)
    x = end + rng.uniform(*style.ends) * height / 2
    return letters, np.array(centres, np.float32), max(round(x), height)


def scatter(
    rng: np.random.Generator, faces: Faces, style: Style, picture: Pixels, paper: Pixels
) -> None:
    """Writes small letters all over the empty page, which are no part of the text.

    Args:
        rng: Chooses whether there are any, the letters and their places.
        faces: The faces to draw with.
        style: The probability that there are any.
        picture: `(H, W, 3)`; changed in place.
        paper: `(3,)`, the paper's colour, from which theirs are not far.
    """
    if rng.random() >= style.scattered:
        return
    height, width = picture.shape[:2]
    face = _choose_face(rng, faces, style)
    scale = rng.uniform(0.15, 0.4) * height / EM
    turn = rng.uniform(0, 0.7)
    for _ in range(int(rng.integers(3, 15) * width / height)):
        glyph = faces.ink[face, rng.integers(faces.ink.shape[1])]
        ink = _transform(glyph, (scale, scale), rng.uniform(-turn, turn), 0, None)
        left, top = rng.integers((width, height)) - len(ink) // 2
        part, rows, columns = _cut(Letter(ink, int(left), int(top)), (height, width))
        mix(picture[rows, columns], part, near(rng, paper))


def _cut(letter: Letter, size: tuple[int, int]) -> tuple[NDArray[np.uint8], slice, slice]:
    """The part of a letter's ink that lies on the page, and the page's rows and columns there."""
    top, left = max(letter.top, 0), max(letter.left, 0)
    part = letter.ink[top - letter.top :, left - letter.left :]
    part = part[: max(size[0] - top, 0), : max(size[1] - left, 0)]
    return part, slice(top, top + len(part)), slice(left, left + part.shape[1])


def _choose_face(rng: np.random.Generator, faces: Faces, style: Style) -> int:
    """Chooses a face, one of the common ones with the style's probability."""
    if rng.random() < style.common_face:
        return int(rng.choice(faces.common))
    return int(rng.integers(len(faces.names)))


def _transform(
    glyph: NDArray[np.uint8],
    scale: tuple[float, float],
    angle: float,
    lean: float,
    corners: NDArray[np.float64] | None,
) -> NDArray[np.uint8]:
    """Scales, shears and turns a glyph about the middle of a capital, on a square page.

    Args:
        glyph: `(h, w)`.
        scale: The factors across and down.
        angle: In radians.
        lean: The shear, in columns per row.
        corners: `(4, 2)`: how far the page's corners are moved, in pixels; None moves none.
    """
    side = round(1.9 * EM * max(scale)) + 6
    if min(scale) < 0.6:  # thin strokes would fall between the pixels
        sizes = tuple(max(1, round(0.7 / factor)) for factor in scale)
        glyph = np.asarray(cv2.blur(glyph, sizes))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1, lean], [0, 1]]) @ np.diag(scale)
    capital_middle = np.array([glyph.shape[1] / 2, BASELINE - 0.36 * EM])
    shift = np.full(2, side / 2) - matrix @ capital_middle
    affine = np.column_stack([matrix, shift])
    if corners is None:
        return np.asarray(cv2.warpAffine(glyph, affine, (side, side)), np.uint8)
    # The corners of the box in which a capital stands, not of the page.
    box = side / 2 + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * EM * max(scale) * 0.5
    moved = cv2.getPerspectiveTransform(
        box.astype(np.float32), (box + corners / 2).astype(np.float32)
    )
    whole = moved @ np.vstack([affine, [0, 0, 1]])
    return np.asarray(cv2.warpPerspective(glyph, whole, (side, side)), np.uint8)


def join(
    rng: np.random.Generator,
    style: Style,
    letters: Sequence[Letter],
    inks: Pixels,
    size: tuple[int, int],
) -> tuple[NDArray[np.uint8], Pixels]:
    """Joins all letters on one layer.

    Args:
        rng: Chooses what happens where two letters meet.
        style: The weights of the choices.
        letters: The letters.
        inks: `(len(letters), 3)`, their colours.
        size: The page's height and width.

    Returns:
        The ink, `(H, W)` uint8, and its colours, `(H, W, 3)`, or `(1, 1, 3)` if they are all equal.
    """
    ink = np.zeros(size, np.uint8)
    how = pick(rng, style.joins)
    share = rng.uniform(0.4, 0.7)  # of full ink: a letter that others darken
    one_colour = bool((inks == inks[0]).all())
    colours = inks[:1, None] if one_colour else np.zeros((*size, 3), np.float32)
    for letter, colour in zip(letters, inks, strict=True):
        part, rows, columns = _cut(letter, size)
        if not one_colour:
            colours[rows, columns][part > ink[rows, columns] // 2] = colour
        match how:
            case "darken":
                part = np.asarray(cv2.convertScaleAbs(part, alpha=share), np.uint8)
                ink[rows, columns] = cv2.add(ink[rows, columns], part)
            case "invert":
                ink[rows, columns] = cv2.absdiff(ink[rows, columns], part)
            case _:
                np.maximum(ink[rows, columns], part, out=ink[rows, columns])
    return ink, colours


def warp(
    rng: np.random.Generator,
    style: Style,
    ink: NDArray[np.uint8],
    colours: Pixels,
    centres: NDArray[np.float32],
) -> tuple[NDArray[np.uint8], Pixels, NDArray[np.float32]]:
    """Bends the layer of letters by waves, a fish-eye or perspective.

    Args:
        rng: Chooses what happens, and how far.
        style: The ranges of the choices.
        ink: `(H, W)`, as `join` returns it.
        colours: As `join` returns them.
        centres: The columns of the letters' middles.

    Returns:
        Ink, colours and centres after the bending.
    """
    height, width = ink.shape
    wave, fish, tilt = (rng.random() * most for most in (style.wave, style.fish, style.tilt))
    waves, bulges, tilts = rng.random(3) < (0.55, 0.3, 0.3)
    if not ((waves and wave) or (bulges and fish) or (tilts and tilt)):
        return ink, colours, centres
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x, y = columns.copy(), rows.copy()
    if waves:
        for _ in range(int(rng.integers(1, 3))):
            rise = wave * height * rng.uniform(0.3, 1, 2)
            period = np.maximum(rng.uniform(0.4, 3, 2) * height, 14)
            phase = rng.uniform(0, 2 * np.pi, 2)
            x += rise[0] * np.sin(2 * np.pi * rows / period[0] + phase[0])
            y += rise[1] * np.sin(2 * np.pi * columns / period[1] + phase[1])
    if bulges:
        middle = rng.uniform((0.2 * width, 0.3 * height), (0.8 * width, 0.7 * height))
        radius = rng.uniform(0.5, 1.2) * height
        dx, dy = columns - middle[0], rows - middle[1]
        pull = fish * rng.choice([-0.5, 0.6]) * np.exp(-(dx**2 + dy**2) / radius**2)
        x, y = x - dx * pull, y - dy * pull
    if tilts:
        across = columns / width - 0.5
        y += (rows - height / 2) * across * rng.uniform(-2, 2) * tilt
        y += height * across * rng.uniform(-1, 1) * tilt
    x, y = x.astype(np.float32), y.astype(np.float32)
    ink = np.asarray(cv2.remap(ink, x, y, cv2.INTER_LINEAR), np.uint8)
    if colours.shape[0] > 1:
        colours = np.asarray(cv2.remap(colours, x, y, cv2.INTER_NEAREST), np.float32)
    sources = x[height // 3 : -height // 3].mean(axis=0)
    order = np.argsort(sources)
    return ink, colours, np.interp(centres, sources[order], order).astype(np.float32)


def write(
    rng: np.random.Generator,
    style: Style,
    picture: Pixels,
    ink: NDArray[np.uint8],
    colours: Pixels,
    paper: Pixels,
) -> NDArray[np.uint8]:
    """Writes the letters onto the page, filled in one of several ways.

    Args:
        rng: Chooses the fill and the opacity.
        style: The ranges of the choices.
        picture: `(H, W, 3)`; changed in place.
        ink: `(H, W)`, the letters' ink.
        colours: The ink's colours, as `join` returns them.
        paper: `(3,)`, the paper's colour.

    Returns:
        The ink that was written, `(H, W)`.
    """
    match pick(rng, style.fills):
        case "hollow":
            ink = np.asarray(cv2.subtract(ink, cv2.erode(ink, _CROSS)), np.uint8)
            ink = np.asarray(cv2.convertScaleAbs(ink, alpha=1.5), np.uint8)
        case "outlined":
            outline = np.full(3, rng.uniform(0, 255), np.float32)
            mix(picture, np.asarray(cv2.dilate(ink, _CROSS), np.uint8), outline)
        case "shadow":
            down, right = (int(n) for n in rng.integers(-3, 4, 2))
            shadow = np.roll(ink, (down, right), (0, 1))
            mix(picture, shadow, (paper + colours.reshape(-1, 3).mean(axis=0)) / 2)
        case "stippled":
            ink = ink * (rng.random(ink.shape) < rng.uniform(0.5, 0.85)).astype(np.uint8)
        case "thin":
            thin = cv2.addWeighted(ink, 0.5, cv2.erode(ink, _CROSS), 0.5, 0)
            ink = np.asarray(thin, np.uint8)
        case "bold":
            ink = np.asarray(cv2.dilate(ink, _CROSS), np.uint8)
        case other:
            ink = _fancy(rng, other, ink)
    mix(picture, ink, colours, rng.uniform(*style.opacity))
    return ink


def _fancy(rng: np.random.Generator, fill: str, ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The ink, `(H, W)`, of letters that are drawn rather than written, or are plain."""
    height, width = ink.shape
    rows, columns = np.ogrid[:height, :width]
    step = max(3, round(height * rng.uniform(0.05, 0.09)))
    match fill:
        case "solid":
            pass
        case "rimmed":
            down, right = (int(n) for n in rng.integers(-step, step + 1, 2))
            rim = np.asarray(cv2.subtract(ink, cv2.erode(ink, _CROSS)), np.uint8)
            shadow = np.roll(rim, (down, right), (0, 1))
            ink = np.maximum(rim, cv2.subtract(shadow, ink) if rng.random() < 0.5 else shadow)
        case "raised":
            down, right = (int(n) for n in rng.choice([-1, 1], 2))
            side = ink
            for _ in range(int(rng.integers(2, step + 1))):
                side = np.maximum(side, np.roll(side, (down, right), (0, 1)))
            edge = cv2.subtract(ink, cv2.erode(ink, _CROSS))
            rim = np.asarray(cv2.convertScaleAbs(edge, alpha=rng.uniform(0, 1)), np.uint8)
            ink = np.asarray(cv2.max(rim, cv2.subtract(side, ink)), np.uint8)
        case "faded":
            angle = rng.uniform(0, 2 * np.pi)
            # Letters fade one by one, so the period is that of a letter's height.
            wave = np.sin(2 * np.pi * (rows * np.sin(angle) + columns * np.cos(angle)) / height)
            lowest = rng.uniform(0.15, 0.5)
            ink = np.rint(ink * (lowest + (1 - lowest) * (wave + 1) / 2)).astype(np.uint8)
        case "dotted":
            ink = ink * ((rows % step < step - 1) & (columns % step < step - 1)).astype(np.uint8)
        case "striped":
            along = rows if rng.random() < 0.7 else columns
            ink = ink * (along % step < step - 1).astype(np.uint8)
        case "reversed":
            side = 2 * round(height * rng.uniform(0.05, 0.12)) + 1
            shape = cv2.MORPH_ELLIPSE if rng.random() < 0.7 else cv2.MORPH_RECT
            blot = cv2.dilate(ink, cv2.getStructuringElement(shape, (side, side)))
            ink = np.asarray(cv2.subtract(blot, ink), np.uint8)
    return ink
