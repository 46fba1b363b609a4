"""Guards `Solver.solve` against getting slower: `python -m benchmarks instructions`.

Counts the instructions that one picture takes, as a whole and by stage, under valgrind's callgrind,
and compares them with the committed `benchmarks/results/instructions.json`. Unlike times, the
counts are repeatable: in different folders, with environments of different size and on a busy
machine, the whole differs by less than a thousandth. Exit code 1 means that a stage takes more than
the tolerance allows; the message says which. `--update` writes a new baseline: after a change that
is worth its cost, after a change that saves instructions, or for other versions of the libraries.
The command takes half a minute.

Callgrind simulates a processor that has AVX2 if the machine has it, and never AVX-512. So all
machines with AVX2 run the same kernels and have the same counts. Other differences between machines
are treated by their effect:

- The architecture, AVX2 and Python's minor version change all counts: nothing is compared.
- The versions of NumPy, OpenCV and onnxruntime change kernels. `constraints.txt` pins the versions,
  so a difference means that the baseline is out of date: exit code 1.
- The builds of Python, the C library and valgrind change some counts: the tolerance is wider.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.table import Table

from benchmarks.harness import RESULTS, command_parser, commit, read_json, say, write_json
from captcha_rt.session import installed

BASELINE: Final = RESULTS / "instructions.json"
CHILD: Final = Path(__file__).with_name("instructions_child.py")
WHOLE, BETWEEN = "solve", "between"
"""The names of the whole, and of the solver's own code, which is in no stage."""

TOLERANCE: Final = {
    "share": 0.05,
    "share_reason": "ten times what runs on one machine differ by: at most 0.004 of a stage",
    "other_build": 0.3,
    "other_build_reason": "Debian's Python 3.11.2 takes 0.11 less in the decoder and 0.2 less "
    "between the stages than a 3.11.7 that was built without optimisations",
    "instructions": 2000,
    "instructions_reason": "what lies between the stages is a small difference of large counts, "
    "and varies by about 1,000",
}
ENVIRONMENT: Final = {
    "PYTHONHASHSEED": "0",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
# The keys of `platform_here`, by what a difference means.
MACHINE: Final = ("architecture", "avx2", "python")
LIBRARIES: Final = ("numpy", "opencv-python-headless", "onnxruntime")
BUILD: Final = ("python_build", "libc", "valgrind")


def main(argv: Sequence[str], baseline: Path = BASELINE) -> None:
    """Compares the counts with the baseline, or writes a new baseline.

    Args:
        argv: The command's options.
        baseline: The file of the baseline.

    Raises:
        SystemExit: With code 1 and a message, if a stage takes more instructions than the tolerance
            allows, or the baseline is out of date; with code 0 if the counts pass.
    """
    parser = command_parser("instructions", __doc__)
    parser.add_argument("--update", action="store_true", help="write a new baseline")
    here = platform_here()
    if parser.parse_args(argv).update:
        write_baseline(baseline, measure(), here)
        return
    stored = read_json(baseline)
    there, tolerance = stored["platform"], stored["tolerance"]
    if other := differences(here, there, MACHINE):
        say(f"[yellow]not compared[/yellow], since the baseline is of another machine: {other}")
        return
    if other := differences(here, there, LIBRARIES):
        sys.exit(f"the baseline is out of date, run with --update: {other}")
    allowed = tolerance["share"]
    if other := differences(here, there, BUILD):
        allowed = tolerance["other_build"]
        say(f"compared with the wider tolerance of {allowed:.0%}, since builds differ: {other}")
    now, before = measure(), stored["instructions"]
    say(comparison(now, before))
    sys.exit(verdict(now, before, allowed, tolerance["instructions"]))


def measure(child: Path = CHILD) -> dict[str, int]:
    """Counts the instructions of each stage.

    Args:
        child: The script that is run. It calls `os.getppid` before and after each stage. It prints
            a JSON object: `stages`, the names of the stages, where the whole is `solve`, and
            `pictures`, how many pictures each stage reads.

    Returns:
        Instructions a picture by stage; the whole is the last.

    Raises:
        SystemExit: If there is no valgrind, or the script fails.
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
        printed = json.loads(done.stdout)
        # File n counts what ran between the calls n - 1 and n of `getppid`. Files with an odd n
        # count the start and the warm-ups.
        stages = {
            stage: total(Path(f"{counts}.{2 * n}")) / printed["pictures"]
            for n, stage in enumerate(printed["stages"], 1)
        }
    whole = stages.pop(WHOLE)
    found = {**stages, BETWEEN: whole - sum(stages.values()), WHOLE: whole}
    return {name: round(count) for name, count in found.items()}


def total(profile: Path) -> int:
    """The number of instructions in a file of callgrind.

    Raises:
        ValueError: If the file holds no total.
    """
    found = re.search(r"^totals: (\d+)$", profile.read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{profile}: no totals")
    return int(found[1])


def verdict(
    now: Mapping[str, int], before: Mapping[str, int], relative: float, absolute: int
) -> str | None:
    """Compares new counts with the baseline's, and prints which stages became faster.

    Args:
        now: Instructions a picture, by stage.
        before: The counts of the baseline.
        relative: The fraction of the baseline's count by which a stage may differ.
        absolute: The number of instructions by which a stage may differ, even if that is more than
            the fraction.

    Returns:
        The message of the failed comparison; None if the counts pass.
    """
    if now.keys() != before.keys():
        return f"the stages are {', '.join(now)}, not {', '.join(before)}: run with --update"
    allowed = {stage: max(relative * count, absolute) for stage, count in before.items()}
    changes = {stage: f"{stage} {now[stage] / before[stage] - 1:+.1%}" for stage in before}
    slower = [changes[stage] for stage in before if now[stage] - before[stage] > allowed[stage]]
    faster = [changes[stage] for stage in before if before[stage] - now[stage] > allowed[stage]]
    if slower:
        return f"more instructions than the tolerance of {relative:.0%} allows: {', '.join(slower)}"
    if faster:
        say(f"fewer instructions than the baseline; --update keeps the gain: {', '.join(faster)}")
    return None


def comparison(now: Mapping[str, int], before: Mapping[str, int]) -> Table:
    """A table of the baseline's counts and the new ones."""
    shown = Table("stage", title="Instructions a picture")
    for heading in ("baseline", "now", "change"):
        shown.add_column(heading, justify="right")
    for stage, count in now.items():
        old = before.get(stage)
        change = f"{count / old - 1:+.2%}" if old else ""
        shown.add_row(stage, f"{old:,}" if old else "", f"{count:,}", change)
    return shown


def write_baseline(path: Path, counts: Mapping[str, int], here: Mapping[str, Any]) -> None:
    """Writes the baseline, and shows what changed.

    Args:
        path: The file of the baseline.
        counts: The new counts: instructions a picture, by stage.
        here: What `platform_here` returned.
    """
    before = read_json(path)["instructions"] if path.exists() else {}
    say(comparison(counts, before))
    values = {
        "instructions": counts,
        "tolerance": TOLERANCE,
        "platform": here,
        "commit": commit(),
    }
    write_json(path, values)


def platform_here() -> dict[str, Any]:
    """Everything that the counts depend on, except the code and the model of this project."""
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
    """The version of valgrind; empty if there is none."""
    path = shutil.which("valgrind")
    if path is None:
        return ""
    return subprocess.run(
        [path, "--version"], check=True, capture_output=True, text=True
    ).stdout.strip()


def differences(here: Mapping[str, Any], there: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The named values that differ between two platforms, in words; empty if none does."""
    return ", ".join(
        f"{name} {here[name]} here, {there[name]} there"
        for name in names
        if here[name] != there[name]
    )
