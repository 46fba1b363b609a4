"""The kinds of captcha that `own.py` trains on: their pictures, split and laid into folders.

The packages that draw are the generators in `HELD_BACK`; the real kinds lie in the folder `foreign`
of `CAPTCHA_DATA`. Everything that is chosen at random is chosen by a seed.
"""

import csv
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.peers.generators import HELD_BACK, SCRIPTS, draw, labelled
from captcha_rt import ImageDecodeError, decode_image
from captcha_rt.files import write_atomically

DRAWN: Final = 1600
"""The number of pictures that each package draws."""

DRAWN_TEST: Final = 500
"""How many of them are for the test."""

FOREIGN_TEST: Final = 1 / 3
"""The fraction of a real kind's pictures that is for the test."""

Samples = Sequence[tuple[Path, str]]
"""Pictures with the texts that they show."""


@dataclass(frozen=True, slots=True)
class Kind:
    """The pictures of one kind of captcha.

    Attributes:
        name: The name of the package that drew the pictures, or of their folder.
        group: `drawn`, or `foreign` for real pictures.
        pool: The pictures that may be trained on, shuffled.
        test: The pictures for the test; no training sees them.
    """

    name: str
    group: str
    pool: Samples
    test: Samples

    @property
    def characters(self) -> str:
        """The characters of all texts, sorted."""
        return "".join(sorted({c for _, text in (*self.pool, *self.test) for c in text}))

    def subset(self, count: int, seed: int | None = None) -> Samples:
        """Some pictures of the pool.

        Args:
            count: How many; if the pool has fewer, all of them.
            seed: Chooses the pictures; None takes the first ones, so that a larger subset holds the
                smaller ones.
        """
        if seed is None:
            return self.pool[:count]
        return [
            self.pool[i] for i in np.random.default_rng(seed).permutation(len(self.pool))[:count]
        ]


def split(name: str, group: str, samples: Samples, test: int, seed: int = 0) -> Kind:
    """Splits labelled pictures at random into a pool and a test.

    Args:
        name: The kind's name.
        group: The kind's group.
        samples: The pictures, in an order that doesn't change.
        test: The number of pictures for the test.
        seed: The same seed gives the same split.
    """
    shuffled = [samples[i] for i in np.random.default_rng(seed).permutation(len(samples))]
    return Kind(name, group, shuffled[test:], shuffled[:test])


def drawn_kind(name: str, runs: Path) -> Kind:
    """The kind that a package draws; pictures that lie there already are not drawn again.

    Args:
        name: One of `HELD_BACK`.
        runs: The folder of the runs; the pictures go into `own/pools`.

    Raises:
        MissingError: If the package can't be installed or run here.
    """
    folder = runs / "own" / "pools" / name
    stamp = folder.with_name(f"{name}.txt")
    drawing = hashlib.sha256(b"".join(script.read_bytes() for script in SCRIPTS)).hexdigest()
    state = f"{DRAWN} {HELD_BACK[name]} {drawing}"
    if not stamp.exists() or stamp.read_text("utf-8") != state:
        shutil.rmtree(folder, ignore_errors=True)
        draw(name, runs, DRAWN, "own/pools")
        stamp.write_text(state, "utf-8")
    return split(name, "drawn", labelled(folder).samples, DRAWN_TEST)


def foreign_kind(folder: Path) -> Kind:
    """The kind of the real pictures in a folder."""
    samples = labelled(folder).samples
    return split(folder.name, "foreign", samples, round(len(samples) * FOREIGN_TEST))


def foreign_folders(data: Path) -> dict[str, Path]:
    """The folders of real kinds below `CAPTCHA_DATA`, by name."""
    return {path.name: path for path in sorted((data / "foreign").glob("*")) if path.is_dir()}


def describe(kind: Kind) -> dict[str, Any]:
    """What a kind is like: its charset, the lengths of its texts, the sizes of its pictures."""
    lengths = [len(text) for _, text in (*kind.pool, *kind.test)]
    sizes = sorted({_size(path) for path, _ in kind.test})
    found = {
        "group": kind.group,
        "pool": len(kind.pool),
        "test": len(kind.test),
        "characters": kind.characters,
        "lengths": [min(lengths), max(lengths)],
        "sizes": [f"{width} x {height}" for width, height in sizes],
    }
    if kind.group == "drawn":
        generator = HELD_BACK[kind.name]
        found |= {"package": generator.package, "licence": generator.licence}
    return found


def write_folder(samples: Samples, folder: Path, labels: Mapping[Path, str] | None = None) -> None:
    """Lays pictures into a new folder, as a person would keep them.

    Where each text is a possible file name of its own, the files have the texts as names. Otherwise
    the folder has a `labels.csv`, and the files have their old names.

    Args:
        samples: The pictures.
        folder: The folder, which is made anew.
        labels: Other texts for some of the pictures; with them, the folder has a `labels.csv`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if labels is None and named_by_text([text for _, text in samples]):
        for path, text in samples:
            shutil.copyfile(path, folder / f"{text}{path.suffix}")
        return
    for path, _ in samples:
        shutil.copyfile(path, folder / path.name)
    with (
        write_atomically(folder / "labels.csv") as table,
        table.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("filename", "label"))
        writer.writerows((path.name, (labels or {}).get(path, text)) for path, text in samples)


def named_by_text(texts: Sequence[str]) -> bool:
    """Whether files can have these texts as names: letters and digits, all of them different.

    Texts that differ in case alone are not different, since some file systems ignore it.
    """
    return all(text.isalnum() for text in texts) and len({t.casefold() for t in texts}) == len(
        texts
    )


def wrong_labels(samples: Samples, fraction: float, seed: int = 0) -> dict[Path, str]:
    """Wrong labels for some of the pictures: one character is another one of the charset.

    Args:
        samples: The pictures.
        fraction: The fraction of the labels that are made wrong, in 0..1.
        seed: The same seed gives the same labels.

    Returns:
        The wrong labels by picture.
    """
    rng = np.random.default_rng(seed)
    charset = sorted({c for _, text in samples for c in text})
    wrong = {}
    for index in rng.permutation(len(samples))[: round(len(samples) * fraction)]:
        path, text = samples[index]
        place = int(rng.integers(len(text)))
        others = [c for c in charset if c != text[place]]
        wrong[path] = text[:place] + others[rng.integers(len(others))] + text[place + 1 :]
    return wrong


def _size(path: Path) -> tuple[int, int]:
    """The width and height of a picture; 0 if it can't be read."""
    try:
        height, width = decode_image(path).shape[:2]
    except ImageDecodeError:
        return 0, 0
    return width, height
