"""What a training is asked to do, and where it reports its progress."""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from captcha_rt.errors import InstallationError
from captcha_rt.labels import AUTO
from captcha_rt.progress import Watch
from captcha_rt_export.run import Run
from captcha_rt_train.presets import Preset, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from captcha_rt_train.data.samples import Dataset


@dataclass(frozen=True, slots=True)
class Observer:
    """What a training shows while it runs; by default nothing.

    Attributes:
        verbose: As Keras takes it: 0 is silent, 1 a bar, 2 a line an epoch.
        tensorboard: The folder for TensorBoard's logs; None writes none.
        watch: Shows the progress over the pictures while they are read.
        report: Gets the data set, with what was skipped, before the first epoch.

    Raises:
        InstallationError: If TensorBoard's logs are wanted and it isn't installed.
    """

    verbose: int = 0
    tensorboard: Path | None = None
    watch: Watch = lambda items, _: items
    report: "Callable[[Dataset], None]" = lambda _: None

    def __post_init__(self) -> None:
        if self.tensorboard is not None and find_spec("tensorboard") is None:
            raise InstallationError(
                'TensorBoard is not installed: pip install "captcha-rt-train[tensorboard]"'
            )


@dataclass(frozen=True, slots=True)
class Job:
    """A training: what is trained on what, and where the run lies.

    Attributes:
        source: A folder of labelled pictures, or a TOML file of sources (`data.sources`).
        run: The run's folder; the training makes it.
        preset: What to train.
        settings: How to train it.
        labels: The form of the folder's labels.
        digit: Trains the network of this digit (from 1) of an ensemble alone, and anew if it was
            trained (unless `resume`). The settings then count for this network only; the split
            and all else are the run's.
        resume: Continues the run in the folder after its last whole epoch.
        observer: Where the training reports its progress.
    """

    source: Path
    run: Run
    preset: Preset
    settings: Settings
    labels: str = AUTO
    digit: int | None = None
    resume: bool = False
    observer: Observer = field(default_factory=Observer)
