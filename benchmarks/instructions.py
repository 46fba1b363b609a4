"""Guards `Solver.solve` against getting slower: `python benchmarks/instructions.py`.

Counts the instructions that one picture takes, whole and by stage, under valgrind's callgrind, and
compares them with the committed `benchmarks/results/instructions.json`. Instructions are no time,
but repeatable where clocks aren't: in different folders, with environments of different size and on
a busy machine the whole differs by less than a thousandth. Exit code 1 says that a stage takes more
than the tolerance allows, and which. `--update` writes the baseline anew: after a change that is
worth its cost, one that saved something, or one of the libraries' versions. Takes half a minute.

What callgrind runs on is a processor of its own making, with AVX2 where the machine has it and
never AVX-512. So the counts are of the kernels for AVX2, the same on all such machines. What may
differ from one machine to the next is dealt with by what it changes:

- architecture, AVX2, Python's minor version: everything; nothing is compared.
- NumPy, OpenCV, onnxruntime: kernels. `constraints.txt` pins them, so a difference means that the
  baseline is out of date: exit code 1.
- Python's build, the C library, valgrind: some; compared with a wider tolerance.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from captcha_rt.session import installed
from harness import HERE, RESULTS, commit, write_json

BASELINE = RESULTS / "instructions.json"
CHILD = HERE / "instructions_child.py"
WHOLE, BETWEEN = "solve", "between"
"""The whole, and what of it lies in no stage: the solver's own lines."""

TOLERANCE = {
    "share": 0.05,
    "share_reason": "ten times what runs on one machine differ by: at most 0.004 of a stage",
    "other_build": 0.3,
    "other_build_reason": "Debian's Python 3.11.2 takes 0.11 less in the decoder and 0.2 less "
    "between the stages than a 3.11.7 that was built without optimisations",
    "instructions": 2000,
    "instructions_reason": "what lies between the stages is a small difference of large counts, "
    "and varies by about 1,000",
}
ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
MACHINE = ("architecture", "avx2", "python")
LIBRARIES = ("numpy", "opencv-python-headless", "onnxruntime")
BUILD = ("python_build", "libc", "valgrind")

say = Console(stderr=True).print


def main() -> None:
    """Compares with the baseline, or writes it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--update", action="store_true", help="write the baseline anew")
    update = parser.parse_args().update
    here = platform_here()
    if update:
        write_baseline(measure(), here)
        return
    baseline = json.loads(BASELINE.read_text("utf-8"))
    measured_on = baseline["platform"]
    if other := differences(here, measured_on, MACHINE):
        say(f"[yellow]not compared[/yellow], this is no machine of the baseline's kind: {other}")
        return
    if other := differences(here, measured_on, LIBRARIES):
        sys.exit(f"the baseline is out of date, run with --update: {other}")
    tolerance = baseline["tolerance"]
    share = tolerance["share"]
    if other := differences(here, measured_on, BUILD):
        share = tolerance["other_build"]
        say(f"compared with the wider tolerance of {share:.0%}, since builds differ: {other}")
    now, before = measure(), baseline["instructions"]
    say(table(now, before))
    sys.exit(verdict(now, before, share, tolerance["instructions"]))


def measure(child: Path = CHILD) -> dict[str, int]:
    """Counts instructions.

    Args:
        child: What is run: a script that calls `os.getppid` before and after each stage, and
            prints the stages' names, with the whole as `solve`, and how many pictures each read.

    Returns:
        Instructions a picture, by stage; the whole last.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        sys.exit("there is no valgrind: apt-get install valgrind")
    with TemporaryDirectory() as folder:
        counts = Path(folder) / "counts"
        command = [valgrind, "--tool=callgrind", "--dump-before=getppid"]
        done = subprocess.run(
            [*command, f"--callgrind-out-file={counts}", sys.executable, child],
            env=os.environ | ENVIRONMENT,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(f"valgrind ended with exit code {done.returncode}:\n{done.stderr[-2000:]}")
        said = json.loads(done.stdout)
        # The n-th file holds what ran between the n-th call of `getppid` and the one before; the
        # odd ones are the load and the warm-ups.
        stages = {
            stage: total(Path(f"{counts}.{2 * n}")) / said["pictures"]
            for n, stage in enumerate(said["stages"], 1)
        }
    whole = stages.pop(WHOLE)
    found = {**stages, BETWEEN: whole - sum(stages.values()), WHOLE: whole}
    return {name: round(count) for name, count in found.items()}


def total(profile: Path) -> int:
    """The instructions that one of callgrind's files counts."""
    found = re.search(r"^totals: (\d+)$", profile.read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{profile}: no totals")
    return int(found[1])


def verdict(
    now: Mapping[str, int], before: Mapping[str, int], share: float, least: int
) -> str | None:
    """What is wrong with new counts; None if nothing is. Says what became faster.

    Args:
        now: Instructions a picture, by stage.
        before: Those of the baseline.
        share: By how much of the baseline a stage may differ.
        least: So many instructions it may differ by in any case.
    """
    if now.keys() != before.keys():
        return f"the stages are {', '.join(now)}, not {', '.join(before)}: run with --update"
    allowed = {stage: max(share * count, least) for stage, count in before.items()}
    changes = {stage: f"{stage} {now[stage] / before[stage] - 1:+.1%}" for stage in before}
    slower = [changes[stage] for stage in before if now[stage] - before[stage] > allowed[stage]]
    faster = [changes[stage] for stage in before if before[stage] - now[stage] > allowed[stage]]
    if slower:
        return f"more instructions than the tolerance of {share:.0%} allows: {', '.join(slower)}"
    if faster:
        say(f"fewer instructions than in the baseline, keep that by --update: {', '.join(faster)}")
    return None


def table(now: Mapping[str, int], before: Mapping[str, int]) -> Table:
    """The counts, side by side."""
    shown = Table("stage", title="Instructions a picture")
    for heading in ("baseline", "now", "change"):
        shown.add_column(heading, justify="right")
    for stage, count in now.items():
        old = before.get(stage)
        change = f"{count / old - 1:+.2%}" if old else ""
        shown.add_row(stage, f"{old:,}" if old else "", f"{count:,}", change)
    return shown


def write_baseline(counts: Mapping[str, int], here: Mapping[str, Any]) -> None:
    """Writes the baseline, and shows what changed."""
    before = json.loads(BASELINE.read_text("utf-8"))["instructions"] if BASELINE.exists() else {}
    say(table(counts, before))
    values = {
        "instructions": counts,
        "tolerance": TOLERANCE,
        "platform": here,
        "commit": commit(),
    }
    write_json(BASELINE, values)


def platform_here() -> dict[str, Any]:
    """What the counts depend on, apart from our code and model."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    build = f"{platform.python_version()}, {platform.python_compiler()}"
    try:
        flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text("utf-8"), re.M)
    except OSError:
        flags = None
    libraries = installed(*LIBRARIES)
    return {
        "architecture": platform.machine(),
        "avx2": flags is not None and "avx2" in flags[1].split(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        **{name: libraries.get(name) for name in LIBRARIES},
        "python_build": build + (", optimised" if optimised else ""),
        "libc": " ".join(platform.libc_ver()),
        "valgrind": valgrind_version(),
    }


def valgrind_version() -> str:
    """What valgrind says of itself; nothing where there is none."""
    path = shutil.which("valgrind")
    if path is None:
        return ""
    return subprocess.run(
        [path, "--version"], check=True, capture_output=True, text=True
    ).stdout.strip()


def differences(here: Mapping[str, Any], there: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """Which of these differ, in words; nothing if none does."""
    return ", ".join(
        f"{name} {here[name]} here, {there[name]} there"
        for name in names
        if here[name] != there[name]
    )


if __name__ == "__main__":
    main()
