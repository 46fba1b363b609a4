"""The pictures of an earlier run, which a training that starts from its model goes on seeing.

A network that learns new pictures alone forgets the old ones.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from captcha_rt.charset import Charset
from captcha_rt.progress import Watch
from captcha_rt.recipe import Recipe
from captcha_rt_export.run import TRAINING, Run
from captcha_rt_train.data.samples import (
    Dataset,
    Sample,
    SourceSettings,
    characters_of,
    read_samples,
)

EARLIER: Final = "earlier"
"""The source of the pictures that the earlier run was trained on."""

HELD_BACK: Final = "earlier held back"
"""The source of the pictures that the earlier run held back: they validate again."""

NEW: Final = "new"
"""The source of the pictures that the earlier run didn't have."""


def add_earlier(
    dataset: Dataset,
    run: Run,
    recipe: Recipe,
    *,
    watch: Watch = lambda items, _: items,
) -> Dataset:
    """Adds an earlier run's pictures to a data set.

    Args:
        dataset: The pictures of a folder, without sources. It may hold the earlier run's pictures,
            too; their labels are those of the folder.
        run: The earlier run.
        recipe: The preprocessing.
        watch: Shows the progress while pictures are read.

    Returns:
        The data set with the sources `EARLIER`, `HELD_BACK` and `NEW`, as far as they have
        pictures. The notes say how many pictures of the earlier run are gone.

    Raises:
        ExportError: If the earlier run's list of pictures can't be read.
    """
    parts = {file.path: file for file in run.samples()}
    here = {sample.path.resolve() for sample in dataset.samples if sample.path}
    others = [file for path, file in parts.items() if path not in here]
    there = [(file.path, file.label) for file in others if file.path.exists()]
    read, skipped = read_samples(there, Path(), recipe, watch=watch)

    def source_of(sample: Sample) -> str:
        file = parts.get(sample.path.resolve()) if sample.path else None
        if file is None:
            return NEW
        return EARLIER if file.part == TRAINING else HELD_BACK

    shape = dataset.tensor_shape or (read[0].tensor.shape if read else ())
    usable = [s for s in read if s.tensor.shape == shape]
    samples = [replace(s, source=source_of(s)) for s in (*dataset.samples, *usable)]
    characters = dataset.charset.characters
    if characters == characters_of(dataset.samples):  # not given, but taken from the labels
        characters = characters_of(samples)
    settings = {
        NEW: SourceSettings(),
        EARLIER: SourceSettings(validation=0, test=0),
        HELD_BACK: SourceSettings(validation=1, test=0),
    }
    there_is = {sample.source for sample in samples}
    gone = len(others) - len(there)
    lost = f"{gone} pictures of the earlier run are gone: what they show may be forgotten"
    return replace(
        dataset,
        samples=tuple(sorted(samples, key=lambda s: list(settings).index(s.source))),
        tensor_shape=shape,
        charset=Charset(characters, dataset.charset.blank),
        skipped=(*dataset.skipped, *skipped),
        settings={name: value for name, value in settings.items() if name in there_is},
        notes=(*dataset.notes, *((lost,) if gone else ())),
    )
