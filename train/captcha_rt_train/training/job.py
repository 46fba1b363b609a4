"""What a training is to do, and where it reports its progress."""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from captcha_rt.errors import InstallationError
from captcha_rt.labels import AUTO
from captcha_rt.progress import Watch, unwatched
from captcha_rt_export.run import Run
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.presets import Preset, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from captcha_rt_train.data.samples import Dataset


@dataclass(frozen=True, slots=True)
class Observer:
    """What a training shows while it runs; by default nothing.

    Attributes:
        verbose: Keras's verbosity: 0 is silent, 1 a progress bar, 2 one line per epoch.
        tensorboard: The folder for TensorBoard's logs; None writes none.
        watch: Shows the progress while pictures are read.
        follow: Shows the progress of a training's steps.
        report: Is called with the data set, skipped pictures included, before the first epoch.
        say: Is called with a line on what was chosen, or what comes next.

    Raises:
        InstallationError: If `tensorboard` is given and TensorBoard is not installed.
    """

    verbose: int = 0
    tensorboard: Path | None = None
    watch: Watch = unwatched
    follow: Watch = unwatched
    report: "Callable[[Dataset], None]" = lambda _: None
    say: "Callable[[str], None]" = lambda _: None

    def __post_init__(self) -> None:
        if self.tensorboard is not None and find_spec("tensorboard") is None:
            raise InstallationError(
                'TensorBoard is not installed: pip install "captcha-rt-train[tensorboard]"'
            )


@dataclass(frozen=True, slots=True)
class Job:
    """A training: the samples, the preset, the settings and the run's folder.

    Attributes:
        source: A folder of labelled pictures, an archive of one, or a TOML file of sources
            (`data.sources`).
        run: The run's folder; the training creates it.
        preset: What to train.
        settings: How to train; `preset.settings` are the defaults.
        labels: The form of the folder's labels, as `captcha_rt.labels.read_labels` takes it.
        digit: Only this digit's network of an ensemble is trained, from 1; None trains all. Unless
            `resume` is set, the network is trained from scratch. `settings` then apply to this
            network only; the split and the other networks keep the run's settings.
        validation: What validates, in place of a part of the source: a folder of labelled pictures,
            or a label file for pictures in `source`.
        fold_case: Whether labels are folded to lower case.
        earlier: A run whose pictures are trained on, too, since the preset starts from its model.
        cleaned: Whether copies of a picture are left out, pictures with several labels, and those
            whose labels are far longer than the others.
        small: Whether a training without a preset takes the small network, however hard the
            pictures are.
        resume: Whether to continue the run in the folder after its last completed epoch.
        observer: Where the training reports its progress.

    Raises:
        TrainingError: If the run's folder is that of the pictures.
    """

    source: Path
    run: Run
    preset: Preset
    settings: Settings
    labels: str = AUTO
    digit: int | None = None
    validation: str | None = None
    fold_case: bool = False
    earlier: Run | None = None
    cleaned: bool = False
    small: bool = False
    resume: bool = False
    observer: Observer = field(default_factory=Observer)

    def __post_init__(self) -> None:
        if self.run.folder.resolve() == self.source.resolve():
            raise TrainingError(
                f"{self.run.folder} holds the pictures, and a run's list of them would be taken "
                "for their labels: choose another folder with -o"
            )
