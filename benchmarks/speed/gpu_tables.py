"""The result of `gpu` as tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from benchmarks import markdown
from benchmarks.harness import Result
from captcha_rt.device import CPU, choose

WAYS: Final[Mapping[str, Mapping[str, Any]]] = {
    "CPU, one thread": {"threads": 1},
    "CPU, all cores": {"provider": CPU},  # the last such row
    "CUDA": {"tf32": True, "how": "numpy", "precision": ("float32", "int8")},
    "CUDA graph": {"tf32": True, "how": "captured", "copies": True, "precision": ("float32",)},
    "CUDA graph, float16, without copies": {
        "how": "captured",
        "copies": False,
        "precision": ("float16",),
    },
}
"""The ways that the table shows, each with the values that its row has."""


def shown_ways(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The median milliseconds of a batch by way, of one model's rows at one batch size."""
    found = {}
    for way, wanted in WAYS.items():
        for row in rows:
            fits = all(
                row.get(key) in value if isinstance(value, tuple) else row.get(key) == value
                for key, value in wanted.items()
            )
            if fits and "p50" in row:
                found[way] = row["p50"]
    return found


def by_batch(result: Result) -> Iterator[tuple[str, int, dict[str, float]]]:
    """The model's name, the batch size and `shown_ways` of each batch that was measured."""
    rows = result["rows"]
    for model in result["models"]:
        for batch in sorted({row["batch"] for row in rows if row["model"] == model}):
            alike = [row for row in rows if (row["model"], row["batch"]) == (model, batch)]
            yield model, batch, shown_ways(alike)


def auto(ways: Mapping[str, float]) -> str:
    """The device that `auto` takes for runs without an end, with these times of a run."""
    seconds = {way: ms / 1000 for way, ms in ways.items()}
    device, _ = choose(seconds["CPU, one thread"], float("inf"), lambda: seconds["CUDA"])
    return {"cpu": "CPU", "cuda": "CUDA"}[device]


def table(result: Result) -> str:
    """The result in words and as a table: CUDA beside the CPU, and what `auto` takes."""
    header = ("model", "batch", *WAYS, "`auto`")
    cells = [
        (
            f"`{model}`",
            f"{batch:,}",
            *(markdown.milliseconds(ways[way]) if way in ways else "" for way in WAYS),
            auto(ways),
        )
        for model, batch, ways in by_batch(result)
    ]
    failed = sorted({f"`{r['model']}`: {r['failed']}" for r in result["rows"] if "failed" in r})
    return "\n".join(
        [
            result["about"],
            "",
            "Milliseconds a batch, from NumPy to NumPy unless a column says otherwise:",
            "",
            markdown.table(header, cells),
            *([f"- {line}" for line in failed] + [""]) * bool(failed),
        ]
    )


def short_table(result: Result) -> str:
    """The README's table: one thread of the CPU and CUDA at some batch sizes."""
    header = ("model", "batch", "CPU, one thread", "CUDA", "`auto` takes")
    cells = [
        (
            f"`{model}`",
            f"{batch:,}",
            markdown.milliseconds(ways["CPU, one thread"]),
            markdown.milliseconds(ways["CUDA"]),
            auto(ways),
        )
        for model, batch, ways in by_batch(result)
        if batch in (1, 8, 64)
    ]
    return markdown.table(header, cells)
