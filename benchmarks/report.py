"""The suite's results as tables and plots: `python benchmarks/report.py`.

Writes `benchmarks/results/report.md` and the PNG plots beside it from the JSON files there. A part
that wasn't measured is said to be so.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from captcha_rt.files import write_atomically
from harness import RESULTS

Result = Mapping[str, Any]

OURS: Final = "captcha-rt"
COLOURS: Final = {OURS: "black"}  # ours stands out; the others take theirs in turn
MEANS: Final = "Tesseract, one process"
"""Its times are means of many pictures, and one picture it reads as Tesseract does."""
STAGES: Final = ("python", "imports", "model", "first picture", "exit")


def peers_table(result: Result) -> str:
    """Accuracy and cost a picture of each system on each set."""
    sets = result["pictures"]
    lines = [_row("system", *(f"{name}: exact match" for name in sets), "CPU a picture")]
    lines.append(_rule(len(sets) + 2))
    for name, entry in result["systems"].items():
        if "missing" in entry:
            lines.append(_row(name, *("" for _ in sets), f"not measured: {entry['missing']}"))
            continue
        exact = (f"{entry['sets'][kind]['exact_match']:.1%}" for kind in sets)
        cpu = [entry["sets"][kind]["cpu_ms"] for kind in sets]
        lines.append(_row(name, *exact, _span(cpu)))
    return "\n".join(lines) + "\n"


def start_table(result: Result) -> str:
    """What a system takes before its first answer."""
    lines = [_row("system", "cold start, CPU", "peak memory", "installed"), _rule(4)]
    for name, entry in _measured_systems(result).items():
        if name != MEANS:
            size, start = entry["installed_mb"], entry["cold_start"]
            cpu = f"{start['cpu_ms']:.0f} ms"
            if start["of"] == "command" and start["stages"]:
                cpu += f"; in a script {sum(start['stages'].values()):.0f} ms"
            lines.append(
                _row(
                    name,
                    cpu,
                    f"{entry['peak_mb']:.0f} MB",
                    "not known" if size is None else f"{size:.0f} MB",
                )
            )
    return "\n".join(lines) + "\n"


def _measured_systems(result: Result) -> dict[str, Any]:
    return {name: e for name, e in result["systems"].items() if "missing" not in e}


def where_others_win(result: Result) -> Iterator[str]:
    """Every figure in which another system is better than ours, in words."""
    systems = _measured_systems(result)
    ours = systems.pop(OURS)
    for name, entry in systems.items():
        for kind, its in entry["sets"].items():
            own = ours["sets"][kind]
            right, own_right = its["exact_match"], own["exact_match"]
            if right > own_right:
                yield f"{name} reads {right:.1%} of {kind}, ours {own_right:.1%}"
            if its["cpu_ms"] < own["cpu_ms"]:
                yield f"{name} takes {its['cpu_ms']:.3f} ms on {kind}, ours {own['cpu_ms']:.3f} ms"
        if name == MEANS:
            continue
        start, own_start = entry["cold_start"]["cpu_ms"], ours["cold_start"]["cpu_ms"]
        if start < own_start:
            yield f"{name} starts in {start:.0f} ms of CPU, ours in {own_start:.0f} ms"
        peak, own_peak = entry["peak_mb"], ours["peak_mb"]
        if peak < own_peak:
            yield f"{name} takes {peak:.0f} MB at its peak, ours {own_peak:.0f} MB"
        size, own_size = entry["installed_mb"], ours["installed_mb"]
        if size is not None and size < own_size:
            yield f"{name} installs {size:.0f} MB, ours {own_size:.0f} MB"


def origin_table(result: Result, batch: int = 1) -> str:
    """Milliseconds a picture of the same weights, run each way."""
    models = result["models"]
    ways = list(next(iter(models.values()))["right"])
    lines = [_row("network", *(f"`{way}`" if "(" in way or "." in way else way for way in ways))]
    lines.append(_rule(len(ways) + 1))
    for name, entry in models.items():
        times = entry["milliseconds_a_picture"][str(batch)]
        lines.append(_row(f"`{name}`", *(_milliseconds(times[way]["p50"]) for way in ways)))
    return "\n".join(lines) + "\n"


def where_other_ways_win(result: Result) -> Iterator[str]:
    """Every network that another way runs faster than both of ours, one picture at a time."""
    for name, entry in result["models"].items():
        times = {w: its["p50"] for w, its in entry["milliseconds_a_picture"]["1"].items()}
        own = min(time for way, time in times.items() if way.startswith(OURS))
        for way, time in times.items():
            if time < own:
                yield f"{way} runs `{name}` in {time:.3f} ms, ours in {own:.3f} ms"


def reading_table(result: Result) -> str:
    """How many pictures each way reads right, and what `Solver.solve` adds."""
    models = result["models"]
    ways = list(next(iter(models.values()))["right"])
    lines = [_row("network", *ways, "pictures", "solve over decode and session")]
    lines.append(_rule(len(ways) + 3))
    for name, entry in models.items():
        right = entry["right"] if entry["trained"] else dict.fromkeys(ways, "not trained")
        overhead = f"{entry['stages']['overhead']:+.1%}"
        lines.append(_row(f"`{name}`", *(right[w] for w in ways), entry["pictures"], overhead))
    return "\n".join(lines) + "\n"


def batches_table(result: Result) -> str:
    """A picture's cost by the batch."""
    rows = result["batches"]
    lines = [_row("batch", *(row["batch"] for row in rows)), _rule(len(rows) + 1)]
    lines.append(_row("CPU a picture", *(_milliseconds(row["cpu_ms"]) for row in rows)))
    return "\n".join(lines) + "\n"


def scale_tables(result: Result) -> str:
    """Pictures, batches, workers and widths, and how the cost grows."""
    lines = [_row("pictures", "CPU a picture", "memory, ready", "at its peak", "at the end")]
    lines.append(_rule(5))
    for row in result["pictures"]:
        memory = (f"{row[key]:.0f} MB" for key in ("ready_mb", "peak_mb", "end_mb"))
        lines.append(_row(f"{row['pictures']:,}", _milliseconds(row["cpu_ms"]), *memory))
    lines += ["", batches_table(result)]
    lines += [_row("workers", "pictures a second", "over one thread"), _rule(3)]
    for row in result["workers"]:
        workers = f"{row['count']} {row['workers']}"
        if row["count"] == 1:
            workers = {"threads": "1 thread", "processes": "1 process"}[row["workers"]]
        lines.append(_row(workers, f"{row['pictures_a_second']:,}", f"{row['ratio']:.2f}"))
    lines += ["", _row("width", "million multiply-adds", "session, CPU"), _rule(3)]
    for row in result["widths"]:
        adds = f"{row['multiply_adds'] / 1e6:.1f}"
        lines.append(_row(f"{row['width']:g}", adds, _milliseconds(row["cpu_ms"])))
    lines += ["", "CPU time grows with the work to a power (1 is linear):", ""]
    lines += [
        f"- {what}: {fit['slope']:.3f} (R² {fit['r2']:.4f})"
        for what, fit in result["growth"].items()
    ]
    return "\n".join(lines) + "\n"


def limits_table(result: Result) -> str:
    """Each model's limit by arithmetic and memory, and how near its session is."""
    lines = [_row("model", "million multiply-adds", "limit", "session", "share of the limit")]
    lines.append(_rule(5))
    for row in result["models"]:
        adds = f"{row['multiply_adds'] / 1e6:.1f}"
        times = (f"{row[key]:.3f} ms" for key in ("limit_ms", "session_ms"))
        lines.append(_row(f"`{row['model']}`", adds, *times, f"{row['share']:.0%}"))
    return "\n".join(lines) + "\n"


def sessions_table(result: Result) -> str:
    """Threads within a run, and whether they spin."""
    lines = [_row("batch", "threads", "spinning", "wall a picture", "CPU a picture"), _rule(5)]
    for row in result["median_a_picture"]:
        times = (f"{row[key]:.3f} ms" for key in ("wall_ms", "cpu_ms"))
        spinning = "yes" if row["spinning"] else "no"
        lines.append(_row(row["batch"], row["threads"], spinning, *times))
    return "\n".join(lines) + "\n"


def gpu_table(result: Result) -> str:
    """CUDA beside the CPU: pictures a second, and whether the texts are the same."""
    lines = [_row("model", "batch", "on", "how", "p50", "pictures a second", "same texts")]
    lines.append(_rule(7))
    for row in result["rows"]:
        on = row.get("provider", "CUDA").removesuffix("ExecutionProvider")
        if "precision" in row:
            on += f", {row['precision']}" + ", TF32" * bool(row.get("tf32"))
        if "failed" in row:
            cells = "failed", "", row["failed"]
        else:
            rate = f"{row['pictures_a_second']:,.0f}"
            cells = f"{row['p50']:.3f} ms", rate, f"{row['agreement']:.1%}"
        lines.append(_row(f"`{row['model']}`", row["batch"], on, row["how"], *cells))
    return "\n".join(lines) + "\n"


def load_table(result: Result) -> str:
    """Session creation by the form of the graph."""
    forms = list(dict.fromkeys(row["form"] for row in result["forms"]))
    times = {(row["model"], row["form"]): row["load_ms"] for row in result["forms"]}
    lines = [_row("model", *forms), _rule(len(forms) + 1)]
    lines += [
        _row(f"`{model}`", *(_milliseconds(times[model, form]) for form in forms))
        for model in dict.fromkeys(row["model"] for row in result["forms"])
    ]
    return "\n".join(lines) + "\n"


def _listed(lines: Iterable[str]) -> str:
    return "".join(f"- {line}\n" for line in lines) or "- nothing that was measured\n"


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns


def _span(values: Sequence[float]) -> str:
    low, high = _milliseconds(min(values)), _milliseconds(max(values))
    return low if low == high else f"{low.removesuffix(' ms')} to {high}"


def _milliseconds(value: float) -> str:
    return f"{value:.{3 if value < 1 else 2 if value < 10 else 0}f} ms"


def draw_throughput(result: Result, axes: Any) -> None:  # noqa: ANN401  (matplotlib's types)
    """Pictures a second on one thread by the batch."""
    batches = [row["batch"] for row in result["batches"]]
    rates = [1000 / row["wall_ms"] for row in result["batches"]]
    axes.plot(batches, rates, "o-", color="C3")
    axes.set(xscale="log", xlabel="batch", ylabel="pictures a second, one thread")
    axes.set_xticks(batches, list(map(str, batches)))
    axes.minorticks_off()
    axes.set_ylim(0, 1.1 * max(rates))
    axes.set_title("Throughput of the embedded model")
    axes.grid(alpha=0.3)


def draw_latencies(result: Result, axes: Any) -> None:  # noqa: ANN401
    """The share of captcha_v2's pictures that are read within a time."""
    kind = next(iter(result["pictures"]))
    for name, entry in _measured_systems(result).items():
        if name == MEANS:
            continue
        its = sorted(entry["sets"][kind]["latencies"])
        share = [(n + 1) / len(its) for n in range(len(its))]
        axes.step(its, share, where="post", label=name, color=COLOURS.get(name))
    axes.set(
        xscale="log", xlabel="milliseconds a picture, wall clock", ylabel="pictures read within"
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_title(f"Latency of one picture of {kind}")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.grid(alpha=0.3)


def draw_accuracy(result: Result, figure: Any) -> None:  # noqa: ANN401
    """Accuracy against latency, a point a system, a panel a set."""
    sets = list(result["pictures"])
    for axes, kind in zip(figure.subplots(1, len(sets), sharey=True), sets, strict=True):
        for name, entry in _measured_systems(result).items():
            its = entry["sets"][kind]
            axes.plot(
                its["cpu_ms"],
                its["exact_match"],
                "o" if name != OURS else "*",
                markersize=7 if name != OURS else 14,
                color=COLOURS.get(name),
                label=name,
            )
        axes.set(xscale="log", xlabel="CPU ms a picture", title=kind, ylim=(-0.05, 1.05))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("exact match")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)


def draw_cold_start(result: Result, axes: Any) -> None:  # noqa: ANN401
    """What a process takes until its first answer: scripts by stage, and commands whole."""
    systems = _measured_systems(result)
    starts = {name: entry["cold_start"] for name, entry in systems.items() if name != MEANS}
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


def draw_all(results: Mapping[str, Result]) -> list[tuple[str, str]]:
    """Draws what was measured.

    Returns:
        The plots' names, each with what it shows.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    made = []

    def save(figure: Any, name: str, shows: str) -> None:  # noqa: ANN401
        figure.savefig(RESULTS / f"{name}.png", dpi=110)
        plt.close(figure)
        made.append((name, shows))

    if "peers" in results:
        figure = plt.figure(figsize=(11, 4), layout="constrained")
        draw_accuracy(results["peers"], figure)
        save(figure, "accuracy", "Accuracy against CPU time a picture, a panel a set")
        figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
        draw_latencies(results["peers"], axes)
        save(figure, "latency", "The share of the pictures that is read within a time")
        figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
        draw_cold_start(results["peers"], axes)
        save(figure, "cold_start", "CPU time of a fresh process until its first answer")
    if "scale" in results:
        figure, axes = plt.subplots(figsize=(8, 3.5), layout="constrained")
        draw_throughput(results["scale"], axes)
        save(figure, "throughput", "Pictures a second by the batch")
    return made


TITLES: Final = {
    "peers": "Against what you would pick instead",
    "origin": "Against where you come from: the same weights",
    "scale": "As the work grows",
    "limits": "How near to the machine's limit",
    "load_time": "Loading",
    "session_options": "Threads within a run",
    "gpu": "On a GPU",
}


def written(name: str, result: Result) -> str:
    """A part in words and tables."""
    match name:
        case "peers":
            settings = [
                f"- {system}, {entry.get('version') or 'not here'}: {entry['setting']}"
                for system, entry in result["systems"].items()
            ]
            return "\n".join(
                [
                    "One core, one thread, the same pictures, which our model was not trained on: "
                    + ", ".join(f"{n} of {kind}" for kind, n in result["pictures"].items())
                    + ".\n",
                    peers_table(result),
                    start_table(result),
                    "Where another system is better:\n",
                    _listed(where_others_win(result)),
                    "The settings:\n",
                    *settings,
                    "",
                ]
            )
        case "origin":
            return (
                "One core. A picture at batch 1:\n\n"
                + origin_table(result)
                + "\nA picture at batch 32:\n\n"
                + origin_table(result, 32)
                + "\nFaster than ours, one at a time:\n\n"
                + _listed(where_other_ways_win(result))
                + "\nPictures read right, and what `Solver.solve` takes beyond decoding the "
                "picture and a bare `session.run`:\n\n" + reading_table(result)
            )
        case "scale":
            return scale_tables(result)
        case "limits":
            return limits_table(result)
        case "load_time":
            solver = _milliseconds(result["solver"]["Solver"]["p50"])
            return (
                f"Creating a session from each form of the graph:\n\n{load_table(result)}\n"
                f"`Solver()` with the embedded model: {solver}. Of the forms, {result['caveat']}.\n"
            )
        case "session_options":
            return sessions_table(result)
        case _:
            return gpu_table(result)


def measured(result: Result) -> str:
    """Where and on what a part was measured."""
    machine = result["machine"]
    versions = ", ".join(
        f"{name} {machine[name]}" for name in machine if name not in ("cpu", "cores")
    )
    return f"*{machine['cpu']}, {machine['cores']} cores; {versions}; commit {result['commit']}.*"


def main() -> None:
    """Writes the report and the plots."""
    paths = {name: RESULTS / f"{name}.json" for name in TITLES}
    results = {n: json.loads(p.read_text("utf-8")) for n, p in paths.items() if p.exists()}
    lines = ["# What was measured", "", "`benchmarks/suite.py` made this file and its plots.", ""]
    for name, shows in draw_all(results):
        lines += [f"![{shows}]({name}.png)", ""]
    for name, title in TITLES.items():
        lines += [f"## {title}", ""]
        if name in results:
            lines += [written(name, results[name]), measured(results[name]), ""]
        else:
            lines += ["Not measured yet.", ""]
    with write_atomically(RESULTS / "report.md") as path:
        path.write_text("\n".join(lines), "utf-8")


if __name__ == "__main__":
    main()
