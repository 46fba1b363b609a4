"""A training run's folder. Only this module knows the names of its files.

RUN/
├── run.json        the settings; a resumed run must have the same
├── pictures.csv    the samples, each with its part of the split
├── history.csv     one row per epoch
├── checkpoint/     the weights of the last and of the best epoch
├── preset.toml     how it is trained: at once if it was chosen, else at the end; to be changed and
│                   trained again
├── model.onnx      the exported model, if no preset was named
├── position/ ...   another attempt, where the first stood on a plateau: its history and weights
├── half/, all/     the networks of the learning curve, and of all pictures
├── start/          an ensemble's network for all digits: its history.csv and checkpoint/
├── digit-1/ ...    the network of each digit: its history.csv and checkpoint/
├── lock            names the process that trains here; it is gone when that ends
├── drawn/          some of the pictures, where the network learned from drawn ones alone
├── report.html     the report; its images are inside
├── report/         the report's images as PNG files
├── pool/           a pretraining's drawn pictures, if they are not in a folder of their own
├── average.npz     the average of the weights after the last epoch, if it is taken;
│                   before-average.npz is that of the epoch before
├── trunk.npz       the weights of a pretraining, for others to start from
├── model.keras     the model as it is used for inference, with the best weights
└── manifest.json   the model's description; it is written last

Training writes a run; export and benchmarks read it. This module needs no Keras.
"""

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, Final

from captcha_rt.errors import ManifestError
from captcha_rt.files import write_atomically
from captcha_rt.manifest import Manifest
from captcha_rt_export.errors import ExportError, RunError

TRAINING: Final = "training"
"""The part of the split that the network learns from; all other parts are held back."""

_COLUMNS: Final = ("path", "label", "part", "source", "pixels")


@dataclass(frozen=True, slots=True)
class SampleFile:
    """A row of the split: a labelled picture and its part.

    Attributes:
        path: The picture's file; if a generator drew the sample, a relative path without a file.
        label: The picture's text.
        part: The sample's part of the split: `training`, `validation` or `test`.
        source: The name of the sample's source in a TOML file; empty for a folder by itself.
        pixels: A hash of the picture's pixels, by which it is known when it was moved; empty in
            older runs.
    """

    path: Path
    label: str = ""
    part: str = ""
    source: str = ""
    pixels: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """The folder of a run, or of one network of an ensemble's run.

    Attributes:
        folder: The run's folder; it may not exist yet.
    """

    folder: Path

    @property
    def settings_file(self) -> Path:
        """The settings as JSON."""
        return self.folder / "run.json"

    @property
    def split_file(self) -> Path:
        """The samples with their parts of the split."""
        return self.folder / "pictures.csv"

    @property
    def history_file(self) -> Path:
        """The metrics of each epoch."""
        return self.folder / "history.csv"

    @property
    def checkpoints(self) -> Path:
        """The folder with the weights."""
        return self.folder / "checkpoint"

    @property
    def report_file(self) -> Path:
        """The report, an HTML page."""
        return self.folder / "report.html"

    @property
    def report_images(self) -> Path:
        """The folder with the report's images."""
        return self.folder / "report"

    @property
    def model_file(self) -> Path:
        """The trained Keras model."""
        return self.folder / "model.keras"

    @property
    def preset_file(self) -> Path:
        """How the network is trained: what was chosen, or the preset that was named."""
        return self.folder / "preset.toml"

    @property
    def onnx_file(self) -> Path:
        """The exported model where no preset was named."""
        return self.folder / "model.onnx"

    @property
    def drawn(self) -> Path:
        """The folder with some of the training pictures, where all of them were drawn."""
        return self.folder / "drawn"

    @property
    def pool(self) -> Path:
        """The folder of a pretraining's drawn pictures, if no other is named."""
        return self.folder / "pool"

    @property
    def average_file(self) -> Path:
        """The average of the weights, of a training that takes it."""
        return self.folder / "average.npz"

    @property
    def trunk_file(self) -> Path:
        """A pretraining's trunk."""
        return self.folder / "trunk.npz"

    @property
    def manifest_file(self) -> Path:
        """The trained model's description."""
        return self.folder / "manifest.json"

    @property
    def name(self) -> str:
        """The folder's name, which becomes the model's."""
        return self.folder.resolve().name

    @property
    def exists(self) -> bool:
        """Whether the folder is there."""
        return self.folder.exists()

    @property
    def finished(self) -> bool:
        """Whether the training is finished: the manifest is written last."""
        return self.manifest_file.exists()

    @property
    def manifest(self) -> Manifest:
        """The trained model's description.

        Raises:
            ExportError: If the run is not finished, or its manifest is damaged.
        """
        try:
            return Manifest.from_json(self.manifest_file.read_bytes())
        except FileNotFoundError as error:
            raise ExportError(
                f"{self.folder} holds no finished run; "
                f"`captcha-rt train FOLDER -o {quote(str(self.folder))}` "
                "makes one, with --resume if it was stopped"
            ) from error
        except ManifestError as error:
            raise ExportError(f"{self.manifest_file}: {error}") from error

    def write_manifest(self, manifest: Manifest) -> None:
        """Writes the description. It must be the last file that is written."""
        _write(self.manifest_file, manifest.to_json())

    def network(self, name: str) -> "Run":
        """The run of one network of an ensemble, in a sub-folder such as `digit-3`."""
        return Run(self.folder / name)

    def remove(self) -> None:
        """Deletes the folder, if it is there."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def settings(self) -> dict[str, Any] | None:
        """The settings that the run was started with; None if it was not started."""
        if not self.settings_file.exists():
            return None
        settings: dict[str, Any] = json.loads(self.settings_file.read_text("utf-8"))
        return settings

    def check_settings(self, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Checks that a training with these settings may use the folder.

        Args:
            settings: The settings, as `write_settings` takes them.
            resume: Whether the training continues a stopped run.

        Raises:
            RunError: If the folder holds a run and `resume` is False, or the run's settings differ.
        """
        _check_file(self.settings_file, _settings_text(settings), resume=resume)

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Writes the settings; the folder is created if needed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.settings_file, _settings_text(settings))

    def check_split(self, samples: Sequence[SampleFile], *, resume: bool) -> None:
        """Checks that a training with this split may use the folder.

        Raises:
            RunError: If the folder holds a run and `resume` is False, or the run's split differs.
        """
        _check_file(self.split_file, _split_text(samples), resume=resume)

    def write_split(self, samples: Sequence[SampleFile]) -> None:
        """Writes the split; the folder is created if needed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.split_file, _split_text(samples))

    def samples(self) -> list[SampleFile]:
        """Reads the samples that have a file, in the order of `pictures.csv`.

        Samples that a generator drew have no file.

        Raises:
            ExportError: If the split can't be read.
        """
        try:
            with self.split_file.open(newline="", encoding="utf-8") as file:
                rows = [
                    SampleFile(
                        Path(row["path"]),
                        row["label"],
                        row["part"],
                        row.get("source", ""),
                        row.get("pixels", ""),
                    )
                    for row in csv.DictReader(file)
                ]
        except (OSError, KeyError) as error:
            raise ExportError(f"can't read the split of the run {self.folder}: {error}") from error
        return [row for row in rows if row.path.is_absolute()]

    def held_back(self) -> list[SampleFile]:
        """Reads the samples that the network did not learn from and that have a file.

        Raises:
            ExportError: If the split can't be read, or a picture's file is gone.
        """
        held_back = [sample for sample in self.samples() if sample.part != TRAINING]
        gone = [sample.path for sample in held_back if not sample.path.exists()]
        if gone:
            raise ExportError(
                f"{len(gone)} of the run's pictures are gone, {gone[0]} first; "
                "name a folder of the same kind with --pictures"
            )
        return held_back

    def training_samples(self) -> list[SampleFile]:
        """Reads the samples that the network learned from and whose files still exist.

        Where all of them were drawn, those are read that the training has kept.

        Raises:
            ExportError: If the split can't be read, or no picture is left.
        """
        learned = [sample for sample in self.samples() if sample.part == TRAINING]
        if not learned:
            kept = sorted(self.drawn.glob("*.png"))
            learned = [SampleFile(path, part=TRAINING) for path in kept]
        samples = [sample for sample in learned if sample.path.exists()]
        if not samples:
            raise ExportError(f"the pictures that the run {self.folder} was trained on are gone")
        return samples

    def history(self) -> list[dict[str, float]]:
        """Reads the history, one row per epoch; it is empty before the first epoch."""
        if not self.history_file.exists():
            return []
        with self.history_file.open(newline="", encoding="utf-8") as file:
            return [
                {**{name: float(value) for name, value in row.items()}, "epoch": number}
                for number, row in enumerate(csv.DictReader(file), 1)
            ]

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Writes the history.

        Args:
            rows: One row per epoch, at least one. All rows have the same columns.
        """
        out = io.StringIO()
        writer = csv.DictWriter(out, rows[-1])
        writer.writeheader()
        writer.writerows(rows)
        _write(self.history_file, out.getvalue())

    def weights_file(self, epoch: int) -> Path:
        """The file with the weights after an epoch, from 1."""
        return self.checkpoints / f"epoch-{epoch:04d}.weights.h5"

    def keep_weights(self, *epochs: int) -> None:
        """Deletes the weights of all epochs but these."""
        for path in set(self.checkpoints.iterdir()) - {self.weights_file(e) for e in epochs}:
            path.unlink()


def _settings_text(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, indent=2)


def _split_text(samples: Sequence[SampleFile]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((s.path, s.label, s.part, s.source, s.pixels) for s in samples)
    return out.getvalue()


def _check_file(path: Path, text: str, *, resume: bool) -> None:
    """Raises `RunError` if the file has another text, or its run is not to be resumed."""
    if not path.exists():
        return
    if not resume:
        raise RunError(
            f"{path.parent} holds a run; go on with it by --resume, or choose another folder"
        )
    if path.read_text("utf-8") != text:
        raise RunError(
            f"can't resume: {path} differs; a resumed run needs the same settings, and the same "
            "pictures at the same paths"
        )


def _write(path: Path, text: str) -> None:
    with (
        write_atomically(path) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        file.write(text)
