"""The packages that draw the captchas of `unseen.py`, and their environments.

`draw.py` draws the pictures inside of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.peers.reading import PictureSet
from benchmarks.peers.systems import install, run
from captcha_rt.labels import read_labels

DRAW: Final = Path(__file__).with_name("draw.py")


@dataclass(frozen=True, slots=True)
class Generator:
    """A package that draws captchas, which people install on their servers.

    Attributes:
        package: The package and its version, as pip or npm takes it.
        licence: The package's licence. It is only run, in its own process.
        requirements: What pip installs.
        npm: Whether the package comes from npm.
    """

    package: str
    licence: str
    requirements: tuple[str, ...]
    npm: bool = False


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
"""The generators by name; `draw.py` knows the same names."""


def draw(name: str, runs: Path, count: int) -> PictureSet:
    """Draws pictures with a generator, always the same.

    Args:
        name: One of `GENERATORS`.
        runs: The folder of the runs: the environment lies in `environments`, and the pictures in
            `unseen`.
        count: The number of pictures.

    Raises:
        MissingError: If the generator can't be installed or run here.
    """
    generator = GENERATORS[name]
    environment, folder = runs / "environments" / f"draw-{name}", runs / "unseen" / name
    python = install(generator.requirements, environment)
    if generator.npm and not (environment / "node_modules" / name).exists():
        quietly = ("--silent", "--no-audit", "--no-fund")
        run(["npm", "install", *quietly, "--prefix", environment, generator.package])
    run([python, DRAW, name, folder, str(count)], python)
    return labelled(folder)


def labelled(folder: Path) -> PictureSet:
    """The labelled pictures of a folder; the set's characters are those of the labels."""
    samples = list(read_labels(folder).items)
    return PictureSet(samples, "".join(sorted({c for _, text in samples for c in text})))
