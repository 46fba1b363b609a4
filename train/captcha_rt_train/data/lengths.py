"""Labels that are far longer than the others: a file's name, or two labels in one."""

from collections.abc import Sequence
from typing import Final

from captcha_rt_train.data.samples import Dataset, Sample, skip_samples

_UNUSUAL: Final = 0.01
"""The fraction of the labels that may be longer than usual; of fewer than 300, three labels, but no
more than one in twenty."""

_FAR: Final = 2
"""How many times as long as usual a label is that can't be right."""


def usual_length(samples: Sequence[Sample]) -> int:
    """The number of characters that nearly no label exceeds.

    Args:
        samples: Labelled pictures, at least one.
    """
    lengths = sorted(len(sample.label) for sample in samples)
    longer = max(int(_UNUSUAL * len(lengths)), min(3, len(lengths) // 20))
    return lengths[-1 - longer]


def skip_far_longer(dataset: Dataset) -> Dataset:
    """Skips samples whose labels are more than twice as long as usual.

    One of them would widen the network's input for all, to have time steps for it.

    Returns:
        The data set without these samples, which are listed as skipped, each with the reason. Its
        charset lacks the characters that only they had, unless the charset was given.
    """
    if not dataset.samples:
        return dataset
    usual = usual_length(dataset.samples)
    return skip_samples(
        dataset,
        [
            f"its label has {len(sample.label)} characters, nearly all others at most {usual}"
            if len(sample.label) > _FAR * max(usual, 1)
            else None
            for sample in dataset.samples
        ],
    )
