"""The suite's results as tables and plots: `python -m benchmarks report`.

Writes `benchmarks/results/report.md` and the PNG plots beside it from the JSON files there. A part
without a result is listed as not measured yet.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol, cast

from benchmarks import COMMANDS
from benchmarks.harness import RESULTS, Result, command_parser, read_json
from benchmarks.plots import Plot, save
from captcha_rt.files import write_atomically

TITLES: Final = {
    "peers": "Against what you would pick instead",
    "origin": "Against where you come from: the same weights",
    "scale": "As the work grows",
    "limits": "How near to the machine's limit",
    "path": "One picture, beside the least that it takes",
    "load_time": "Loading",
    "session_options": "Threads within a run",
    "gpu": "On a GPU",
}
"""The parts by name, in the report's order. The module of each is in `benchmarks.COMMANDS`."""


class PartModule(Protocol):
    """What the module of a part offers to the report.

    Attributes:
        PLOTS: The plots of its result.
    """

    PLOTS: tuple[Plot, ...]

    def table(self, result: Result) -> str:
        """The result in words and tables, in Markdown."""


def part_module(name: str) -> PartModule:
    """The module of a part, imported late: importing `limits` sets an environment variable."""
    return cast("PartModule", import_module(f"benchmarks.{COMMANDS[name].module}"))


def measured_on(result: Result) -> str:
    """The machine, the versions and the commit that a part was measured with."""
    machine = result["machine"]
    versions = ", ".join(
        f"{name} {machine[name]}" for name in machine if name not in ("cpu", "cores")
    )
    return f"*{machine['cpu']}, {machine['cores']} cores; {versions}; commit {result['commit']}.*"


def draw_all(results: Mapping[str, Result], folder: Path) -> list[Plot]:
    """Draws the plots of all results.

    Args:
        results: The results by the part's name.
        folder: Where the PNG files go.

    Returns:
        The plots that were drawn.
    """
    drawn = []
    for name, result in results.items():
        for plot in part_module(name).PLOTS:
            save(folder / f"{plot.name}.png", plot.size, partial(plot.draw, result))
            drawn.append(plot)
    return drawn


def write_report(results: Path = RESULTS) -> None:
    """Writes the report and the plots.

    Args:
        results: The folder of the result files, where the report goes as well.
    """
    paths = {name: results / f"{name}.json" for name in TITLES}
    found: dict[str, Result] = {n: read_json(path) for n, path in paths.items() if path.exists()}
    lines = ["# What was measured", ""]
    lines += ["`python -m benchmarks suite` made this file and its plots.", ""]
    for plot in draw_all(found, results):
        lines += [f"![{plot.caption}]({plot.name}.png)", ""]
    for name, title in TITLES.items():
        lines += [f"## {title}", ""]
        if name in found:
            lines += [part_module(name).table(found[name]), measured_on(found[name]), ""]
        else:
            lines += ["Not measured yet.", ""]
    with write_atomically(results / "report.md") as path:
        path.write_text("\n".join(lines), "utf-8")


def main(argv: Sequence[str], results: Path = RESULTS) -> None:
    """Writes the report and the plots.

    Args:
        argv: The command's options.
        results: The folder of the result files, where the report goes as well.
    """
    command_parser("report", __doc__).parse_args(argv)
    write_report(results)
