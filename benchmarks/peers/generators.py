"""The packages that draw the captchas of `unseen.py` and `accuracy/own.py`, and their environments.

`draw.py` draws the pictures inside of them, with `draw.js` where the package comes from npm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.peers.reading import PictureSet
from benchmarks.peers.systems import install, run
from captcha_rt.labels import read_labels

DRAW: Final = Path(__file__).with_name("draw.py")
SCRIPTS: Final = (DRAW, DRAW.with_suffix(".js"))


@dataclass(frozen=True, slots=True)
class Generator:
    """A package that draws captchas, which people install on their servers.

    Attributes:
        package: The package and its version, as pip or npm takes it.
        licence: The package's licence. It is only run, in its own process.
        requirements: What pip installs.
        npm: Whether the package comes from npm.
        constrained: Whether the dependencies have the versions of `constraints.txt`. Some packages
            need an older Pillow.
    """

    package: str
    licence: str
    requirements: tuple[str, ...]
    npm: bool = False
    constrained: bool = True


GENERATORS: Final[Mapping[str, Generator]] = {
    "captcha": Generator("captcha==0.7.1", "BSD-3-Clause", ("captcha==0.7.1",)),
    "wheezy.captcha": Generator(
        "wheezy.captcha==3.2.2", "MIT", ("wheezy.captcha[pillow]==3.2.2", "font-roboto==0.0.1")
    ),
    "django-simple-captcha": Generator(
        "django-simple-captcha==0.7.0", "MIT", ("django-simple-captcha==0.7.0", "django==5.2.19")
    ),
    "easy-captcha-python": Generator(
        "easy-captcha-python==1.0.0", "Apache-2.0", ("easy-captcha-python==1.0.0",)
    ),
    "multicolorcaptcha": Generator(
        "multicolorcaptcha==1.2.0", "GPL-3.0", ("multicolorcaptcha==1.2.0",)
    ),
    "svg-captcha": Generator("svg-captcha@1.4.0", "MIT", ("resvg-py==0.5.0",), npm=True),
}
"""The generators of `unseen.py` by name. The general model's mixture was widened after it was
measured on their pictures."""


def _with_old_pillow(name: str, version: str, licence: str, *faces: str) -> Generator:
    package = f"{name}=={version}"
    return Generator(package, licence, (package, "pillow==9.4.0", *faces), constrained=False)


HELD_BACK: Final[Mapping[str, Generator]] = {
    "claptcha": _with_old_pillow("claptcha", "0.3.3", "MIT", "font-caladea==0.0.2"),
    "kaptcha": _with_old_pillow("kaptcha", "1.0.0", "MIT"),
    "x-captcha": _with_old_pillow("x-captcha", "0.4.200808", "BSD", "font-source-sans-pro==0.0.1"),
    "util-captcha": _with_old_pillow("util-captcha", "0.2.2", "MIT"),
    "flask-simple-captcha": Generator(
        "flask-simple-captcha==5.5.5", "MIT", ("flask-simple-captcha==5.5.5",)
    ),
    "trek-captcha": Generator("trek-captcha@0.4.0", "MIT", ("pillow==13.0.0",), npm=True),
    "captchapng": Generator("captchapng@0.0.1", "BSD", (), npm=True),
}
"""The generators of `accuracy/own.py` by name: no model was tuned on their pictures."""

ALL: Final[Mapping[str, Generator]] = {**GENERATORS, **HELD_BACK}
"""All generators; `draw.py` knows the same names."""


def draw(name: str, runs: Path, count: int, part: str = "unseen") -> PictureSet:
    """Draws pictures with a generator, always the same.

    Args:
        name: One of `ALL`.
        runs: The folder of the runs: the environment lies in `environments`.
        count: The number of pictures.
        part: The folder in `runs` that gets a folder of pictures, with the generator's name.

    Raises:
        MissingError: If the generator can't be installed or run here.
    """
    generator = ALL[name]
    environment, folder = runs / "environments" / f"draw-{name}", runs / part / name
    python = install(generator.requirements, environment, constrained=generator.constrained)
    if generator.npm and not (environment / "node_modules" / name).exists():
        quietly = ("--silent", "--no-audit", "--no-fund")
        run(["npm", "install", *quietly, "--prefix", environment, generator.package])
    run([python, DRAW, name, folder, str(count)], python)
    return labelled(folder)


def labelled(folder: Path) -> PictureSet:
    """The labelled pictures of a folder; the set's characters are those of the labels."""
    samples = list(read_labels(folder).items)
    return PictureSet(samples, "".join(sorted({c for _, text in samples for c in text})))
