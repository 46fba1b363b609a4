"""The systems that `peers.py` measures, how each is set up, and their environments."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from harness import HERE, rounded, state

ROOT: Final = HERE.parent
PICTURES: Final = 300  # of each set

say = Console(stderr=True).print


class MissingError(Exception):
    """A system that can't be installed or run here; the message says why."""


@dataclass(frozen=True, slots=True)
class System:
    """What reads pictures, and how it is set up here.

    Attributes:
        setting: How, in words.
        reader: Which of the driver's readers it is: the name of a distribution, or Tesseract.
        environment: The environment that it runs in; None is the suite's own.
        options: What the reader takes.
        command: What reads `{picture}`; its cold start is told, or else that of a script.
        packages: Debian's packages that make its size; by default the environment makes it.
        over_white: Whether pictures are made grey over white before, not timed.
        scale: So many times those are enlarged.
        pictures: So many of each set it reads at most.
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
        """Whether it is a program alone, and no library that a script imports."""
        return self.reader.startswith("tesseract")


ENVIRONMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "captcha-rt": (f"{ROOT}[cpu]",),
    "ddddocr-1.6.1": ("ddddocr==1.6.1",),
    "ddddocr-1.5.6": ("ddddocr==1.5.6",),
    "rapidocr": ("rapidocr==3.10.0", "onnxruntime"),
}
"""What pip installs in each; `constraints.txt` pins what they rest on, the same for all."""


def _ddddocr(version: str, words: str, *, beta: bool, use: str | None = None) -> System:
    """A setting of ddddocr; 1.5 ignores `png_fix` with its own models."""
    return System(
        words,
        "ddddocr",
        f"ddddocr-{version}",
        {"beta": beta, "range": use},
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
        "1.6.1", f"the default model, {_DROPPED}", beta=False, use="dropped"
    ),
    "ddddocr 1.6.1 beta, range": _ddddocr(
        "1.6.1", f"the beta model, {_DROPPED}", beta=True, use="dropped"
    ),
    "ddddocr 1.5.6": _ddddocr("1.5.6", "the default model, pictures over white", beta=False),
    "ddddocr 1.5.6, range": _ddddocr(
        "1.5.6", f"the default model, {_ARGMAX}", beta=False, use="argmax"
    ),
    "ddddocr 1.5.6 beta, range": _ddddocr(
        "1.5.6", f"the beta model, {_ARGMAX}", beta=True, use="argmax"
    ),
    "RapidOCR": System(
        "the recogniser alone; characters that the set doesn't have are dropped",
        "rapidocr",
        "rapidocr",
    ),
    "Tesseract": _TESSERACT,
    "Tesseract, one process": replace(
        _TESSERACT,
        setting="the same, but one process reads a round's pictures of a set: times are means",
        reader="tesseract-list",
    ),
}


def install(requirements: Sequence[str], folder: Path) -> Path:
    """Makes an environment, unless it lies there as it would be made.

    Args:
        requirements: What pip installs.
        folder: Where it lies.

    Returns:
        Its Python.

    Raises:
        MissingError: If pip fails.
    """
    python = folder / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    wanted = "\n".join([*requirements, constraints.read_text("utf-8")])
    if any(requirement.startswith(str(ROOT)) for requirement in requirements):
        wanted += state()
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text("utf-8") != wanted:
        say(f"installing {' '.join(requirements)}", markup=False)
        run([sys.executable, "-m", "venv", "--clear", folder])
        pip = (python, "-m", "pip", "--disable-pip-version-check", "install", "-q")
        run([*pip, "-c", constraints, *requirements])
        stamp.write_text(wanted, "utf-8")
    return python


def run(command: Sequence[str | Path], python: Path | None = None) -> str:
    """What a command writes, as an environment's Python and programs have it.

    Raises:
        MissingError: If it fails; with the last line that it wrote to stderr.
    """
    own = {"ORT_DISABLE_TELEMETRY": "1"}
    if python is not None:
        own["PATH"] = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env={**os.environ, **own}
        )
    except FileNotFoundError as error:
        raise MissingError(f"there is no {command[0]}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise MissingError(lines[-1])
    return done.stdout


def version(python: Path, system: System) -> str:
    """Which version of a system runs."""
    if system.is_program:
        return run([system.command[0], "--version"]).split()[1]
    code = f"import importlib.metadata as m; print(m.version({system.reader!r}))"
    return run([python, "-c", code]).strip()


def installed_mb(python: Path, system: System) -> float | None:
    """What a system takes on the disk, in MB; None if that isn't known.

    An environment's pip and setuptools, which are needed only to install, don't count.
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

    Returns:
        By the system's name the Python that it runs with, if it can be had; and what is known of
        it before it runs, or why it is `missing`.
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
    """What is known of a system that is missing; says so."""
    say(f"{name} is missing: {error}", markup=False, style="red")
    return {"missing": str(error)}
