"""Fetches open fonts: the families in `families.txt`, as Fontsource packs them for npm."""

import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Final

import matplotlib as mpl

from captcha_rt.errors import InstallationError

_PARTIAL: Final = ".partial-"  # how the name of an unfinished family's folder starts
_FACES: Final = ("400-normal", "700-normal", "400-italic")
_LICENCES: Final = {
    "bitstream vera": "Bitstream-Vera",
    "open font license": "OFL-1.1",
    "apache license": "Apache-2.0",
    "ubuntu font licence": "Ubuntu-font-1.0",
    "mit license": "MIT",
}


def families() -> list[str]:
    """The families' names, as Fontsource's npm packages have them after `@fontsource/`."""
    return files(__package__).joinpath("families.txt").read_text("utf-8").split()


def fetch_fonts(folder: Path) -> Iterator[tuple[str, str | None]]:
    """Fetches the families that a folder doesn't hold yet, one after the other, and DejaVu.

    A family is a sub-folder with its font files and its licence. It appears whole or not at all, so
    that a fetch that was stopped goes on where it was. What a killed fetch left is removed.

    Args:
        folder: The folder; it is made if it isn't there.

    Yields:
        The name of each family, and the reason if it was skipped: npm can't get it, it has no Latin
        face, or its licence is not one of the open ones that are known here.

    Raises:
        InstallationError: If npm is not installed.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise InstallationError(
            "npm is not installed; install Node.js, or put font files into the folder and use "
            "--no-fetch"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(left)
    _copy_dejavu(folder / "dejavu")
    for family in families():
        yield family, None if (folder / family).exists() else _fetch(npm, family, folder)


def _copy_dejavu(family: Path) -> None:
    """Copies DejaVu, Linux servers' usual font, which Fontsource lacks and matplotlib brings."""
    fonts = Path(mpl.get_data_path()) / "fonts" / "ttf"
    family.mkdir(exist_ok=True)
    for font in fonts.glob("DejaVu*.ttf"):
        shutil.copy(font, family)
    shutil.copy(fonts / "LICENSE_DEJAVU", family / "LICENSE")


def licence_of(family: Path) -> str | None:
    """The SPDX name of a family's licence; None if it is unknown.

    Args:
        family: The family's folder.
    """
    try:
        text = (family / "LICENSE").read_text("utf-8", errors="replace").lower()
    except OSError:
        return None
    return next((name for words, name in _LICENCES.items() if words in text), None)


def _fetch(npm: str, family: str, folder: Path) -> str | None:
    """Fetches one family; returns the reason if that failed."""
    options = ("--loglevel", "error", "--pack-destination")
    with tempfile.TemporaryDirectory(dir=folder, prefix=_PARTIAL) as partial:
        packed = subprocess.run(
            [npm, "pack", f"@fontsource/{family}", *options, partial],
            check=False,
            capture_output=True,
            text=True,
        )
        archives = list(Path(partial).glob("*.tgz"))
        if packed.returncode or not archives:
            # npm's first line has the error's code; its last only names a log file.
            return next(iter(packed.stderr.strip().splitlines()), "npm found no package")
        made = Path(partial) / family
        made.mkdir()
        try:
            with tarfile.open(archives[0]) as archive:
                for member in archive:
                    content = archive.extractfile(member) if _is_wanted(member.name) else None
                    if content is not None:
                        (made / Path(member.name).name).write_bytes(content.read())
        except (tarfile.TarError, EOFError, zlib.error) as error:
            return f"its package is damaged: {error}"
        if licence_of(made) is None:
            return "its licence is unknown"
        if not any(made.glob("*.woff")):
            return "it has no Latin face"
        made.rename(folder / family)
    return None


def _is_wanted(name: str) -> bool:
    """Whether a file of the package is its licence, or a Latin face."""
    if name == "package/LICENSE":
        return True
    return name.endswith(tuple(f"-latin-{face}.woff" for face in _FACES))
