"""Draws results. A plot is a function that fills a Matplotlib figure."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from benchmarks.harness import Result


class Plot(NamedTuple):
    """A plot of the report.

    Attributes:
        name: The name of the PNG file, without the suffix.
        caption: What the plot shows.
        size: Width and height in inches.
        draw: Fills the figure with a result.
    """

    name: str
    caption: str
    size: tuple[float, float]
    draw: "Callable[[Result, Figure], None]"


def save(path: Path, size: tuple[float, float], draw: "Callable[[Figure], None]") -> None:
    """Draws a figure and writes it as a PNG file.

    Args:
        path: The file.
        size: Width and height in inches.
        draw: Fills the figure.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=size, layout="constrained")
    draw(figure)
    figure.savefig(path, dpi=110)
    plt.close(figure)
