"""What is taken along: a run's model or a model file, and the pictures to check on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from captcha_rt.deploy.triton import Processor
from captcha_rt.errors import ModelNotFoundError, RecipeError
from captcha_rt.image import decode_image
from captcha_rt.labels import pictures_of
from captcha_rt.metrics import only_answer
from captcha_rt.model import EMBEDDED, GENERAL, Model, load_model
from captcha_rt.reader import Reader
from captcha_rt_export.errors import ExportError
from captcha_rt_export.run import Run

MAX_CHECKED: Final = 500
"""Of more pictures than this, so many are checked where the network itself stays the same."""

_EMBEDDED: Final = {"default": EMBEDDED, "general": GENERAL}
"""The names of the models in the wheel."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model to take along.

    Attributes:
        path: A run's folder, a model file, or the name of an embedded model, `default` or
            `general`.
        pictures: A folder of pictures to check on; None takes those that the run held back.
        name: The model's name; None keeps it.
        int8: Whether a run's network computes in 8 bits, where the form has such a network.
        min_confidence: The confidence below which a run's answers are rejected by default.
        device: Where Triton runs the model, `cpu` or `cuda`.
        instances: The number of processes in which Triton runs the model.
    """

    path: Path
    pictures: Path | None = None
    name: str | None = None
    int8: bool = False
    min_confidence: float = 0.0
    device: Processor = "cpu"
    instances: int = 1

    @property
    def run(self) -> Run | None:
        """The run; None if the source is a model file."""
        return Run(self.path) if self.path.is_dir() else None

    @property
    def is_pair(self) -> bool:
        """Whether the source is `default`: the small embedded model, and the general one after."""
        return not self.path.exists() and str(self.path) == "default"

    def samples(self) -> list[Path]:
        """The pictures to check on.

        Raises:
            ExportError: If the source is a model file and no folder of pictures is given, or a
                run's pictures are gone.
            FolderError: If the folder holds no pictures.
        """
        if self.pictures is not None:
            return list(pictures_of(self.pictures))
        if self.run is None:
            raise ExportError(
                f"a model file brings no pictures to check on: name a folder of pictures that "
                f"{self.path} reads, --pictures FOLDER"
            )
        return [sample.path for sample in self.run.held_back()]

    def model(self) -> Model:
        """The model in captcha-rt's own form; a run is exported for it, with all checks.

        Raises:
            ModelNotFoundError: If there is nothing at the path.
            ModelError: If the file is no model of captcha-rt, or the run can't be exported.
        """
        if self.run is None:
            embedded = None if self.path.exists() else _EMBEDDED.get(str(self.path))
            if embedded is None and not self.path.exists():
                raise ModelNotFoundError(
                    f"no run and no model file at {self.path}; the embedded models are named "
                    f"{' and '.join(_EMBEDDED)}"
                )
            if self.int8 or self.min_confidence:
                raise ExportError(
                    "--int8 and --min-confidence need a run: a model file is taken as it is"
                )
            return load_model(embedded or self.path)
        self.run.manifest  # noqa: B018  (says if the run is not finished, before TensorFlow loads)
        from captcha_rt_export.backend import set_up_keras

        set_up_keras("tensorflow")
        from captcha_rt_export.export import export_run  # TensorFlow: five seconds

        with TemporaryDirectory() as folder:
            out = Path(folder) / "model.onnx"
            export_run(
                self.run,
                out,
                pictures=self.pictures,
                name=self.name,
                int8=self.int8,
                min_confidence=self.min_confidence,
            )
            return load_model(out)

    def finished_run(self, form: str) -> Run:
        """The run, for a form that is made of the Keras model.

        Raises:
            ExportError: If the source is no finished run, or an option is given that only an
                `.onnx` file has.
        """
        if self.run is None:
            self.model()  # says if there is no such file
            raise ExportError(
                f"--to {form} needs the network as Keras has it, which {self.path} doesn't hold: "
                "name the folder of the run that it was exported from"
            )
        if self.int8 or self.min_confidence:
            raise ExportError(f"--to {form} has no --int8 and no --min-confidence: leave them out")
        return self.run


@dataclass(frozen=True, slots=True)
class Taken:
    """A model that was taken along.

    Attributes:
        name: The model's name.
        size: The bytes of all files.
        pictures: The number of pictures that it was checked on.
        same: How many of them the new form reads as captcha-rt does.
        checked: Who read them, and what else was compared, for people.
        usage: What to type next.
        only_answer: The text that all pictures are answered with; None if the texts differ.
    """

    name: str
    size: int
    pictures: int
    same: int
    checked: str
    usage: str
    only_answer: str | None = None


def read_texts(model: Model, samples: Sequence[Path]) -> list[str]:
    """Reads pictures with captcha-rt.

    Raises:
        ModelError: If the model can't be loaded, or fails.
        ImageDecodeError: If a picture can't be decoded.
        RecipeError: If the recipe can't use a picture.
    """
    reader = Reader(model, device="cpu", providers=None, threads=1, batch_size=1, pictures=None)
    merge = model.manifest.recipe.merge
    texts = []
    for path in samples:
        try:
            texts.append(reader.read(decode_image(path, merge=merge)).text)
        except RecipeError as error:
            raise type(error)(f"{path}: {error}") from error
    return texts


def compare(
    found: Sequence[str], wanted: Sequence[str], samples: Sequence[Path], *, least: float, who: str
) -> tuple[int, str | None]:
    """Compares the texts that a new form reads with those of captcha-rt.

    Args:
        found: The texts that the new form reads.
        wanted: The texts that captcha-rt reads.
        samples: The pictures, at least one.
        least: The smallest part of the pictures whose texts have to be the same, in 0..1.
        who: Who reads the new form, for the message.

    Returns:
        The number of equal texts, and the only text of captcha-rt if it has just one.

    Raises:
        ExportError: If fewer texts are the same.
    """
    different = [i for i, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b]
    same = len(found) - len(different)
    if same < least * len(found):
        first = different[0]
        raise ExportError(
            f"{who} reads only {same} of {len(found)} pictures as captcha-rt does; of "
            f"{samples[first]} it reads {found[first]!r}, captcha-rt {wanted[first]!r}"
        )
    return same, only_answer(list(wanted))
