"""A run's report: one HTML page that needs nothing beside itself, and its pictures as PNG files.

RUN/
├── report.html     the page; its pictures are inside of it
└── report/         the same pictures
"""

import base64
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from captcha_rt.card import in_words
from captcha_rt.files import write_atomically
from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Evaluation, Reading, align, evaluate
from captcha_rt_train import plots
from captcha_rt_train.plots import Curves

__all__ = ["Curves", "write_report"]

_MOST_MISREAD = 60
_MOST_CONFUSIONS = 20
_LARGEST = (480, 240)  # pixels of a misread picture on the page


def write_report(
    folder: Path,
    manifest: Manifest,
    curves: Sequence[Curves],
    labels: Sequence[str],
    readings: Sequence[Reading],
    pictures: Mapping[str, NDArray[np.uint8]],
    part: str,
    summary: str,
) -> Path:
    """Writes `report.html` and the folder `report` with its pictures; older ones are replaced.

    Args:
        folder: The run's folder.
        manifest: The trained model's description, with its training and accuracy.
        curves: The history of each network, at least one.
        labels: The labels of all usable pictures, at least one.
        readings: What the model read in a part of the split, at least one.
        pictures: The misread pictures by their readings' paths: `(H, W, C)` uint8 with C = 1,
            3 (RGB) or 4 (RGBA, shown on white). One that lacks is left out.
        part: The part of the split: `"test"` or `"validation"`.
        summary: The network's layers, as text.

    Returns:
        The page's path.

    Raises:
        ValueError: If there are no readings.
    """
    evaluation = evaluate(readings)
    low, high = evaluation.interval
    pairs = Counter(pair for r in readings for pair in _pairs(r.truth, r.text))
    # The surest first: among them are the labels that are wrong.
    surest = sorted(evaluation.misread, key=lambda r: -r.confidence)[:_MOST_MISREAD]
    misread = {f"misread-{number:02d}": reading for number, reading in enumerate(surest, 1)}
    note = "The surest first: a label may be wrong, too." if misread else ""
    if evaluation.errors > len(misread):
        note += f" {evaluation.errors - len(misread):,} more are not shown."
    figures = {
        "loss": plots.draw_losses(curves),
        "accuracy": plots.draw_accuracies(curves),
        "positions": plots.draw_positions(curves),
        "confusions": plots.draw_confusions(pairs, manifest.charset.characters),
        "confidence": plots.draw_confidences(readings),
        "characters": plots.draw_characters(labels, manifest.charset.characters),
        "lengths": plots.draw_lengths(labels),
    }
    images = {name: _render(figure) for name, figure in figures.items() if figure is not None}
    images |= {name: _encode(pictures[r.path]) for name, r in misread.items() if r.path in pictures}

    page = files("captcha_rt_train").joinpath("report.html").read_text("utf-8")
    page = Template(page).substitute(
        {f"{name}_figure": _image(images, name, name) for name in figures},
        name=escape(manifest.name),
        part=escape(part),
        exact_match=f"{evaluation.exact_match:.2%}",
        interval=f"{low:.2%} to {high:.2%}",
        character_error_rate=f"{evaluation.character_error_rate:.2%}",
        errors=f"{evaluation.errors:,}",
        total=f"{evaluation.total:,}",
        accuracy=_table(_accuracy(manifest)),
        pictures=escape(_words(manifest.training.get("pictures", {}))),
        left_out=escape(_words(manifest.training.get("left_out", 0))),
        positions=_table(_positions(evaluation, part)),
        confusions=_confusions(evaluation),
        misread="".join(_misread(r, _image(images, name, r.truth)) for name, r in misread.items()),
        note=note,
        usable=f"{len(labels):,}",
        frequencies=_frequencies(labels),
        summary=escape(summary),
        settings=_table(_settings(manifest)),
        versions=_table((k, _words(v)) for k, v in manifest.training.get("versions", {}).items()),
    )

    beside = folder / "report"
    beside.mkdir(exist_ok=True)
    for name, image in images.items():
        with write_atomically(beside / f"{name}.png") as path:
            path.write_bytes(image)
    for path in beside.glob("*.png"):
        if path.stem not in images:
            path.unlink()
    with write_atomically(folder / "report.html") as path:
        path.write_text(page, "utf-8")
    return folder / "report.html"


def _pairs(truth: str, text: str) -> list[tuple[str, str]]:
    """What each character was read as: `align`'s edits, with the right characters between them.

    `align` walks from the end and takes equal characters first, so that the same walk puts its
    edits where they belong.
    """
    edits = align(truth, text)
    pairs = []
    while truth or text:
        pair = (truth[-1:], text[-1:])
        if pair[0] != pair[1]:
            pair = edits.pop()
        pairs.append(pair)
        truth, text = truth.removesuffix(pair[0]), text.removesuffix(pair[1])
    return pairs[::-1]


def _accuracy(manifest: Manifest) -> Iterator[tuple[str, ...]]:
    """What was measured on each part, with a header."""
    yield "part", "pictures", "exact match", "95% interval", "character error rate"
    for part, figures in manifest.accuracy.items():
        low, high = figures["interval"]
        yield (
            part,
            f"{figures['pictures']:,}",
            f"{figures['exact_match']:.2%}",
            f"{low:.2%} to {high:.2%}",
            f"{figures['character_error_rate']:.2%}",
        )


def _positions(evaluation: Evaluation, part: str) -> list[tuple[str, ...]]:
    """The share read right at each position, with a header."""
    shares = evaluation.position_accuracy
    numbers = (str(number) for number, _ in enumerate(shares, 1))
    rights = (f"{share:.2%}" for share in shares)
    return [("position", *numbers), (f"read right ({part})", *rights)]


def _confusions(evaluation: Evaluation) -> str:
    """The most frequent confusions in words: the figures' font lacks many characters."""
    most = ", ".join(
        f"{escape(c.truth) or 'nothing'} as {escape(c.read) or 'nothing'} ({c.count:,})"
        for c in evaluation.confusions[:_MOST_CONFUSIONS]
    )
    return f"Most often: {most}." if most else "No character was read wrong."


def _misread(reading: Reading, image: str) -> str:
    """A picture with its truth and what was read, wrong characters marked."""
    pairs = _pairs(reading.truth, reading.text)
    truth = _mark((truth, truth != read) for truth, read in pairs)
    read = _mark((read, truth != read) for truth, read in pairs) or "<i>nothing</i>"
    return (
        f"<figure>{image}<figcaption>"
        f'<div class="read"><small>truth</small>{truth}\n<small>read</small>{read}</div>'
        f"<small>{escape(reading.path)}<br>confidence {reading.confidence:.3f}</small>"
        "</figcaption></figure>"
    )


def _mark(characters: Iterable[tuple[str, bool]]) -> str:
    return "".join(
        f"<mark>{escape(char)}</mark>" if wrong and char else escape(char)
        for char, wrong in characters
    )


def _frequencies(labels: Sequence[str]) -> str:
    """The data's characters in words, the most frequent first."""
    counts = Counter("".join(labels)).most_common()
    return " ".join(f"<span>{escape(char)} {count:,}</span>" for char, count in counts)


def _settings(manifest: Manifest) -> list[tuple[str, str]]:
    """What the model is and how it was trained, but for the versions."""
    facts = {
        "charset": manifest.charset.characters,
        "recipe": in_words(manifest.recipe),
        "decoder": manifest.decoder,
        "licence": manifest.licence,
        **{name: value for name, value in manifest.training.items() if name != "versions"},
    }
    return [(name.replace("_", " "), _words(value)) for name, value in facts.items()]


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(part)}" for name, part in value.items())
    return f"{value:,}" if type(value) is int else str(value)


def _table(rows: Iterable[Sequence[str]]) -> str:
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _image(images: Mapping[str, bytes], name: str, alt: str) -> str:
    """A picture as part of the page; nothing if there is none."""
    if name not in images:
        return ""
    data = base64.b64encode(images[name]).decode()
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def _render(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=100)
    return out.getvalue()


def _encode(picture: NDArray[np.uint8]) -> bytes:
    """A picture as PNG, on white where it is transparent, shrunk to what the page can show."""
    image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image.thumbnail(_LARGEST)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
