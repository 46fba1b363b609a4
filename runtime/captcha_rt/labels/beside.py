"""Labels in texts beside the pictures: `1.txt` or `1.gt.txt` beside `1.png`, as for Tesseract."""

from pathlib import Path
from typing import Final

from captcha_rt.errors import LabelError
from captcha_rt.labels.matching import NO_ROW, Tree
from captcha_rt.labels.result import Labels
from captcha_rt.labels.texts import clean, numbers_in, read_text
from captcha_rt.pictures import name_below, stem_of

BESIDE: Final = "beside"
"""The form of such labels."""

_SUFFIXES: Final = (".gt.txt", ".txt")
_LONGEST: Final = 100  # characters of a label, at most
_BOX: Final = 5  # numbers: a class and four corners


def find_texts(tree: Tree, *, partly: bool = False) -> dict[Path, Path]:
    """Finds the text beside each picture of a folder.

    Without `partly` there are none if less than half of the pictures have one.
    """
    files = set(tree.files) - set(tree.pictures)
    found: dict[Path, Path] = {}
    for picture in tree.pictures:
        paths = (picture.with_name(stem_of(picture) + suffix) for suffix in _SUFFIXES)
        if text := next((path for path in paths if path in files), None):
            found[picture] = text
    return found if partly or 2 * len(found) >= len(tree.pictures) else {}


def read_texts(tree: Tree, texts: dict[Path, Path], *, partly: bool = False) -> Labels:
    """Reads the label of each picture in the only line of its text.

    Raises:
        LabelError: If less than half of the texts (with `partly`: none) are a line that may be a
            label.
    """
    items: list[tuple[Path, str]] = []
    problems: list[tuple[str, str]] = []
    for picture in tree.pictures:
        name = name_below(picture, tree.folder)
        if picture not in texts:
            problems.append((name, f"{NO_ROW} the folder: no text beside it"))
            continue
        try:
            items.append((picture, _label_in(texts[picture])))
        except LabelError as error:
            problems.append((name, str(error)))
    if not items or (2 * len(items) < len(texts) and not partly):
        raise LabelError(f"the texts beside the pictures hold no labels: {': '.join(problems[0])}")
    files = tuple(texts.values())
    return Labels(BESIDE, "the texts beside the pictures", tuple(items), tuple(problems), (), files)


def _label_in(file: Path) -> str:
    lines = [line for line in map(clean, read_text(file).splitlines()) if line]
    if len(lines) != 1:
        raise LabelError(f"{file.name} has {len(lines)} lines, not one with a label")
    [label] = lines
    if len(label) > _LONGEST:
        raise LabelError(f"{file.name} has {len(label)} characters, too many for a label")
    if len(numbers_in(label)) >= _BOX:
        raise LabelError(f"{file.name} holds a box, not a label")
    return label
