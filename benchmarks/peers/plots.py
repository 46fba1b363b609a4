"""The comparison with other systems as plots."""

from typing import TYPE_CHECKING, Final

from benchmarks.harness import OURS, Result
from benchmarks.peers.tables import TESSERACT_LIST, measured_systems
from benchmarks.plots import Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS: Final = {OURS: "black"}  # the others have Matplotlib's colours in turn
STAGES: Final = ("python", "imports", "model", "first picture", "exit")


def draw_accuracy(result: Result, figure: "Figure") -> None:
    """Accuracy against CPU time: a point for each system, a panel for each set."""
    sets = list(result["pictures"])
    for axes, set_name in zip(figure.subplots(1, len(sets), sharey=True), sets, strict=True):
        for name, entry in measured_systems(result).items():
            axes.plot(
                entry["sets"][set_name]["cpu_ms"],
                entry["sets"][set_name]["exact_match"],
                "o" if name != OURS else "*",
                markersize=7 if name != OURS else 14,
                color=COLOURS.get(name),
                label=name,
            )
        axes.set(xscale="log", xlabel="CPU ms a picture", title=set_name, ylim=(-0.05, 1.05))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter(lambda exact, _: f"{exact:.0%}")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("exact match")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)


def draw_latencies(result: Result, figure: "Figure") -> None:
    """The fraction of the first set's pictures that each system reads within a time."""
    axes = figure.subplots()
    set_name = next(iter(result["pictures"]))
    for name, entry in measured_systems(result).items():
        if name == TESSERACT_LIST:
            continue
        latencies = sorted(entry["sets"][set_name]["latencies"])
        read = [(n + 1) / len(latencies) for n in range(len(latencies))]
        axes.step(latencies, read, where="post", label=name, color=COLOURS.get(name))
    axes.set(
        xscale="log", xlabel="milliseconds a picture, wall clock", ylabel="pictures read within"
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_title(f"Latency of one picture of {set_name}")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.grid(alpha=0.3)


def draw_cold_start(result: Result, figure: "Figure") -> None:
    """The CPU time of a fresh process: of a script by stage, of a command as a whole."""
    axes = figure.subplots()
    systems = measured_systems(result)
    starts = {
        name: entry["cold_start"] for name, entry in systems.items() if name != TESSERACT_LIST
    }
    scripts = {name: start["stages"] for name, start in starts.items() if start["stages"]}
    commands = {n: start["cpu_ms"] for n, start in starts.items() if start["of"] == "command"}
    left = dict.fromkeys(scripts, 0.0)
    for number, stage in enumerate(STAGES):
        widths = [stages.get(stage, 0.0) for stages in scripts.values()]
        axes.barh(list(scripts), widths, left=list(left.values()), label=stage, color=f"C{number}")
        left = {name: start + w for (name, start), w in zip(left.items(), widths, strict=True)}
    names = [f"{name}, the command" for name in commands]
    axes.barh(names, list(commands.values()), label="a command, whole", color="0.6")
    axes.invert_yaxis()
    axes.set(xlabel="CPU milliseconds", title="A fresh process that reads one picture")
    axes.legend(fontsize=8)


PLOTS: Final = (
    Plot(
        "accuracy",
        "Accuracy against CPU time a picture, a panel a set",
        (11, 4),
        draw_accuracy,
    ),
    Plot("latency", "The share of the pictures that is read within a time", (8, 4), draw_latencies),
    Plot(
        "cold_start",
        "CPU time of a fresh process until its first answer",
        (8, 4),
        draw_cold_start,
    ),
)
