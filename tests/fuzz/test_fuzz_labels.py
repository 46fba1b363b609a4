"""Folders and label files of any kind: a label is right, or the error says what is open."""

import json
import unicodedata
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from labelled import PNG

from captcha_rt.errors import CaptchaRTError
from captcha_rt.labels import read_labels

ALPHABETS = ("0123456789", "bcdefgmnpwxy2345678", "ABCDEFGHabcdefgh", "가나다라마바사", "éàüöñçß")
FORMS = (
    *("{t}", "{n}-{t}", "{n:05}_{t}", "{t}_{h}", "{h}_{t}", "{t}.{n}", "{t}-{c}", "{n} {t}"),
    *("{t}#{n}", "{t} ({n})", "{t}_{n}_{h}", "captcha_{t}", "{t}@{h}"),
)
ODD = (
    *("{t}-{t}_{h}", "{h}.{t}", "x_{h}_{t}", "{t} (7)", "{t} - Copy", "({t})", "{t}~{n}"),
    *("img {n}", "{t}_{t}", "{t}-{n}", "{n}_{t}"),
)
COPIES = ("{} (1)", "{} 2", "{} copy", "{} - Copy", "{} - Kopie (2)", "{} (another copy)", "{}(1)")
SUFFIXES = (".png", ".jfif", ".JPG", "", ".tif", ".dib")


def text(rng: np.random.Generator, alphabet: str) -> str:
    return "".join(rng.choice([*alphabet], int(rng.integers(3, 7))))


def write(folder: Path, name: str, content: bytes) -> None:
    # Half of the systems decompose names; the test's own file system takes both forms.
    form = "NFD" if len(content) % 2 else "NFC"
    (folder / unicodedata.normalize(form, name)).write_bytes(content)


def fill(folder: Path, rng: np.random.Generator) -> dict[str, str]:
    """Writes pictures, most of them in one form; returns the label of each stem that has one."""
    alphabet = str(rng.choice(ALPHABETS))
    form = str(rng.choice(FORMS))
    if rng.random() < 0.2:  # sums
        numbers = rng.integers(2, 90, (40, 2)).tolist()
        texts = {f"{a}{rng.choice(['+', '-'])}{b}=" for a, b in numbers}
    else:
        texts = {text(rng, alphabet) for _ in range(40)}
    suffix = str(rng.choice(SUFFIXES)) if "." not in form else ".png"
    right: dict[str, str] = {}
    for n, label in enumerate(sorted(texts)):
        stem = form.format(t=label, n=n, h=rng.bytes(8).hex(), c=n % 3 + 1)
        right[stem] = label
        write(folder, stem + suffix, PNG + rng.bytes(int(rng.integers(1, 9))))
    for stem in rng.permutation([*right])[: int(rng.integers(0, 4))]:
        copy = str(rng.choice(COPIES)).format(stem)
        right[copy] = right[str(stem)]
        write(folder, copy + suffix, PNG + rng.bytes(int(rng.integers(1, 9))))
    for n in range(int(rng.integers(0, 6))):
        label, odd = text(rng, alphabet), str(rng.choice(ODD))
        stem = odd.format(t=label, n=n, h=rng.bytes(8).hex())
        right[stem] = label if "{t}" in odd else ""  # by chance it may be built like the others
        write(folder, stem + suffix, PNG + bytes(n))
    for name in ("._a.png", "Thumbs.db", "notes.txt", "desktop.ini"):
        (folder / name).write_bytes(b"\0\1 no picture")
    return right


def test_names(budget, figures: dict[str, Any], tmp_path: Path) -> None:
    """Of any folder, `auto` gives right labels only, and every form composed ones."""
    figures.update(folders=0, read=0, labels=0, problems=0)
    for rng in budget:
        folder = tmp_path / "set"
        folder.mkdir()
        right = fill(folder, rng)
        figures["folders"] += 1
        for form in ("auto", str(rng.choice(["stem-first", "stem-last"]))):
            try:
                labels = read_labels(folder, form)
            except CaptchaRTError:
                continue
            figures["read"] += 1
            figures["labels"] += len(labels.items)
            figures["problems"] += len(labels.problems)
            named = {p: unicodedata.normalize("NFC", p.name) for p, _ in labels.items}
            if form == "auto":
                truth = {p: right.get(n, right.get(n.rpartition(".")[0])) for p, n in named.items()}
                wrong = [(named[p], label) for p, label in labels.items if truth[p] != label]
                assert not wrong, (labels.form, wrong)
            for _, label in labels.items:
                assert label
                assert label == unicodedata.normalize("NFC", label).strip()
        rmtree(folder)
    assert figures["labels"]


def test_label_files(budget, figures: dict[str, Any], tmp_path: Path) -> None:
    """Of any bytes, a label file is read or refused by an error of ours, in one line."""
    figures.update(files=0, read=0, refused=0)
    names = [f"é{n}.png" for n in range(6)]
    for name in names:
        (tmp_path / unicodedata.normalize("NFD", name)).write_bytes(PNG)
    rows = [(name, f"가{n}") for n, name in enumerate(names)]
    good = {
        ".csv": "".join(f"{name},{label}\n" for name, label in rows),
        ".txt": "".join(f"{name}\t{label}\n" for name, label in rows),
        ".json": json.dumps(dict(rows)),
        ".jsonl": "".join(json.dumps({"file": n, "label": t}) + "\n" for n, t in rows),
    }
    for rng in budget:
        suffix = str(rng.choice([*good]))
        encoding = str(rng.choice(["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le"]))
        data = bytearray(good[suffix].encode(encoding))
        for _ in range(int(rng.integers(0, 4))):
            place = int(rng.integers(len(data)))
            match rng.integers(3):
                case 0:
                    data[place] ^= 1 << int(rng.integers(8))
                case 1:
                    del data[place : place + int(rng.integers(1, 9))]
                case _:
                    data[place:place] = rng.bytes(int(rng.integers(1, 9)))
            data = data or bytearray(b"\n")
        file = tmp_path / f"labels{suffix}"
        file.write_bytes(data)
        figures["files"] += 1
        try:
            labels = read_labels(tmp_path, file.name)
        except CaptchaRTError:
            figures["refused"] += 1
        else:
            figures["read"] += 1
            assert all(label == unicodedata.normalize("NFC", label) for _, label in labels.items)
            assert all(label for _, label in labels.items)
        file.unlink()
