"""What `captcha-rt export` does with a model that was trained elsewhere."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Final

import typer

from captcha_rt.cli.output import one_line
from captcha_rt.labels import AUTO, FORMS_HELP
from captcha_rt.progress import track
from captcha_rt_export.cli.printing import end, print_report

if TYPE_CHECKING:
    from captcha_rt.recipe import Recipe
    from captcha_rt_export.foreign.bring import Brought

RecipeOption = Annotated[
    str | None,
    typer.Option(
        help="Steps from picture to input, such as grey,scale,resize:50x200,transpose, or a .toml."
    ),
]
LikeOption = Annotated[
    str | None, typer.Option(help="The recipe of a preset, or of a model of captcha-rt (.onnx).")
]
CharsetOption = Annotated[
    str | None, typer.Option(help="The characters in the order of the classes, without the blank.")
]
BlankOption = Annotated[
    str | None, typer.Option(help="The blank's class: first, last, a number, or none.")
]
DecoderOption = Annotated[
    str | None, typer.Option(help="ctc, position (one softmax a character) or glyph.")
]
LabelsOption = Annotated[str, typer.Option(help=FORMS_HELP)]
ScoresOption = Annotated[
    str | None,
    typer.Option(help="The layer, or of an .onnx file the tensor, whose output are the scores."),
]
InputShapeOption = Annotated[
    str | None,
    typer.Option(help="The size of the input where the model leaves it open, such as 50x200x1."),
]
CustomOption = Annotated[
    Path | None, typer.Option(help="A .py file with layers of your own; it is run.")
]
TrustOption = Annotated[
    bool, typer.Option("--trust", help="Run code that is inside the model's file.")
]
LicenceOption = Annotated[str | None, typer.Option(help="The model's licence, for its card.")]

UNKNOWN: Final = "unknown"
_NO_PICTURES: Final = (
    "name a folder of pictures that the model reads by --pictures FOLDER, best with their texts as "
    "names: the model is compared with its original on them, and what you don't say of how it is "
    "read is found out"
)


def export_foreign(
    source: Path,
    out: Path,
    *,
    pictures: Path | None,
    labels: str = AUTO,
    recipe: str | None = None,
    like: str | None = None,
    charset: str | None = None,
    blank: str | None = None,
    decoder: str | None = None,
    scores: str | None = None,
    input_shape: str | None = None,
    custom: Path | None = None,
    trust: bool = False,
    name: str | None = None,
    licence: str | None = None,
    int8: bool = False,
    min_confidence: float = 0.0,
) -> None:
    """Exports a foreign model, and says what was found out."""
    from captcha_rt_export.errors import ExportError
    from captcha_rt_export.foreign.bring import bring
    from captcha_rt_export.foreign.formats import format_of
    from captcha_rt_export.foreign.loading import load_network
    from captcha_rt_export.foreign.samples import find_samples
    from captcha_rt_export.foreign.ways import Told

    format_of(source)  # says what is wrong with it, before TensorFlow loads
    if out.exists() and source.exists() and out.samefile(source):
        raise ExportError(f"-o {out} is the model itself: name another file to write")
    if pictures is None:
        raise ExportError(_NO_PICTURES)
    told = Told(_recipe(recipe, like), charset, blank, _decoder(decoder))
    shape = _parse_shape(input_shape)
    network = load_network(source, told, shape, scores=scores, custom=custom, trust=trust)
    brought = bring(
        network,
        find_samples(pictures, labels),
        told,
        out,
        name=name,
        licence=licence or UNKNOWN,
        int8=int8,
        min_confidence=min_confidence,
        watch=lambda items, total: track(items, total, what="trying"),
    )
    _print(brought, out)


def _print(brought: "Brought", out: Path) -> None:
    """Prints what was found out and made."""
    report = brought.report
    for note in brought.notes:
        typer.echo(one_line(note))
    print_report(report, out, source=brought.origin, original="the original")
    if brought.right is not None:
        typer.echo(f"read right: {brought.right} of {report.pictures} pictures")
    another = "the recipe is another one (--recipe)"
    following = f"captcha-rt solve PICTURE --model {quote(str(out))}"
    end(report.parity.only_answer, report.pictures, another, following)


def _recipe(recipe: str | None, like: str | None) -> "Recipe | None":
    """The recipe that one of two options names."""
    from captcha_rt_export.errors import ExportError
    from captcha_rt_export.foreign.recipes import parse_recipe, recipe_like

    if recipe is not None and like is not None:
        raise ExportError("--recipe and --like both name the recipe: leave one out")
    if recipe is not None:
        return parse_recipe(recipe)
    return recipe_like(like) if like is not None else None


def _decoder(name: str | None) -> str | None:
    """Checks the name of a decoder."""
    from captcha_rt.decoders import DECODERS
    from captcha_rt_export.errors import ExportError

    if name is not None and name not in DECODERS:
        raise ExportError(f"--decoder {name}: it is one of {', '.join(DECODERS)}")
    return name


def _parse_shape(text: str | None) -> tuple[int, ...] | None:
    """Reads `50x200x1`."""
    from captcha_rt_export.errors import ExportError

    if text is None:
        return None
    sizes = text.split("x")
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise ExportError(f"--input-shape {text}: it is sizes with x between them, as 50x200x1")
    return tuple(map(int, sizes))
