"""A run's report: one HTML page that needs no other file, and the page's images as PNG files."""

import base64
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from captcha_rt.diagnostics.card import in_words
from captcha_rt.files import write_atomically
from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Evaluation, Prediction, align_characters, evaluate
from captcha_rt_export.run import Run
from captcha_rt_train.report import plots
from captcha_rt_train.report.plots import Curves

_MAX_MISREAD: Final = 60
_MAX_CONFUSIONS: Final = 20
_MAX_SIZE: Final = (480, 240)  # width and height of a misread picture on the page, in pixels


def write_report(
    run: Run,
    manifest: Manifest,
    curves: Sequence[Curves],
    labels: Sequence[str],
    predictions: Sequence[Prediction],
    pictures: Mapping[str, NDArray[np.uint8]],
    part: str,
    summary: str,
    verdict: Sequence[str] = (),
) -> Path:
    """Writes the page and the folder with its images; an older report is replaced.

    Args:
        run: The run's folder.
        manifest: The trained model's description, with its training and accuracy.
        curves: The history of each network, at least one.
        labels: The labels of all usable samples, at least one.
        predictions: The model's predictions for a part of the split, at least one.
        pictures: The misread pictures by the `path` of their predictions: `(H, W, C)` uint8 with
            C = 1, 3 (RGB) or 4 (RGBA, shown on white). A misread picture may be missing.
        part: The part of the split: `"test"` or `"validation"`.
        summary: The network's layers, as text.
        verdict: Lines in plain words for the top of the page.

    Returns:
        The page's path.

    Raises:
        ValueError: If there are no predictions.
    """
    evaluation = evaluate(predictions)
    # The highest confidence comes first, since wrong labels are among these.
    surest = sorted(evaluation.misread, key=lambda p: -p.confidence)[:_MAX_MISREAD]
    misread = {f"misread-{number:02d}": p for number, p in enumerate(surest, 1)}
    drawn = _draw_plots(manifest, curves, labels, predictions)
    images = {name: _render(plot) for name, plot in drawn.items() if plot is not None}
    images |= {name: _encode(pictures[p.path]) for name, p in misread.items() if p.path in pictures}
    page = Template(files(__package__).joinpath("page.html").read_text("utf-8")).substitute(
        {f"{name}_plot": _image(images, name, name) for name in drawn},
        **_results(manifest, evaluation, part),
        **_data(manifest, labels),
        **_misread_section(evaluation, misread, images),
        summary=escape(summary),
        verdict="".join(f"<p>{escape(line)}</p>" for line in verdict),
        settings=_table(_settings(manifest)),
        versions=_table((k, _words(v)) for k, v in manifest.training.get("versions", {}).items()),
    )
    _write_images(run.report_images, images)
    with write_atomically(run.report_file) as path:
        path.write_text(page, "utf-8")
    return run.report_file


def _draw_plots(
    manifest: Manifest,
    curves: Sequence[Curves],
    labels: Sequence[str],
    predictions: Sequence[Prediction],
) -> dict[str, Figure | None]:
    """All plots by name; None where there is nothing to show."""
    pairs = Counter(pair for p in predictions for pair in align_characters(p.truth, p.text))
    characters = manifest.charset.characters
    return {
        "loss": plots.draw_losses(curves),
        "accuracy": plots.draw_accuracies(curves),
        "positions": plots.draw_positions(curves),
        "confusions": plots.draw_confusions(pairs, characters),
        "confidence": plots.draw_confidences(predictions),
        "characters": plots.draw_characters(labels, characters),
        "lengths": plots.draw_lengths(labels),
    }


def _results(manifest: Manifest, evaluation: Evaluation, part: str) -> dict[str, str]:
    """The values of the template's sections on results."""
    low, high = evaluation.interval
    return {
        "name": escape(manifest.name),
        "part": escape(part),
        "exact_match": f"{evaluation.exact_match:.2%}",
        "interval": f"{low:.2%} to {high:.2%}",
        "character_error_rate": f"{evaluation.character_error_rate:.2%}",
        "errors": f"{evaluation.errors:,}",
        "total": f"{evaluation.total:,}",
        "accuracy": _table(_accuracy(manifest)),
        "positions": _table(_positions(evaluation, part)),
        "confusions": _confusions(evaluation),
    }


def _data(manifest: Manifest, labels: Sequence[str]) -> dict[str, str]:
    """The values of the template's section on the data."""
    return {
        "pictures": escape(_words(manifest.training.get("pictures", {}))),
        "skipped": escape(_words(manifest.training.get("skipped", 0))),
        "usable": f"{len(labels):,}",
        "frequencies": _frequencies(labels),
    }


def _misread_section(
    evaluation: Evaluation, misread: Mapping[str, Prediction], images: Mapping[str, bytes]
) -> dict[str, str]:
    """The values of the template's section on misread pictures."""
    note = "The highest confidence first; a label may be wrong, too." if misread else ""
    if evaluation.errors > len(misread):
        note += f" {evaluation.errors - len(misread):,} more are not shown."
    shown = (_misread(p, _image(images, name, p.truth)) for name, p in misread.items())
    return {"misread": "".join(shown), "note": note}


def _write_images(folder: Path, images: Mapping[str, bytes]) -> None:
    """Writes the images, and deletes those of an older report."""
    folder.mkdir(exist_ok=True)
    for name, image in images.items():
        with write_atomically(folder / f"{name}.png") as path:
            path.write_bytes(image)
    for path in folder.glob("*.png"):
        if path.stem not in images:
            path.unlink()


def _accuracy(manifest: Manifest) -> Iterator[tuple[str, ...]]:
    """The table of the accuracy on each part, with a header."""
    yield "part", "pictures", "exact match", "95% interval", "character error rate"
    for part, accuracy in manifest.accuracy.items():
        low, high = accuracy["interval"]
        yield (
            part,
            f"{accuracy['pictures']:,}",
            f"{accuracy['exact_match']:.2%}",
            f"{low:.2%} to {high:.2%}",
            f"{accuracy['character_error_rate']:.2%}",
        )


def _positions(evaluation: Evaluation, part: str) -> list[tuple[str, ...]]:
    """The table of the accuracy at each position, with a header."""
    accuracy = evaluation.position_accuracy
    numbers = (str(number) for number, _ in enumerate(accuracy, 1))
    values = (f"{value:.2%}" for value in accuracy)
    return [("position", *numbers), (f"read right ({part})", *values)]


def _confusions(evaluation: Evaluation) -> str:
    """The most frequent confusions in words, since the plots' font lacks many characters."""
    most = ", ".join(
        f"{escape(c.truth) or 'nothing'} as {escape(c.read) or 'nothing'} ({c.count:,})"
        for c in evaluation.confusions[:_MAX_CONFUSIONS]
    )
    return f"Most often: {most}." if most else "No character was read wrong."


def _misread(prediction: Prediction, image: str) -> str:
    """A picture with its label and the text that was read; wrong characters are marked."""
    pairs = align_characters(prediction.truth, prediction.text)
    truth = _mark((truth, truth != read) for truth, read in pairs)
    read = _mark((read, truth != read) for truth, read in pairs) or "<i>nothing</i>"
    return (
        f"<figure>{image}<figcaption>"
        f'<div class="read"><small>truth</small>{truth}\n<small>read</small>{read}</div>'
        f"<small>{escape(prediction.path)}<br>confidence {prediction.confidence:.3f}</small>"
        "</figcaption></figure>"
    )


def _mark(characters: Iterable[tuple[str, bool]]) -> str:
    return "".join(
        f"<mark>{escape(char)}</mark>" if wrong and char else escape(char)
        for char, wrong in characters
    )


def _frequencies(labels: Sequence[str]) -> str:
    """How often the labels hold each character, in words; the most frequent first."""
    counts = Counter("".join(labels)).most_common()
    return " ".join(f"<span>{escape(char)} {count:,}</span>" for char, count in counts)


def _settings(manifest: Manifest) -> list[tuple[str, str]]:
    """The table of what the model is and how it was trained, without the versions."""
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
    """An image as part of the page; empty if there is none."""
    if name not in images:
        return ""
    data = base64.b64encode(images[name]).decode()
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def _render(plot: Figure) -> bytes:
    out = io.BytesIO()
    plot.savefig(out, format="png", dpi=100)
    return out.getvalue()


def _encode(picture: NDArray[np.uint8]) -> bytes:
    """A picture as PNG: on white where it is transparent, shrunk to the largest size if larger."""
    image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image.thumbnail(_MAX_SIZE)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
