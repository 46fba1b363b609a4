"""Labels in texts beside the pictures: `1.txt` or `1.gt.txt` beside `1.png`, as for Tesseract."""

from pathlib import Path
from typing import Final

from captcha_rt.errors import LabelError
from captcha_rt.labels.matching import NO_ROW, Tree
from captcha_rt.labels.result import Labels
from captcha_rt.labels.texts import clean, read_text
from captcha_rt.pictures import name_below, stem_of

BESIDE: Final = "beside"
"""The form of such labels."""

_SUFFIXES: Final = (".gt.txt", ".txt")
_LONGEST: Final = 100  # a longer line is no label


def find_texts(tree: Tree) -> dict[Path, Path]:
    """Finds the text beside each picture of a folder; empty if less than half of them have one."""
    files = set(tree.files)
    found = {
        picture: text
        for picture in tree.pictures
        for suffix in reversed(_SUFFIXES)  # the first one counts
        if (text := picture.with_name(stem_of(picture) + suffix)) in files and text != picture
    }
    return found if 2 * len(found) >= len(tree.pictures) else {}


def read_texts(tree: Tree, texts: dict[Path, Path]) -> Labels:
    """Reads the label of each picture in the only line of its text.

    Raises:
        LabelError: If less than half of the texts have a single line, which may be a label.
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
    if 2 * len(items) < len(texts):
        raise LabelError(f"the texts beside the pictures hold no labels: {': '.join(problems[0])}")
    files = tuple(texts.values())
    return Labels(BESIDE, "the texts beside the pictures", tuple(items), tuple(problems), (), files)


def _label_in(file: Path) -> str:
    lines = [line for line in map(clean, read_text(file).splitlines()) if line]
    numbers = lines[0].split() if lines else []
    if len(lines) != 1 or len(lines[0]) > _LONGEST:
        raise LabelError(f"{file.name} has {len(lines)} lines, not one with a label")
    if len(numbers) >= 5 and all(number.replace(".", "", 1).isdigit() for number in numbers):
        raise LabelError(f"{file.name} holds a box, not a label")
    return lines[0]
