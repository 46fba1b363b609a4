"""Faces to draw with: the glyphs of font files, in one array.

A face is used if it is legible: most of its glyphs look more like their own character than like any
other, by the mean shape of each character over all faces.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from captcha_rt.files import write_atomically
from captcha_rt.progress import Watch, unwatched
from captcha_rt_train.errors import NPZ_ERRORS, TrainingError

CHARACTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+-=?"
"""All characters that the mixture draws; the last four are the signs of sums."""

EM: Final = 48
"""The font size of the glyphs, in pixels."""

BASELINE: Final = int(1.4 * EM)
"""The row of the baseline in a glyph's cell."""

COMMON: Final = (
    "anonymous-pro",
    "arimo",
    "carlito",
    "comic-neue",
    "comic-relief",
    "courier-prime",
    "cousine",
    "fira-sans",
    "gelasio",
    "ibm-plex-sans",
    "inconsolata",
    "inter",
    "jersey-10",
    "lato",
    "libre-franklin",
    "merriweather",
    "noto-sans",
    "noto-serif",
    "open-sans",
    "pt-sans",
    "pt-serif",
    "roboto",
    "source-sans-3",
    "tinos",
    "ubuntu",
    "vt323",
)
"""Families that look like those that servers have: Arial, Times, Courier, Georgia, GD's own letters
of few pixels, and others."""

_CELL: Final = 2 * EM  # rows and columns of a cell; a glyph's origin is in column EM / 2
_SUFFIXES: Final = frozenset({".ttf", ".otf", ".woff"})
_SIGNS: Final = 4  # the last of CHARACTERS
_SIDE: Final = 24  # of the shapes that are compared, in pixels
_LEGIBLE: Final = 0.72  # the smallest fraction of a face's glyphs that look like their character


@dataclass(frozen=True, slots=True)
class Faces:
    """The glyphs of some faces.

    Attributes:
        names: The stems of the font files.
        ink: `(F, C, R, W)` uint8 in 0..255: the ink of the C characters of `CHARACTERS` in F faces,
            each in a cell of R rows and W columns. All glyphs stand on the row `BASELINE`.
        common: The indices of the faces of the `COMMON` families; of all faces if there are none.
    """

    names: tuple[str, ...]
    ink: NDArray[np.uint8]
    common: NDArray[np.intp] = field(init=False)

    def __post_init__(self) -> None:
        """Finds the common faces: those named `FAMILY-latin-...`, and all of DejaVu."""
        starts = "DejaVu", *(f"{family}-latin-" for family in COMMON)
        common = [i for i, name in enumerate(self.names) if name.startswith(starts)]
        object.__setattr__(self, "common", np.array(common or range(len(self.names)), np.intp))

    def save(self, file: Path) -> None:
        """Writes the faces to an `.npz` file."""
        with write_atomically(file) as partial, partial.open("wb") as out:
            np.savez_compressed(out, names=np.array(self.names), ink=self.ink)


@cache
def load_faces(file: Path) -> Faces:
    """Reads the faces that `Faces.save` wrote; each process reads a file only once.

    Raises:
        TrainingError: If the file can't be read, or holds no such faces.
    """
    try:
        with np.load(file) as data:
            faces = Faces(tuple(map(str, data["names"])), data["ink"])
    except NPZ_ERRORS as error:
        raise TrainingError(
            f"can't read the faces in {file}: {error}; `captcha-rt fonts FOLDER` makes such a file"
        ) from error
    wanted = (max(len(faces.names), 1), len(CHARACTERS), _CELL, _CELL)
    if faces.ink.shape != wanted or faces.ink.dtype != np.uint8:
        raise TrainingError(
            f"the faces in {file} are {faces.ink.shape} {faces.ink.dtype} instead of {wanted} "
            "uint8: make them again with `captcha-rt fonts`"
        )
    return faces


def find_fonts(folder: Path) -> list[Path]:
    """The font files of a folder and its sub-folders, sorted by path.

    Hidden folders are left out: a fetch that was killed may have left half a family in one.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def read_faces(folder: Path, *, watch: Watch = unwatched) -> Faces:
    """Draws the glyphs of all legible font files in a folder and its sub-folders.

    Args:
        folder: The folder.
        watch: Shows the progress; it gets an iterator and the number of files.

    Raises:
        TrainingError: If no font file is legible.
    """
    paths = find_fonts(folder)
    names: list[str] = []
    glyphs: list[NDArray[np.uint8]] = []
    drawn: Iterator[NDArray[np.uint8] | None] = map(_draw_glyphs, paths)
    for path, ink in zip(paths, watch(drawn, len(paths)), strict=True):
        if ink is not None:
            names.append(path.stem)
            glyphs.append(ink)
    legible = np.flatnonzero(_legibility(glyphs) >= _LEGIBLE) if glyphs else np.array([], np.intp)
    if not legible.size:
        raise TrainingError(
            f"none of {len(paths)} font files in {folder} is legible; put .ttf, .otf or .woff "
            f"files with the characters {CHARACTERS} there, or fetch some with `captcha-rt fonts`"
        )
    return Faces(tuple(names[i] for i in legible), np.stack([glyphs[i] for i in legible]))


@cache
def default_faces() -> Faces:
    """The legible faces that come with matplotlib."""
    return read_faces(Path(mpl.get_data_path()) / "fonts" / "ttf")


def _draw_glyphs(path: Path) -> NDArray[np.uint8] | None:
    """The glyphs of a font file, `(C, R, W)`; None if some are missing."""
    try:
        font = ImageFont.truetype(str(path), EM)
        glyphs = [_draw_glyph(font, character) for character in CHARACTERS]
    except (OSError, ValueError):  # no font, or a damaged one
        return None
    # A font draws all characters that it lacks as the same box, or as nothing.
    digits = {glyph.tobytes() for glyph in glyphs[:10]}
    if len(digits) < 10 or not all(glyph.any() for glyph in glyphs):
        return None
    return np.stack(glyphs)


def _draw_glyph(font: ImageFont.FreeTypeFont, character: str) -> NDArray[np.uint8]:
    cell = Image.new("L", (_CELL, _CELL))
    ImageDraw.Draw(cell).text((EM // 2, BASELINE), character, 255, font, anchor="ls")
    return np.asarray(cell)


def _legibility(faces: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """For each face, the fraction of letters and digits that look most like their own character.

    Upper and lower case count as the same character: many faces have capitals only.
    """
    characters = CHARACTERS[:-_SIGNS]
    shapes = np.stack([[_shape(glyph) for glyph in face[: len(characters)]] for face in faces])
    means = shapes.mean(axis=0)
    # The nearest mean has the largest product with the shape, less half of its own square.
    nearest = (shapes @ means.T - (means**2).sum(axis=1) / 2).argmax(axis=2)
    folded = np.array([characters.index(c.lower()) for c in characters])
    return np.asarray((folded[nearest] == folded).mean(axis=1))


def _shape(glyph: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A glyph's ink, stretched to a square, as a vector in 0..1."""
    left, top, width, height = cv2.boundingRect((glyph > 64).astype(np.uint8))
    if not width:
        return np.zeros(_SIDE * _SIDE, np.float32)
    box = glyph[top : top + height, left : left + width].astype(np.float32) / 255
    shape = cv2.resize(box, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(shape, np.float32).ravel()
