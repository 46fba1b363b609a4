"""The comparison with other systems in tables and words."""

from collections.abc import Iterator
from typing import Any, Final

from benchmarks import markdown
from benchmarks.harness import OURS, Result

TESSERACT_LIST: Final = "Tesseract, one process"
"""The system whose times are means over many pictures.

Its latencies and its start are not shown: it reads a single picture as "Tesseract" does.
"""


def measured_systems(result: Result) -> dict[str, Any]:
    """The systems that are not missing, by name."""
    return {name: e for name, e in result["systems"].items() if "missing" not in e}


def accuracy_table(result: Result) -> str:
    """The accuracy and the cost of a picture, for each system on each set."""
    sets = result["pictures"]
    columns = ("system", *(f"{name}: exact match" for name in sets), "CPU a picture")
    rows = []
    for name, entry in result["systems"].items():
        if "missing" in entry:
            rows.append((name, *("" for _ in sets), f"not measured: {entry['missing']}"))
            continue
        exact = (f"{entry['sets'][set_name]['exact_match']:.1%}" for set_name in sets)
        cpu = [entry["sets"][set_name]["cpu_ms"] for set_name in sets]
        rows.append((name, *exact, markdown.span(cpu)))
    return markdown.table(columns, rows)


def start_table(result: Result) -> str:
    """What each system needs before its first answer."""
    rows = []
    for name, entry in measured_systems(result).items():
        if name == TESSERACT_LIST:
            continue
        size, start = entry["installed_mb"], entry["cold_start"]
        cpu = f"{start['cpu_ms']:.0f} ms"
        if start["of"] == "command" and start["stages"]:
            cpu += f"; in a script {sum(start['stages'].values()):.0f} ms"
        installed = "not known" if size is None else f"{size:.0f} MB"
        rows.append((name, cpu, f"{entry['peak_mb']:.0f} MB", installed))
    return markdown.table(("system", "cold start, CPU", "peak memory", "installed"), rows)


def where_others_win(result: Result) -> Iterator[str]:
    """Every number in which another system is better than ours, in words."""
    systems = measured_systems(result)
    ours = systems.pop(OURS)
    for name, entry in systems.items():
        for set_name, theirs in entry["sets"].items():
            own = ours["sets"][set_name]
            exact, own_exact = theirs["exact_match"], own["exact_match"]
            if exact > own_exact:
                yield f"{name} reads {exact:.1%} of {set_name}, ours {own_exact:.1%}"
            cpu, own_cpu = theirs["cpu_ms"], own["cpu_ms"]
            if cpu < own_cpu:
                yield f"{name} takes {cpu:.3f} ms on {set_name}, ours {own_cpu:.3f} ms"
        if name == TESSERACT_LIST:
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
