"""What people said of pictures beside their labels, in a file of its own.

An empty label alone doesn't say whether nobody can read the picture or nobody has looked yet.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from captcha_rt.files import write_atomically

_FILE: Final = "marks.json"


@dataclass(frozen=True, slots=True)
class Marks:
    """Marks of pictures, by their paths below the folder.

    Attributes:
        unreadable: The pictures that nobody can read.
        checked: The labels that somebody looked at again and kept.
    """

    unreadable: frozenset[str] = frozenset()
    checked: Mapping[str, str] = field(default_factory=dict)


def read_marks(work: Path) -> Marks:
    """Reads the marks; a file that is missing or damaged has none."""
    try:
        values = json.loads((work / _FILE).read_text("utf-8"))
        unreadable, checked = values["unreadable"], values["checked"]
        return Marks(
            frozenset(name for name in unreadable if isinstance(name, str)),
            {name: label for name, label in checked.items() if isinstance(label, str)},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Marks()


def write_marks(work: Path, marks: Marks) -> None:
    """Writes the marks; the folder is made if it is missing.

    Raises:
        OSError: If they can't be written.
    """
    make_work_folder(work)
    values = {"unreadable": sorted(marks.unreadable), "checked": dict(marks.checked)}
    with write_atomically(work / _FILE) as partial:
        partial.write_text(json.dumps(values, indent=1), "utf-8")


def make_work_folder(work: Path) -> None:
    """Makes the hidden folder of the page; git ignores it.

    Raises:
        OSError: If it can't be made.
    """
    if not work.is_dir():
        work.mkdir()
        (work / ".gitignore").write_text("*\n", "utf-8")
