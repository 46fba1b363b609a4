"""A run's curves as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def plot_curves(history: Sequence[Mapping[str, float]], best: int, path: Path) -> None:
    """Draws loss and exact match over the epochs, with the best epoch marked.

    Args:
        history: A row an epoch, as `history.csv` holds them; at least one.
        best: The best epoch's number, from 1.
        path: The PNG file to write.
    """
    # A figure of its own, not pyplot's: that one keeps global state and looks for a display.
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    epochs = [row["epoch"] for row in history]
    losses, matches = figure.subplots(1, 2)
    losses.plot(epochs, [row["loss"] for row in history], label="training")
    losses.plot(epochs, [row["val_loss"] for row in history], label="validation")
    losses.set(title="CTC loss", xlabel="epoch", yscale="log")
    matches.plot(epochs, [row["val_exact_match"] for row in history], "C1", label="validation")
    matches.set(title="Exact match", xlabel="epoch", ylim=(-0.02, 1.02))
    for axes in (losses, matches):
        axes.axvline(best, color="grey", linestyle=":", label=f"best epoch ({best})")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=100)
