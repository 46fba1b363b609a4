"""Draws what a model does with a picture, step by step, on one sheet, as document 002 does.

The sheet shows the picture, the result of each step of the recipe, the network's scores as a heat
map with the characters that were read from it, and the answer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.cascade import recut
from captcha_rt.decoders import Decoded, to_probabilities
from captcha_rt.errors import CaptchaRTError, RecipeError, ScoresError
from captcha_rt.image import ImageSource, Opened
from captcha_rt.manifest import Manifest
from captcha_rt.reader import Reader
from captcha_rt.solution import Solution, reject_unsure
from captcha_rt.solver import Solver, of_file
from captcha_rt.steps import Picture, Transpose

Sheet = NDArray[np.uint8]
"""An image `(H, W, 3)`, RGB: the whole sheet, or a part of it."""

Layers = Mapping[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]]

WIDTH: Final = 1300
"""The sheet's width in pixels, without the margin. Only scores of many time steps are wider."""

_SIDE: Final = 420  # the longest side, in pixels, to which a panel is enlarged
_CLASSES: Final = 64  # more don't fit on a screen; the classes with the highest scores are shown
_CHANNELS: Final = 256  # a layer's further channels are not shown
_PAPER, _INK, _RED, _BLUE = (255, 255, 255), (20, 20, 20), (190, 0, 0), (8, 48, 140)
_FONT, _FONT_SIZE, _LINE = cv2.FONT_HERSHEY_SIMPLEX, 0.45, 20


@dataclass(frozen=True, slots=True)
class Explanation:
    """The sheet of one picture, and the answer.

    Attributes:
        sheet: The sheet, `(H, W, 3)` uint8, RGB.
        text: The text that was read; empty after an error.
        confidence: The confidence of the text, in 0..1; 0 after an error.
        answer: The answer of `Solver.solve`; None after an error.
        error: The error that stopped the model, or None. The sheet then shows all steps before the
            error, and its message.
    """

    sheet: Sheet
    text: str
    confidence: float
    answer: Solution | None
    error: CaptchaRTError | None


def explain(solver: Solver, image: ImageSource, layers: Layers | None = None) -> Explanation:
    """Reads one picture and draws each step.

    Pictures are enlarged by a whole number without smoothing, or reduced by leaving out pixels.
    Pictures of float32 are multiplied by 255, transparent pictures are shown on white, transposed
    pictures upright, and glyphs side by side. A step with a method `show` has one more panel, with
    what the step found.

    Args:
        solver: The model.
        image: The picture, as `Solver.solve` takes it.
        layers: The layers whose activations to show: for each layer's name a function that takes
            the graph's input, `(N, ...)`, and returns the activations, `(H, W, C)`.

    Returns:
        The sheet and the answer. If the recipe can't use the picture, or the scores are NaN, the
        sheet shows the error.

    Raises:
        ImageDecodeError: If the picture can't be decoded. Then there is nothing to draw.
        ModelError: If the model fails.
    """
    opened = solver.open(image)
    picture = opened.pixels
    reader, seen, answer = choose_reading(solver, opened)
    manifest = reader.manifest
    panels = [_panel(f"picture {picture.shape}", picture)]
    if seen is not picture:
        panels.append(_panel(f"cut out anew {seen.shape}", seen))
    below: list[Sheet] = []
    text, confidence, error = "", 0.0, None
    try:
        turned = False
        for title, shown, turned in trace(manifest, seen):
            panels.append(_panel(title, shown, turned=turned))
        rows = manifest.batch(manifest.prepare(seen)[None])
        for name, activations in (layers or {}).items():
            below += _channels(name, activations(rows), turned=turned)
        scores = reader.session.run(rows)
        [(text, decoded)] = manifest.decode(scores)
        confidence = decoded.confidence if answer is None else answer.confidence
        below += _scores(manifest, scores.reshape(-1, scores.shape[-1]), text, decoded)
        if answer is not None and not answer.accepted:
            below += _paragraph(f"rejected: {reject_unsure(answer, None)}", _RED)
    except CaptchaRTError as problem:
        if not isinstance(problem, RecipeError | ScoresError):
            raise
        error = problem
        below += _paragraph(f"error: {problem}", _RED)
    sheet = np.pad(
        _stack([*_flow(panels), *below]), ((10, 10), (10, 10), (0, 0)), constant_values=255
    )
    return Explanation(sheet, text, confidence, None if error else answer, error)


def choose_reading(
    solver: Solver, opened: Opened
) -> tuple[Reader, NDArray[np.uint8], Solution | None]:
    """The model whose answer `solve` gives, the picture as it read it, and the answer.

    If no model has an answer, that is the first one, with the picture as it is.

    Raises:
        ModelError: If a model can't be loaded.
    """
    picture = opened.pixels
    first, *others = solver.readers
    solver.load()  # what is wrong with a model is no picture's error
    try:
        answer = of_file(solver.solve(picture), opened)
        if not others or answer.model == first.manifest.name:
            return first, picture, answer
        once = others[0].read(picture)
    except CaptchaRTError:
        return first, picture, None
    seen = recut(picture) if answer.confidence > once.confidence else picture
    return others[0], seen, answer


def trace(manifest: Manifest, picture: Picture) -> Iterator[tuple[str, Picture, bool]]:
    """Yields each panel of the recipe: title, picture, and whether the picture is transposed."""
    turned = False
    before: Picture = picture
    for step, after in manifest.recipe.trace(picture):
        name = step.name
        if show := getattr(step, "show", None):
            yield f"{name}: found", show(before), turned
        turned ^= isinstance(step, Transpose)
        yield f"{name} {after.shape}{', upright' if turned else ''}", after, turned
        before = after


def _scores(
    manifest: Manifest, scores: NDArray[np.float32], text: str, decoded: Decoded
) -> list[Sheet]:
    """Draws the heat map of scores `(T, C)` with the characters above it, and the answer."""
    probabilities = to_probabilities(scores[None], manifest.scores, manifest.temperature)[0]
    shown = np.sort(np.argsort(-probabilities.max(axis=0), kind="stable")[:_CLASSES])
    steps = len(scores)
    cell = max(2, min(48, (WIDTH - 120) // max(steps, 1)))
    names = [_text(_class_name(manifest, int(c))) for c in shown]
    left = max(name.shape[1] for name in names) + 8
    heat = np.kron(probabilities[:, shown].T, np.ones((_LINE, cell), np.float32))[:, :, None]
    colours = np.asarray(_PAPER) * (1 - heat) + np.asarray(_BLUE) * heat
    plot = np.full((heat.shape[0], left + heat.shape[1], 3), 255, np.uint8)
    plot[:, left:] = np.rint(colours)
    for row, name in enumerate(names):
        top = row * _LINE
        plot[top : top + _LINE, : name.shape[1]] = name
        plot[top, left:] = np.minimum(plot[top, left:], 225)  # a thin line between two classes
    middles = [left + int((position + 0.5) * cell) for position in decoded.positions]
    for middle in middles:
        light = plot[:, middle].min(axis=1) > 200
        plot[light, middle] = (235, 190, 190)
    marks = _row(map(_ascii, text), middles)
    ticks = range(0, steps, -(-40 // cell))
    numbers = _row(map(str, ticks), [left + int((tick + 0.5) * cell) for tick in ticks])
    each = ", ".join(
        f"{_ascii(c)} {confidence:.4f}"
        for c, confidence in zip(text, decoded.confidences, strict=True)
    )
    title = (
        f"scores as probabilities, white 0 to blue 1: {steps} positions across, "
        f"{len(shown)} of {scores.shape[1]} classes down"
    )
    return [
        _text(title),
        _stack([marks, plot, numbers]),
        *_paragraph(f"answer: {_ascii(text) or 'nothing'}, confidence {decoded.confidence:.4f}"),
        *_paragraph(each),
    ]


def _channels(name: str, activations: NDArray[np.float32], *, turned: bool) -> list[Sheet]:
    """Draws a layer's activations `(H, W, C)` as a grid of channels with one common grey scale."""
    low, high = float(activations.min()), float(activations.max())
    shown = np.moveaxis(activations, 2, 0)[:_CHANNELS, :, :, None]
    levels = (shown - low) / max(high - low, 1e-12)
    if turned:
        levels = levels.transpose(0, 2, 1, 3)
    scale = max(1, min(4, 160 // max(levels.shape[1:3])))
    tiles = [to_rgb(_enlarge(tile, scale)) for tile in levels]
    title = (
        f"layer {_ascii(name)} {activations.shape}{', upright' if turned else ''}: "
        f"{len(shown)} channels, black {low:.3g} to white {high:.3g}"
    )
    return [*_paragraph(title), *_flow(tiles, gap=4)]


def _panel(title: str, picture: Picture, *, turned: bool = False) -> Sheet:
    """A picture, enlarged, under its title."""
    if picture.ndim == 4:  # glyphs side by side, a grey column between them
        grey = picture.dtype.type(0.5 if picture.dtype.kind == "f" else 127)
        apart = np.pad(picture, ((0, 0), (0, 0), (0, 1), (0, 0)), constant_values=grey)
        picture = np.concatenate([*apart], axis=1)[:, :-1]
    if turned:
        picture = picture.transpose(1, 0, 2)
    longest = max(picture.shape[:2])
    if longest > WIDTH:
        thinned = -(-longest // WIDTH)
        shown, note = picture[::thinned, ::thinned], f", 1 of {thinned} pixels"
    else:
        scale = max(1, min(8, _SIDE // longest))
        shown, note = _enlarge(picture, scale), f", x {scale}"
    framed = np.pad(to_rgb(shown), ((1, 1), (1, 1), (0, 0)), constant_values=160)
    return _stack([_text(f"{title}{note}"), framed])


def to_rgb(picture: Picture) -> Sheet:
    """`(H, W, C)` uint8, or floats in 0..1 → `(H, W, 3)` uint8; transparent pixels on white."""
    if picture.dtype.kind == "f":
        picture = np.rint(np.clip(np.nan_to_num(picture), 0, 1) * 255).astype(np.uint8)
    match picture.shape[2]:
        case 3:
            return picture
        case 4:
            alpha = picture[:, :, 3:] / np.float32(255)
            return np.asarray(np.rint(picture[:, :, :3] * alpha + 255 * (1 - alpha)), np.uint8)
        case _:
            return np.repeat(picture[:, :, :1], 3, axis=2)


def _enlarge(picture: Picture, scale: int) -> Picture:
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def _class_name(manifest: Manifest, class_id: int) -> str:
    if class_id == manifest.charset.blank:
        return "blank"
    return _ascii(manifest.charset.decode([class_id]))


def _ascii(text: str) -> str:
    """The text, with `<U+4E2D>` for characters that OpenCV can't draw."""
    return "".join(c if " " <= c <= "~" else f"<U+{ord(c):04X}>" for c in text)


def _text(line: str, colour: tuple[int, int, int] = _INK) -> Sheet:
    """Draws one line of text; the width is that of the text."""
    (width, _), _ = cv2.getTextSize(line, _FONT, _FONT_SIZE, 1)
    drawn = np.full((_LINE, width + 6, 3), 255, np.uint8)
    cv2.putText(drawn, line, (2, _LINE - 6), _FONT, _FONT_SIZE, colour, 1, cv2.LINE_AA)
    return drawn


def _paragraph(text: str, colour: tuple[int, int, int] = _INK) -> list[Sheet]:
    return [_text(line, colour) for line in wrap(_ascii(" ".join(text.split())), 150)]


def _row(texts: Iterable[str], middles: Sequence[int]) -> Sheet:
    """Draws each text centred on a column, in the highest line that has room for the text."""
    lines: list[Sheet] = []
    for text, middle in zip(texts, middles, strict=True):
        drawn = _text(text)
        start = max(0, middle - drawn.shape[1] // 2)
        index = next((i for i, line in enumerate(lines) if line.shape[1] <= start), len(lines))
        if index == len(lines):
            lines.append(np.full((_LINE, 0, 3), 255, np.uint8))
        gap = np.full((_LINE, start - lines[index].shape[1], 3), 255, np.uint8)
        lines[index] = np.hstack([lines[index], gap, drawn])
    return _stack(lines)


def _flow(panels: Sequence[Sheet], gap: int = 14) -> list[Sheet]:
    """Puts panels side by side, and begins a new row where the sheet's width ends."""
    rows: list[list[Sheet]] = []
    room = 0
    for panel in panels:
        if panel.shape[1] > room:
            rows.append([])
            room = WIDTH
        rows[-1].append(panel)
        room -= panel.shape[1] + gap
    # To put panels side by side, `_stack` is used with the axes swapped.
    return [_stack([panel.swapaxes(0, 1) for panel in row], gap).swapaxes(0, 1) for row in rows]


def _stack(images: Sequence[Sheet], gap: int = 6) -> Sheet:
    """Puts images below each other on white, aligned at the left edge."""
    width = max((image.shape[1] for image in images), default=0)
    padded = [
        np.pad(image, ((0, gap), (0, width - image.shape[1]), (0, 0)), constant_values=255)
        for image in images
    ]
    return np.vstack(padded)[:-gap] if padded else np.full((0, 0, 3), 255, np.uint8)
