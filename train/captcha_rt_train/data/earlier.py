"""The pictures of an earlier run, which a training that starts from its model goes on seeing.

A network that learns new pictures alone forgets the old ones.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from captcha_rt.archives import unpack
from captcha_rt.charset import Charset
from captcha_rt.labels import NO_ROW
from captcha_rt.progress import Watch, unwatched
from captcha_rt.recipe import Recipe
from captcha_rt_export.run import TRAINING, Run, SampleFile
from captcha_rt_train.data.duplicates import hash_pixels
from captcha_rt_train.data.samples import (
    Dataset,
    Sample,
    SourceSettings,
    characters_of,
    compose_characters,
    fold_label,
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
    folder: Path,
    *,
    characters: str | None = None,
    fold_case: bool = False,
    watch: Watch = unwatched,
) -> Dataset:
    """Adds an earlier run's pictures to a data set.

    Args:
        dataset: The pictures of a folder, without sources. It may hold the earlier run's pictures,
            too, or copies of them; their labels are those of the folder. What is skipped there, as
            a picture whose label was taken away, is left out.
        run: The earlier run.
        recipe: The preprocessing.
        folder: The folder, or an archive of it.
        characters: The charset's characters in order; None takes those of the labels, sorted.
        fold_case: Whether labels and `characters` are folded to lower case.
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
    there = [
        (file.path, fold_label(file.label) if fold_case else file.label)
        for file in others
        if file.path.exists()
    ]
    known = characters and compose_characters(characters, fold_case=fold_case)
    read, skipped = read_samples(there, Path(), recipe, characters=known, watch=watch)
    refused = _refused(dataset, unpack(folder).folder, recipe)
    samples, moved = _with_sources(dataset.samples, read, refused, parts)
    shape = dataset.tensor_shape or (read[0].tensor.shape if read else ())
    samples = [sample for sample in samples if sample.tensor.shape == shape]
    charset = Charset(known or characters_of(samples), dataset.charset.blank)
    settings = {
        NEW: SourceSettings(),
        EARLIER: SourceSettings(validation=0, test=0),
        HELD_BACK: SourceSettings(validation=1, test=0),
    }
    there_is = {sample.source for sample in samples}
    gone = len(others) - len(there) - moved
    lost = f"{gone} pictures of the earlier run are gone: what they show may be forgotten"
    return replace(
        dataset,
        samples=tuple(sorted(samples, key=lambda s: list(settings).index(s.source))),
        tensor_shape=shape,
        charset=charset,
        skipped=(*dataset.skipped, *skipped),
        settings={name: value for name, value in settings.items() if name in there_is},
        notes=(*dataset.notes, *((lost,) if gone else ())),
    )


def _refused(dataset: Dataset, folder: Path, recipe: Recipe) -> set[bytes]:
    """The pixels of the pictures that a folder has, but no label for, or not any more."""
    names = (name for name, why in dataset.skipped if not why.startswith(NO_ROW))
    paths = [path for path in map(folder.joinpath, names) if path.is_file()]
    samples, _ = read_samples([(path, "") for path in paths], folder, recipe)
    return {hash_pixels(sample.picture) for sample in samples}


def _with_sources(
    own: Sequence[Sample],
    earlier: Sequence[Sample],
    refused: Collection[bytes],
    parts: Mapping[Path, SampleFile],
) -> tuple[list[Sample], int]:
    """The pictures of a folder and those of an earlier run, with their sources.

    A copy of an earlier picture, which has its pixels under another path, is not new: the earlier
    run may have held it back. The copy takes its place.

    Args:
        own: The folder's pictures.
        earlier: The earlier run's pictures that are not in the folder.
        refused: The pixels of the pictures that the folder has without a label.
        parts: The earlier run's parts by path.

    Returns:
        The pictures with their sources; and how many earlier pictures, whose files are gone, are
        among the folder's: it was moved.
    """

    def part_of(sample: Sample) -> SampleFile | None:
        return parts.get(sample.path.resolve()) if sample.path else None

    own_pixels = [hash_pixels(sample.picture) for sample in own]
    pixels = [hash_pixels(sample.picture) for sample in earlier]
    seen = {bytes.fromhex(file.pixels): file for file in parts.values() if file.pixels}
    moved = {digest for digest, file in seen.items() if not file.path.exists()} & {*own_pixels}
    seen |= {
        digest: file
        for digest, sample in zip([*own_pixels, *pixels], [*own, *earlier], strict=True)
        if (file := part_of(sample)) is not None
    }
    copied = {*own_pixels, *refused}
    kept = [*zip(own, own_pixels, strict=True)]
    kept += [(s, digest) for s, digest in zip(earlier, pixels, strict=True) if digest not in copied]
    samples = []
    for sample, digest in kept:
        file = seen.get(digest)
        source = NEW if file is None else EARLIER if file.part == TRAINING else HELD_BACK
        samples.append(replace(sample, source=source))
    return samples, len(moved)
