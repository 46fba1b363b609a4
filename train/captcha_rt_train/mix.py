"""Several folders and generators as one data set: a TOML file in place of a folder.

Each table is a source, under a name of its own:

    [thsrc]
    folder = "$CAPTCHA_DATA/thsrc"    # from the file's own folder on, if it is relative
    labels = "labels.csv"             # as --labels takes it; by default auto
    corrections = "corrections.csv"   # rows of data, picture, label, shown; this source's are used
    test = 0.12                       # shares of its pictures, where not the run's
    validation = 0.03
    epoch = 2600                      # so many of its pictures an epoch

    [drawn]
    generator = "kaptcha"
    pictures = 4000                   # drawn before training starts; all of them train
    epoch = 1000
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from captcha_rt.charset import Charset
from captcha_rt.labels import AUTO
from captcha_rt.progress import Watch
from captcha_rt.recipe import Recipe
from captcha_rt_train import digits, foreign, kaptcha, metu, simplecaptcha
from captcha_rt_train.corrections import read_corrections
from captcha_rt_train.data import Dataset, Item, Share, characters_of, read_dataset
from captcha_rt_train.errors import TrainingError

Generator = Callable[[np.random.Generator], tuple[str, NDArray[np.uint8]]]

GENERATORS: Final[dict[str, Generator]] = {
    "kaptcha": lambda rng: _labelled(kaptcha.draw, kaptcha.random_text(rng), rng),
    "simplecaptcha": lambda rng: _labelled(simplecaptcha.draw, digits.random_text(rng), rng),
    "metu": lambda rng: _labelled(metu.draw, digits.random_text(rng), rng),
    "foreign": lambda rng: ("", foreign.draw(rng)),
}
_FOLDER_KEYS: Final = {"folder", "labels", "corrections", "test", "validation", "epoch"}
_GENERATOR_KEYS: Final = {"generator", "pictures", "epoch"}


def read_sources(file: Path) -> dict[str, dict[str, Any]]:
    """Reads the file's tables, by the sources' names.

    Raises:
        TrainingError: If it can't be read, or a table is not what it has to be.
    """
    try:
        sources = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TrainingError(f"can't read the sources in {file}: {error}") from error
    for name, source in sources.items():
        if not isinstance(source, dict) or ("folder" in source) == ("generator" in source):
            raise TrainingError(f"{file}: [{name}] has either a folder or a generator")
        unknown = source.keys() - (_FOLDER_KEYS if "folder" in source else _GENERATOR_KEYS)
        if unknown:
            raise TrainingError(f"{file}: [{name}] has no setting {', '.join(sorted(unknown))}")
        if source.get("generator", "kaptcha") not in GENERATORS:
            raise TrainingError(
                f"{file}: no generator {source['generator']!r}; there are: {', '.join(GENERATORS)}"
            )
        if "generator" in source and not source.get("pictures", 0) > 0:
            raise TrainingError(f"{file}: [{name}] has a number of pictures above 0")
    if not sources:
        raise TrainingError(f"{file} names no source")
    return sources


def read_mix(
    file: Path,
    recipe: Recipe,
    *,
    characters: str | None = None,
    blank: bool = True,
    seed: int = 0,
    watch: Watch = lambda items, _: items,
) -> Dataset:
    """Reads and draws all sources of a file as one data set.

    Args:
        file: The TOML file.
        recipe: The preprocessing that every picture must fit.
        characters: As `read_dataset` takes it.
        blank: The same.
        seed: Chooses what the generators draw.
        watch: Wraps the walk over each folder's pictures, to show its progress.

    Raises:
        TrainingError: If the file isn't what it has to be.
        FolderError: If a folder is none, or holds no picture files.
        LabelError: If labels have another form, or could be read in several.
    """
    items: list[Item] = []
    left_out: list[tuple[str, str]] = []
    labels: list[str] = []
    shares: dict[str, Share] = {}
    for name, source in read_sources(file).items():
        if "generator" in source:
            items += _drawn(name, source, recipe, seed)
            shares[name] = Share(0, 0, source.get("epoch"))
            continue
        found = read_dataset(
            file.parent / os.path.expandvars(source["folder"]),
            recipe,
            labels=source.get("labels", AUTO),
            characters=characters,
            corrections=_corrections(file, name, source),
            watch=watch,
        )
        items += [replace(i, name=f"{name}/{i.name}", source=name) for i in found.items]
        left_out += [(f"{name}/{picture}", reason) for picture, reason in found.left_out]
        labels.append(f"{name}: {found.labels}")
        shares[name] = Share(source.get("validation"), source.get("test"), source.get("epoch"))
    return Dataset(
        items=tuple(items),
        tensor_shape=items[0].tensor.shape if items else (),
        charset=Charset(characters or characters_of(items), blank=0 if blank else None),
        left_out=tuple(left_out),
        form="mix",
        labels="\n".join(labels),
        shares=shares,
    )


def _corrections(file: Path, name: str, source: Mapping[str, Any]) -> dict[str, str]:
    if "corrections" not in source:
        return {}
    return read_corrections(file.parent / os.path.expandvars(source["corrections"]), name)


def _drawn(name: str, source: Mapping[str, Any], recipe: Recipe, seed: int) -> list[Item]:
    """A generator's pictures, each from a seed of its own."""
    generate = GENERATORS[source["generator"]]

    def draw(index: int) -> Item:
        label, picture = generate(np.random.default_rng([seed, index]))
        tensor = recipe.apply(picture)
        return Item(None, f"{name}/{index}", label, picture, tensor, source=name)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(draw, range(source["pictures"])))


def _labelled(
    draw: Callable[[str, np.random.Generator], NDArray[np.uint8]],
    text: str,
    rng: np.random.Generator,
) -> tuple[str, NDArray[np.uint8]]:
    picture = draw(text, rng)
    return text, picture if picture.ndim == 3 else picture[:, :, None]
