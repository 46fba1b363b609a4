"""The report of `captcha-rt bench` as text."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple

from captcha_rt.diagnostics.bench import BATCHES, Percentiles, Report


def describe(report: Report) -> str:
    """Writes the report as text: what was measured, then one table per kind of measurement."""
    about = [
        f"model: {report.model}",
        f"active provider: {report.provider}" + f" (auto: {report.reason})" * bool(report.reason),
        f"threads within one run: {report.threads}",
        f"pictures: {report.pictures}{', a drawn one, since none was named' * report.drawn}",
        f"processor: {report.processor}, {report.cores} cores",
        "versions: " + ", ".join(f"{name} {v}" for name, v in report.versions.items()),
        "session: from NumPy to NumPy, so that copies to a GPU and back are counted",
        "stages: the sum over the models that read a picture; batches of the session: the first",
    ]
    titles = ("p50", "p90", "p99", "rounds")
    rates = {
        f"from {n} thread{'s' * (n > 1)}": [
            f"{rate.pictures_per_second:.0f}" for rate in report.throughput if rate.threads == n
        ]
        for n in sorted({rate.threads for rate in report.throughput})
    }
    usage = ["-" if value is None else f"{value:.1f}" for value in astuple(report.cold_start)]
    tables: list[dict[str, Sequence[str]]] = [
        {"one picture at a time, ms": titles, **_cells(report.stages)},
        {
            "session, ms a batch": titles,
            **_cells({f"batch {n}": times for n, times in report.session.items()}),
        },
        {"pictures a second": [f"batch {n}" for n in BATCHES], **rates},
        {"cold start": ("wall ms", "CPU ms", "peak MB"), "captcha-rt solve PICTURE": usage},
    ]
    texts = [
        "\n".join(f"{name:<26}" + "".join(f"{cell:>10}" for cell in row) for name, row in t.items())
        for t in tables
    ]
    return "\n\n".join(["\n".join(about), *texts])


def _cells(rows: Mapping[str, Percentiles]) -> dict[str, Sequence[str]]:
    """Writes the cells of a table of percentiles, by the name of the row."""
    return {
        name: [f"{row.p50:.3f}", f"{row.p90:.3f}", f"{row.p99:.3f}", f"{row.rounds}"]
        for name, row in rows.items()
    }
