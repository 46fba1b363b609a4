"""The systems that `compare.py` measures, the setting of each, and their environments."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import ROOT, code_state, rounded, say
from captcha_rt import InstallationError
from captcha_rt.diagnostics.machine import run_command

PICTURES: Final = 300  # of each set


class MissingError(Exception):
    """A system can't be installed or run here; the message says why."""


@dataclass(frozen=True, slots=True)
class System:
    """A system that reads pictures, with its setting.

    Attributes:
        setting: The setting in words.
        reader: The driver's reader. For a library this is also the name of its distribution.
        environment: The environment that the system runs in; None is the suite's own.
        options: The options of the reader.
        command: The command that reads `{picture}`. The results hold its cold start; without a
            command, they hold the cold start of a script.
        packages: The Debian packages whose size is the installed size; without them, it is the
            size of the environment.
        over_white: Whether pictures are laid over white and turned grey before the system gets
            them. The time for this is not counted.
        scale: By which factor these pictures are enlarged.
        pictures: How many pictures of each set the system reads at most.
    """

    setting: str
    reader: str
    environment: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    over_white: bool = False
    scale: int = 1
    pictures: int = PICTURES

    @property
    def is_program(self) -> bool:
        """Whether the system is only a program, without a library that a script could import."""
        return self.reader.startswith("tesseract")


ENVIRONMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "captcha-rt": (f"{ROOT}[cpu]",),
    "ddddocr-1.6.1": ("ddddocr==1.6.1",),
    "ddddocr-1.5.6": ("ddddocr==1.5.6",),
    "rapidocr": ("rapidocr==3.10.0", "onnxruntime"),
    "captcha-whisperer": ("captcha-whisperer==0.1.0",),
}
"""The requirements that pip installs, by environment; `constraints.txt` pins the dependencies."""


def _ddddocr(version: str, setting: str, *, beta: bool, range_: str | None = None) -> System:
    """A setting of ddddocr.

    Pictures are laid over white for version 1.5, which ignores `png_fix` with its own models.
    """
    return System(
        setting,
        "ddddocr",
        f"ddddocr-{version}",
        {"beta": beta, "range": range_},
        over_white=version == "1.5.6",
    )


_DROPPED = "with `set_ranges`: characters that the set has in neither case are dropped"
_ARGMAX = "with `set_ranges` and `probability=True`: the most probable of the set's characters"
_TESSERACT = System(
    "page segmentation mode 8, the set's characters as whitelist, pictures three times as large, "
    "over white; a process a picture",
    "tesseract",
    command=(
        *("tesseract", "{picture}", "stdout", "--psm", "8"),
        *("-c", "tessedit_char_whitelist={characters}"),
    ),
    packages=(
        *("tesseract-ocr", "tesseract-ocr-eng", "tesseract-ocr-osd"),
        *("libtesseract5", "liblept5"),
    ),
    over_white=True,
    scale=3,
    pictures=100,
)

SYSTEMS: Final[Mapping[str, System]] = {
    "captcha-rt": System(
        "the embedded model",
        "captcha-rt",
        "captcha-rt",
        command=("captcha-rt", "solve", "{picture}"),
    ),
    "ddddocr 1.6.1": _ddddocr("1.6.1", "the default model, with `png_fix`", beta=False),
    "ddddocr 1.6.1, range": _ddddocr(
        "1.6.1", f"the default model, {_DROPPED}", beta=False, range_="dropped"
    ),
    "ddddocr 1.6.1 beta, range": _ddddocr(
        "1.6.1", f"the beta model, {_DROPPED}", beta=True, range_="dropped"
    ),
    "ddddocr 1.5.6": _ddddocr("1.5.6", "the default model, pictures over white", beta=False),
    "ddddocr 1.5.6, range": _ddddocr(
        "1.5.6", f"the default model, {_ARGMAX}", beta=False, range_="argmax"
    ),
    "ddddocr 1.5.6 beta, range": _ddddocr(
        "1.5.6", f"the beta model, {_ARGMAX}", beta=True, range_="argmax"
    ),
    "RapidOCR": System(
        "the recogniser alone; characters that the set doesn't have are dropped",
        "rapidocr",
        "rapidocr",
        {"range": "dropped"},
    ),
    "captcha-whisperer": System(
        "its own model, pictures over white; its decoder never answers `0`",
        "captcha-whisperer",
        "captcha-whisperer",
        over_white=True,
    ),
    "Tesseract": _TESSERACT,
    "Tesseract, one process": replace(
        _TESSERACT,
        setting="the same, but one process reads a round's pictures of a set: times are means",
        reader="tesseract-list",
    ),
}


def install(requirements: Sequence[str], folder: Path, *, constrained: bool = True) -> Path:
    """Makes an environment, unless it exists already with the same requirements.

    Args:
        requirements: The requirements that pip installs.
        folder: The environment's folder.
        constrained: Whether `constraints.txt` pins the dependencies.

    Returns:
        The environment's Python.

    Raises:
        MissingError: If pip fails.
    """
    python = folder / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    wanted = "\n".join([*requirements, constraints.read_text("utf-8")])
    if any(requirement.startswith(str(ROOT)) for requirement in requirements):
        wanted += code_state()
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text("utf-8") != wanted:
        say(f"installing {' '.join(requirements) or folder.name}", markup=False)
        run([sys.executable, "-m", "venv", "--clear", folder])
        pip = (python, "-m", "pip", "--disable-pip-version-check", "install", "-q")
        if requirements:
            run([*pip, *(("-c", constraints) if constrained else ()), *requirements])
        stamp.write_text(wanted, "utf-8")
    return python


def run(command: Sequence[str | Path], python: Path | None = None) -> str:
    """Runs a command, and returns what it wrote to stdout.

    Args:
        command: The command.
        python: The Python of the environment whose programs are found first.

    Raises:
        MissingError: If the command fails; the message is the last line of its stderr.
    """
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=_environment(python)
        )
    except FileNotFoundError as error:
        raise MissingError(f"there is no {command[0]}") from error
    _check_exit(done.returncode, done.stderr)
    return done.stdout


def launch(command: Sequence[str | Path], python: Path) -> dict[str, Any]:
    """Runs a command, and measures its process.

    Args:
        command: The command.
        python: The Python of the environment whose programs are found first.

    Returns:
        `cpu_ms`, `wall_ms` and `peak_mb` of the process, and `output`, its stdout.

    Raises:
        MissingError: If the command fails; the message is the last line of its stderr.
    """
    try:
        done = run_command(command, env=_environment(python))
    except InstallationError as error:
        raise MissingError(str(error)) from error
    _check_exit(done.exit_code, done.stderr)
    return {**asdict(done.usage), "output": done.stdout}


def _check_exit(code: int, stderr: str) -> None:
    if code:
        lines = stderr.strip().splitlines() or [f"it ended with {code}"]
        raise MissingError(lines[-1])


def _environment(python: Path | None) -> dict[str, str]:
    """The environment variables that find an environment's programs first."""
    variables = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    if python is not None:
        path = os.environ.get("PATH", os.defpath)
        variables["PATH"] = os.pathsep.join([str(python.parent), path])
    return variables


def version(python: Path, system: System) -> str:
    """The version of a system."""
    if system.is_program:
        return run([system.command[0], "--version"]).split()[1]
    code = f"import importlib.metadata as m; print(m.version({system.reader!r}))"
    return run([python, "-c", code]).strip()


def installed_mb(python: Path, system: System) -> float | None:
    """The size of a system on the disk, in MB; None if it is not known.

    pip and setuptools don't count, since they are only there to install.
    """
    try:
        if system.packages:
            sizes = run(["dpkg-query", "-W", "-f", r"${Installed-Size}\n", *system.packages])
            return rounded(sum(map(int, sizes.split())) * 1024 / 1e6)
    except MissingError:
        return None
    if system.environment is None:
        return None
    code = "import sysconfig; print(sysconfig.get_path('platlib'))"
    packages = Path(run([python, "-c", code]).strip())
    tools = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
    files = (
        path
        for folder in packages.iterdir()
        if folder.name.partition("-")[0].partition(".")[0] not in tools
        for path in (folder.rglob("*") if folder.is_dir() else [folder])
        if path.is_file()
    )
    return rounded(sum(path.stat().st_size for path in files) / 1e6)


def set_up(
    systems: Mapping[str, System], environments: Mapping[str, Sequence[str]], folder: Path
) -> tuple[dict[str, Path], dict[str, dict[str, Any]]]:
    """Makes the environments.

    Args:
        systems: The systems by name.
        environments: The requirements of each environment, by name.
        folder: The folder of the environments.

    Returns:
        Two dicts by the system's name: the Python of each system that is not missing; and the
        version, setting and installed size of each system, or why it is `missing`.
    """
    pythons: dict[str | None, Path] = {None: Path(sys.executable)}
    broken: dict[str | None, MissingError] = {}
    for environment, requirements in environments.items():
        try:
            pythons[environment] = install(requirements, folder / environment)
        except MissingError as error:
            broken[environment] = error
    ready: dict[str, Path] = {}
    known: dict[str, dict[str, Any]] = {}
    for name, system in systems.items():
        try:
            if system.environment in broken:
                raise broken[system.environment]
            python = pythons[system.environment]
            known[name] = {
                "version": version(python, system),
                "setting": system.setting,
                "installed_mb": installed_mb(python, system),
            }
            ready[name] = python
        except MissingError as error:
            known[name] = missing(name, error)
    return ready, known


def missing(name: str, error: MissingError) -> dict[str, Any]:
    """The results of a missing system; prints why it is missing."""
    say(f"{name} is missing: {error}", markup=False, style="red")
    return {"missing": str(error)}
