"""Plots of a run: curves, confusions, confidences, and the data.

Each function builds its own `Figure`, since pyplot would keep global state and look for a display.
Documents 000 (a plot for each digit) and 003 (the characters of the data) show such plots.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from captcha_rt.metrics import Prediction

_WHOLE = (
    64  # charsets up to this size, such as the 62 letters and digits, are shown whole, in order
)
_MAX_CONFUSED = 40  # the characters of a larger charset that have room in the matrix
_MAX_BARS = 4 * _WHOLE
_ACCURACY_TICKS = (0, 0.5, 0.8, 0.9, 0.95, 0.98, 1)
_CONFIDENCE_BINS = np.linspace(0, 1, 26)


@dataclass(frozen=True, slots=True)
class Curves:
    """One network's history.

    Attributes:
        name: Empty for a single network, `"digit 3"` for one of an ensemble.
        rows: One row per epoch, at least one, with the columns of `Epochs.history`. `accuracy`,
            `val_accuracy` and `val_digit1`, `val_digit2`, ... may be missing.
        best: The best epoch, from 1.
    """

    name: str
    rows: Sequence[Mapping[str, float]]
    best: int


def draw_losses(curves: Sequence[Curves]) -> Figure:
    """Draws the losses over the epochs, one panel for each network."""
    lines = {"loss": "training", "val_loss": "validation"}
    return _draw_panels([(network, "loss", lines) for network in curves], accuracies=False)


def draw_accuracies(curves: Sequence[Curves]) -> Figure:
    """Draws the exact match and, if measured, the characters' accuracy, one panel per network."""
    lines = {
        "accuracy": "characters, training",
        "val_accuracy": "characters, validation",
        "val_exact_match": "exact match, validation",
    }
    return _draw_panels([(network, "accuracy", lines) for network in curves], accuracies=True)


def draw_positions(curves: Sequence[Curves]) -> Figure | None:
    """Draws the accuracy at each position of the label, one panel for each position.

    Returns:
        The plot; None if no network reads more than one position.
    """
    positions = []
    for network in curves:
        found = (re.fullmatch(r"val_digit(\d+)", key) for key in network.rows[0])
        numbers = sorted(int(match[1]) for match in found if match)
        if len(numbers) > 1:  # an ensemble's network has one position, its accuracy
            named = ((f"position {n}", {f"val_digit{n}": "validation"}) for n in numbers)
            positions += [(network, *panel) for panel in named]
    return _draw_panels(positions, accuracies=True) if positions else None


def draw_confusions(pairs: Mapping[tuple[str, str], int], characters: str) -> Figure | None:
    """Draws the confusion matrix: the labels' characters down, those that were read across.

    Only wrong characters are counted; the diagonal is grey. If there are more than 64 characters,
    the 40 with the most errors are drawn.

    Args:
        pairs: How often each pair of a label's character and the character that was read occurs.
            The first is empty for a character that was made up, the second for one that was missed.
        characters: The charset's characters in order.

    Returns:
        The plot; None if all characters were right.
    """
    wrong = {pair: count for pair, count in pairs.items() if pair[0] != pair[1]}
    if not wrong:
        return None
    errors: Counter[str] = Counter()
    for pair, count in wrong.items():
        errors.update(dict.fromkeys(filter(None, pair), count))
    shown = characters + "".join(sorted(set(errors) - set(characters)))
    title = f"{sum(wrong.values()):,} characters read wrong"
    if len(shown) > _WHOLE:
        most = {char for char, _ in errors.most_common(_MAX_CONFUSED)}
        title += f"\nof {len(shown)} in the charset, the {len(most)} with the most errors"
        shown = "".join(char for char in shown if char in most)

    names = [*shown, ""]
    counts = np.array([[wrong.get((truth, read), 0) for read in names] for truth in names])
    side = max(4.5, 0.22 * len(names))
    figure = _figure(side + 1.0, side + 0.6)
    axes = figure.subplots()
    axes.imshow(np.diag([1] * len(shown) + [0]), cmap="Greys", vmin=0, vmax=6)
    # On a log scale, a single confusion shows beside one that happened a hundred times.
    norm = LogNorm(0.5, max(10, counts.max()))
    axes.imshow(np.ma.masked_equal(counts, 0), cmap="YlOrRd", norm=norm)
    for row, column in np.argwhere(counts):
        count = counts[row, column]
        colour = "white" if norm(count) > 0.6 else "black"
        axes.text(column, row, count, ha="center", va="center", fontsize=7, color=colour)
    labels = [tick_label(char) for char in shown]
    wide = max(map(len, labels)) > 1
    axes.set_xticks(range(len(names)), [*labels, "missed"], rotation=90 * wide)
    axes.set_yticks(range(len(names)), [*labels, "made up"])
    axes.get_xticklabels()[-1].set_rotation(90)
    axes.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.set(title=title, xlabel="read", ylabel="truth")
    return figure


def draw_confidences(predictions: Sequence[Prediction]) -> Figure:
    """Draws the confidences of right and of wrong predictions."""
    figure = _figure(7, 4)
    upper, lower = figure.subplots(2, sharex=True)
    for axes, right, name in ((upper, True, "read right"), (lower, False, "misread")):
        confidences = [p.confidence for p in predictions if (p.text == p.truth) == right]
        axes.set(title=f"{name}: {len(confidences):,} of {len(predictions):,}", yticks=[])
        if confidences:
            colour = "C0" if right else "C3"
            counts, _, _ = axes.hist(confidences, _CONFIDENCE_BINS, color=colour, edgecolor="white")
            # On a log scale, since nearly all confidences are high, and the others matter.
            axes.set(yscale="log", ylim=(0.7, 2 * max(10, np.max(counts))))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axes.grid(alpha=0.3)
    figure.supylabel("pictures", fontsize="medium")
    lower.set(xlabel="confidence", xlim=(-0.01, 1.01))
    return figure


def draw_characters(labels: Sequence[str], characters: str) -> Figure:
    """Draws how often the data holds each character, in the charset's order.

    More than 64 characters are sorted by frequency, in rows of 64 with a scale each. Of more than
    256 characters, only the most frequent and the rarest are shown: the frequent ones matter most,
    and the rarest may be too rare to learn.

    Args:
        labels: The labels, at least one.
        characters: The charset's characters in order.
    """
    counts = Counter(dict.fromkeys(characters, 0))
    counts.update("".join(labels))
    bars = list(counts.items()) if len(counts) <= _WHOLE else (+counts).most_common()
    title = f"{counts.total():,} characters, {len(+counts)} different"
    if missing := len(counts) - len(+counts):
        title += f"; {missing} of the charset in no label"
    if len(bars) > _MAX_BARS:
        half = _MAX_BARS // 2
        bars = bars[:half] + bars[-half:]
        title += f"; the {half} most frequent and the {half} rarest"
    rows = math.ceil(len(bars) / _WHOLE)
    figure = _figure(10, 1.2 + 1.7 * rows)
    for row, axes in enumerate(figure.subplots(rows, squeeze=False)[:, 0]):
        part = bars[row * _WHOLE : (row + 1) * _WHOLE]
        names = [tick_label(char) for char, _ in part]
        axes.bar(range(len(part)), [count for _, count in part], color="C0")
        wide = max(map(len, names)) > 1
        axes.set_xticks(range(len(part)), names, rotation=90 * wide, fontsize=8 if wide else 10)
        axes.set(xlim=(-0.7, min(len(bars), _WHOLE) - 0.3), ylabel="times")
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
    figure.suptitle(title)
    return figure


def draw_lengths(labels: Sequence[str]) -> Figure:
    """Draws the number of labels of each length."""
    counts = Counter(map(len, labels))
    figure = _figure(5, 2.9)
    axes = figure.subplots()
    axes.bar_label(axes.bar(list(counts), list(counts.values()), color="C0"), fmt="{:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title="length of the labels", xlabel="characters", ylabel="pictures")
    axes.set(xlim=(min(counts) - 2, max(counts) + 2), ylim=(0, 1.15 * max(counts.values())))
    return figure


@cache
def tick_label(char: str) -> str:
    """The character, or its code point, such as `4E2D`, if the plots' font can't show it."""
    font = get_font(findfont(FontProperties()))
    visible = unicodedata.category(char)[0] not in "CMZ"
    return char if visible and font.get_char_index(ord(char)) else f"{ord(char):04X}"


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw_panels(
    panels: Sequence[tuple[Curves, str, Mapping[str, str]]], *, accuracies: bool
) -> Figure:
    """Draws panels with a common scale, at most three in a row.

    Args:
        panels: For each panel the network, the title, and the columns of the history to draw, with
            their names in the legend.
        accuracies: Whether the values are accuracies, in 0..1; else they are losses.
    """
    columns = 2 if len(panels) in (2, 4) else min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    figure = _figure(max(5.2, 3.9 * columns), 3.4 if rows == 1 else 2.9 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes in grid[len(panels) :]:
        axes.remove()
    for axes, (network, what, lines) in zip(grid, panels, strict=False):
        at_best = network.rows[network.best - 1]
        epochs = [row["epoch"] for row in network.rows]
        for number, (key, name) in enumerate(lines.items()):
            if key in at_best:
                axes.plot(
                    epochs,
                    [row.get(key, math.nan) for row in network.rows],
                    color=f"C{number}",
                    label=f"{name}: {at_best[key]:{'.2%' if accuracies else '.3g'}}",
                    marker="." if len(epochs) < 10 else None,
                )
        axes.axvline(network.best, color="grey", linestyle=":", label=f"best epoch: {network.best}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set(title=f"{network.name}: {what}" if network.name else what, xlabel="epoch")
        axes.set(xlim=(0.5, len(epochs) + 0.5))
        if accuracies:  # stretched towards 1, since trained networks differ between 0.95 and 1
            stretch = (lambda value: -np.log(1.02 - value), lambda y: 1.02 - np.exp(-y))
            axes.set_yscale("function", functions=stretch)
            axes.set(ylim=(-0.02, 1.004), yticks=_ACCURACY_TICKS)
            axes.set_yticklabels([f"{tick:.0%}" for tick in _ACCURACY_TICKS])
        else:
            axes.set(yscale="log")
        axes.grid(alpha=0.3)
        axes.legend(
            fontsize=7 if columns > 2 else 8, loc=f"{'lower' if accuracies else 'upper'} right"
        )
    return figure
