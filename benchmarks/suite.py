"""All parts of the report: `python -m benchmarks suite`.

Runs each part in a process of its own, then writes the report, `benchmarks/results/report.md`, with
its plots. `CAPTCHA_DATA` names the folder of real labelled pictures. A stopped suite continues
where it was. If a part fails, the suite says so and goes on with the others; it then ends with exit
code 1. It takes less than an hour on two cores, if nothing else runs.

The suite leaves out the commands that train networks: `default`, `documents`, `search` and `own`.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.harness import (
    RESULTS,
    ROOT,
    RUNS,
    Part,
    captcha_data,
    command_parser,
    program,
    say,
)
from benchmarks.report import TITLES, write_report


def run_parts(
    names: Sequence[str],
    runs: Path,
    results: Path,
    command: Callable[[str], Sequence[str | Path]],
) -> list[str]:
    """Runs parts one after the other, each in its own process; skips finished parts.

    Args:
        names: The parts' names.
        runs: The folder of the runs.
        results: The folder of the result files.
        command: Makes the command line that measures a part, from the part's name.

    Returns:
        The names of the parts that failed.
    """
    failed = []
    for name in names:
        if Part(name, runs, results).finished:
            say(f"[bold]{name}[/bold]: measured already")
            continue
        say(f"[bold]{name}[/bold]")
        started = time.monotonic()
        try:
            done = subprocess.run(command(name), cwd=ROOT, check=False)
        except KeyboardInterrupt:
            say("stopped; the same command continues here")
            sys.exit(130)
        say(f"{name}: {time.monotonic() - started:.0f} s")
        if done.returncode:
            failed.append(name)
            say(f"[red]{name} failed[/red] with exit code {done.returncode}")
    return failed


def main(
    argv: Sequence[str],
    parts: Sequence[str] = tuple(TITLES),
    runs: Path = RUNS,
    results: Path = RESULTS,
    command: Callable[[str], Sequence[str | Path]] = program,
) -> None:
    """Measures the parts that this state of the code has not measured, and writes the report.

    Args:
        argv: The command's options.
        parts: The names of all parts.
        runs: The folder of the runs.
        results: The folder of the result files.
        command: Makes the command line that measures a part, from the part's name.
    """
    parser = command_parser("suite", __doc__)
    names = ", ".join(parts)
    parser.add_argument("parts", nargs="*", help=f"which parts to run: {names}; default: all")
    chosen = parser.parse_args(argv).parts or parts
    unknown = set(chosen) - set(parts)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; there are: {names}")
    captcha_data()
    failed = run_parts(chosen, runs, results, command)
    write_report(results)
    sys.exit(bool(failed))
