"""This machine, and the time and memory that a process takes on it."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from captcha_rt.errors import InstallationError

# On Linux the peak memory of a process includes the memory of the process that started it: 297 MB
# for an empty Python that a process of 300 MB started. So a bare Python starts the command.
_LAUNCHER: Final = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
cpu = peak = None
if hasattr(os, "wait4"):
    _, status, used = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    cpu = (used.ru_utime + used.ru_stime) * 1000
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
else:
    code = process.wait()
wall = (time.perf_counter() - start) * 1000
with open(sys.argv[1], "w") as file:
    json.dump([code, *(round(v, 1) if v else v for v in (wall, cpu, peak))], file)
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """The time and memory that a process took, from start to end.

    Attributes:
        wall_ms: The wall-clock time in milliseconds.
        cpu_ms: The CPU time of all threads in milliseconds; None on Windows.
        peak_mb: The largest resident memory, in 10^6 bytes; None on Windows.
    """

    wall_ms: float
    cpu_ms: float | None
    peak_mb: float | None


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended.

    Attributes:
        usage: The time and memory that the process took.
        exit_code: The exit code; negative is the signal that ended it.
        stdout: What the command wrote to standard output.
        stderr: What the command wrote to standard error.
    """

    usage: Usage
    exit_code: int
    stdout: str
    stderr: str


def run_command(
    command: Sequence[str | os.PathLike[str]],
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Finished:
    """Runs a command in a process of its own, and measures the time and memory of that process.

    A small Python process starts the command, so that the memory of this process is not counted.

    Args:
        command: The program and its arguments.
        cwd: The working folder; None is this process's.
        env: The environment; None is this process's.
        timeout: Seconds after which `subprocess.TimeoutExpired` is raised; None is never.

    Returns:
        The usage, the exit code and the output. An exit code other than 0 raises no error.

    Raises:
        InstallationError: If the command can't be started.
    """
    if getattr(sys, "frozen", False):  # it would start this very program
        raise InstallationError(
            "a program that PyInstaller made can't start Python: measure where captcha-rt is "
            "installed with pip"
        )
    with TemporaryDirectory() as folder:
        report = Path(folder) / "usage.json"
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, report, *command],
            check=False,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            cwd=cwd,
            env=env,
            timeout=timeout,
        )
        if not report.exists():
            raise InstallationError(f"can't start {command[0]}: {_last_line(done.stderr)}")
        code, *usage = json.loads(report.read_text("utf-8"))
    return Finished(Usage(*usage), code, done.stdout, done.stderr)


def start_python(*arguments: str) -> Usage:
    """Measures a fresh Python process from start to end.

    Args:
        *arguments: The arguments after `python` on the command line.

    Returns:
        The time and memory that the process took.

    Raises:
        InstallationError: If the exit code is not 0; the message holds the last line on stderr.
    """
    done = run_command([sys.executable, *arguments])
    if done.exit_code:
        said = _last_line(done.stderr)
        raise InstallationError(f"a fresh `python {' '.join(arguments)}` failed: {said}")
    return done.usage


def processor() -> str:
    """Finds the processor's name, or where the system doesn't tell it, the kind of machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
