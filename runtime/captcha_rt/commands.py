"""The runtime's own commands, and the search for those of the other distributions."""

import glob
import json
import os
import sys
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperGroup

import captcha_rt
from captcha_rt.errors import (
    CaptchaRTError,
    FolderError,
    ImageDecodeError,
    InstallationError,
    LowConfidenceError,
    ModelError,
    ProviderError,
)
from captcha_rt.labels import AUTO, FORMS_HELP, read_labels
from captcha_rt.progress import track
from captcha_rt.session import MAX_THREADS, Device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from captcha_rt.image import ImageSource
    from captcha_rt.metrics import Evaluation
    from captcha_rt.solver import Solution, Solver

OK, SOME_FAILED, USAGE, MODEL, LOW_CONFIDENCE = range(5)
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

# The commands of the other distributions, to answer one that isn't installed.
ELSEWHERE: Final = {
    "train": "captcha-rt-train",
    "samples": "captcha-rt-train",
    "dataset": "captcha-rt-train",
    "export": "captcha-rt-export",
}


class Commands(TyperGroup):
    """Finds commands of other distributions, and turns errors into one line and an exit code."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401  (Click's own types move)
        """One of ours, else one from the entry points `captcha_rt.commands`, searched only then."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            _make_lenient(own, ctx)
            return own
        for entry in entry_points(group="captcha_rt.commands", name=cmd_name):
            return typer.main.get_command(entry.load())
        if cmd_name in ELSEWHERE:
            _fail(
                f"`captcha-rt {cmd_name}` is part of {ELSEWHERE[cmd_name]}: "
                f"pip install {ELSEWHERE[cmd_name]}",
                USAGE,
            )
        return None

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401
        """Ours first, then those of the other distributions that are installed."""
        found = {entry.name for entry in entry_points(group="captcha_rt.commands")}
        return [*super().list_commands(ctx), *sorted(found)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Parses what stands before a command."""
        _make_lenient(self, ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Runs a command; what it raises ends it with one line on stderr."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # Python flushes stdout again at exit, and would complain there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(BROKEN_PIPE) from None
        except (ModelError, ProviderError, InstallationError) as error:
            _fail(str(error), MODEL)
        except (CaptchaRTError, OSError) as error:
            _fail(str(error), USAGE)


class Lenient:
    """Converts values as Typer would, where that takes nothing, and leaves the rest to Typer.

    Typer 0.29 has pydantic convert them all; to load that takes 180 ms of CPU, half of what else
    `solve` takes for a picture.
    """

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401
        """What a parameter's value from the command line, or its default, becomes."""
        kind = param.type_descriptor.annotation
        if value == param.default or (value and kind in (str, list[str])):
            return value
        if kind is Path and os.access(value, os.R_OK):  # Typer checks no more of our paths
            return Path(value)
        return type(param).get_runtime_param(param).coerce(value, param=param, ctx=ctx)


def _make_lenient(command: Any, ctx: Any) -> None:  # noqa: ANN401
    for parameter in command.get_params(ctx):
        parameter.get_runtime_param = Lenient  # an older Typer, without pydantic, never asks for it


app = typer.Typer(
    name="captcha-rt",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Reads text captchas.",
    epilog=(
        "Exit codes: 0 all read, 1 some pictures could not be read, 2 wrong usage or a file or "
        "folder that can't be used, 3 the model, its provider or the installation failed, 4 less "
        "sure than --min-confidence, 130 stopped by Ctrl-C, 141 nobody read the output."
    ),
)

ModelOption = Annotated[
    Path | None, typer.Option("--model", "-m", help="A .onnx file; the embedded one by default.")
]
DeviceOption = Annotated[Device, typer.Option(help="Where to run; auto takes CUDA if it works.")]
ThreadsOption = Annotated[int, typer.Option(min=1, max=MAX_THREADS, help="Threads within one run.")]
BatchOption = Annotated[int, typer.Option(min=1, help="Pictures in one run.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Takes the options that come before a command."""
    if version:
        typer.echo(f"captcha-rt {captcha_rt.__version__}")
        raise typer.Exit


@app.command()
def solve(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files, folders, globs; - is stdin.")
    ],
    model: ModelOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
    batch_size: BatchOption = 8,
    as_json: JsonOption = False,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="Print a JSON object a line.")] = False,
    min_confidence: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Reject what was read less surely; the model's default."),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Read pictures. One file gives its text; several, folders and globs give lines.

    A line is the path, a tab and the text; the text is empty where there is an error.
    """
    from captcha_rt.solver import Solver

    if as_json and as_jsonl:
        raise typer.BadParameter("choose one of --json and --jsonl")
    solver = Solver(model, device=device, threads=threads)
    if min_confidence is None:
        min_confidence = solver.manifest.min_confidence
    sources = [source for path in paths for source in _expand(path)]
    alone = len(paths) == 1 and [name for name, _ in sources] == paths
    objects: list[dict[str, Any]] = []
    codes = {OK}
    answers = _answers(solver, sources, batch_size)
    for name, answer in track(answers, len(sources), what="solving", quiet=quiet):
        kept = _reject(answer, min_confidence)
        codes.add(_code(kept))
        if as_json or as_jsonl:
            objects.append({"path": name, **_to_json(kept)})
            if as_jsonl:
                typer.echo(json.dumps(objects.pop()))
            continue
        if isinstance(kept, CaptchaRTError):
            _complain_of(name, kept)
            if not alone:
                typer.echo(f"{one_line(name)}\t")
        else:
            typer.echo(kept.text if alone else f"{one_line(name)}\t{kept.text}")
    if as_json:
        typer.echo(json.dumps(objects[0] if alone else objects, indent=2))
    raise typer.Exit(SOME_FAILED if SOME_FAILED in codes else max(codes))


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="A folder of labelled pictures.")],
    model: ModelOption = None,
    labels: Annotated[str, typer.Option(help=FORMS_HELP)] = AUTO,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
    batch_size: BatchOption = 8,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a model on labelled pictures."""
    from captcha_rt import metrics
    from captcha_rt.solver import Solver

    solver = Solver(model, device=device, threads=threads)
    found = read_labels(folder, labels)
    if not quiet:
        typer.echo(one_line(found.description), err=True)
    for where, problem in found.problems:  # without a label there is nothing to compare
        _complain(f"left out: {where}: {problem}")
    paths = [path for path, _ in found.items]
    answers = _answers(solver, [(str(path), path) for path in paths], batch_size)
    readings = []
    failed = 0
    for (_, label), (name, answer) in zip(
        found.items, track(answers, len(paths), what="evaluating", quiet=quiet), strict=True
    ):
        if isinstance(answer, CaptchaRTError):  # counts as misread: its text was wanted
            failed += 1
            _complain_of(name, answer)
            readings.append(metrics.Reading(name, label, "", 0.0))
        else:
            readings.append(metrics.Reading(name, label, answer.text, answer.confidence))
    result = metrics.evaluate(readings)
    if as_json:
        values = {"model": solver.manifest.name, "failed": failed, **asdict(result)}
        typer.echo(json.dumps(values, indent=2))
    else:
        typer.echo(_describe_evaluation(result))
    raise typer.Exit(SOME_FAILED if failed else OK)


@app.command()
def bench(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH...]", help="Files, folders, globs; - is stdin. None: a drawn picture."
        ),
    ] = None,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure how fast a model is here: each stage, throughput, cold start, memory.

    Of more than 200 pictures some are taken, evenly spread.
    """
    from captcha_rt.bench import describe, draw_picture, measure, read_pictures
    from captcha_rt.solver import Solver

    solver = Solver(model, device=device, threads=threads)
    sources = [source for path in paths or () for source in _expand(path)]
    pictures, problems = read_pictures(solver, sources, quiet=quiet)
    for name, error in problems:
        _complain_of(name, error)
    if not paths:
        pictures = [draw_picture(solver.manifest)]
    if not pictures:
        raise typer.Exit(SOME_FAILED)
    options = ["--device", device, "--threads", str(threads)]
    if model is not None:
        options += ["--model", str(model)]
    report = measure(solver, pictures, options, threads=threads, drawn=not paths, quiet=quiet)
    typer.echo(json.dumps(asdict(report), indent=2) if as_json else describe(report))
    raise typer.Exit(SOME_FAILED if problems else OK)


@app.command()
def explain(
    image: Annotated[str, typer.Argument(help="A picture; - is stdin.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The PNG to write.")],
    model: ModelOption = None,
    device: DeviceOption = "auto",
    layer: Annotated[
        str | None, typer.Option(help="Show this layer's activations, too; needs --run.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The training run that the model was exported from.")
    ] = None,
) -> None:
    """Draw what a model sees of one picture: each step, the scores, the answer."""
    import cv2

    from captcha_rt.explain import explain as draw
    from captcha_rt.files import write_atomically
    from captcha_rt.solver import Solver

    if (layer is None) != (run is None):
        raise typer.BadParameter("--layer and --run go together")
    layers = {} if layer is None or run is None else {layer: _activations(run, layer)}
    solver = Solver(model, device=device)
    try:
        made = draw(solver, sys.stdin.buffer.read() if image == "-" else Path(image), layers)
    except ImageDecodeError as error:
        _complain_of(image, error)
        raise typer.Exit(SOME_FAILED) from None
    _, png = cv2.imencode(".png", made.sheet[:, :, ::-1])
    with write_atomically(out) as path:
        path.write_bytes(png.tobytes())
    if made.error is not None:
        _complain_of(image, made.error)
        raise typer.Exit(SOME_FAILED)
    typer.echo(f"{made.text} ({made.confidence:.4f})")


@app.command()
def info(
    model: Annotated[
        Path | None, typer.Argument(help="A .onnx file; the embedded one by default.")
    ] = None,
    as_json: JsonOption = False,
    card: Annotated[bool, typer.Option("--card", help="Print the model's card.")] = False,
) -> None:
    """Say what a model is."""
    from captcha_rt.card import model_card
    from captcha_rt.model import load_model

    loaded = load_model(model)
    if card:
        typer.echo(model_card(loaded.manifest, len(loaded.data)), nl=False)
        return
    values = json.loads(loaded.manifest.to_json())
    if as_json:
        typer.echo(json.dumps(values, indent=2))
        return
    typer.echo(f"file: {loaded.path} ({len(loaded.data):,} bytes)")
    for name, value in values.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        typer.echo(f"{name}: {shown}")


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say what is installed and what works here."""
    from captcha_rt.doctor import examine

    report = examine()
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2))
    else:
        typer.echo(f"python: {report.python}")
        for name, version in report.distributions.items():
            typer.echo(f"{name}: {version}")
        typer.echo(f"compiled in: {', '.join(report.compiled_in) or 'nothing'}")
        for device, providers in report.active.items():
            typer.echo(f"--device {device}: runs on {providers[0]}")
        for device, reason in report.absent.items():
            typer.echo(f"--device {device}: not here, {reason}")
    for problem in report.problems:
        _complain(problem)
    raise typer.Exit(MODEL if report.problems else OK)


def _activations(run: Path, layer: str) -> "Callable[[NDArray[np.float32]], NDArray[np.float32]]":
    """What runs a layer of a training run: a part of the training distribution."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow loads
    try:
        from captcha_rt_train.activations import activations
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("captcha_rt_train"):
            raise
        raise InstallationError(
            "--layer is part of captcha-rt-train: pip install captcha-rt-train"
        ) from None
    return lambda rows: activations(run, rows, layer)


def _expand(path: str) -> list[tuple[str, Path | bytes | CaptchaRTError]]:
    """What a PATH on the command line stands for: names, each with its picture or an error."""
    from captcha_rt.pictures import find_pictures

    if path == "-":
        return [("-", sys.stdin.buffer.read())]
    if not path:  # an empty shell variable, and not the working folder
        return [(path, FolderError("an empty path"))]
    if os.path.isdir(path):  # noqa: PTH112  (Path's raises where a name is too long)
        try:
            return [(str(found), found) for found in find_pictures(Path(path))]
        except FolderError as error:
            return [(path, error)]
    if glob.has_magic(path) and not os.path.exists(path):  # noqa: PTH110
        matches = sorted(m for m in glob.glob(path, recursive=True) if os.path.isfile(m))  # noqa: PTH113, PTH207
        return [(m, Path(m)) for m in matches] or [(path, FolderError(f"no file matches {path}"))]
    return [(path, Path(path))]


def _answers(
    solver: "Solver",
    sources: "Sequence[tuple[str, ImageSource | CaptchaRTError]]",
    batch_size: int,
) -> "Iterator[tuple[str, Solution | CaptchaRTError]]":
    """Solves batch by batch, so that answers come while later pictures wait."""
    for start in range(0, len(sources), batch_size):
        batch = sources[start : start + batch_size]
        images = [image for _, image in batch if not isinstance(image, CaptchaRTError)]
        solved = iter(solver.solve_batch(images, batch_size=batch_size))
        for name, image in batch:
            yield name, image if isinstance(image, CaptchaRTError) else next(solved)


def _reject(
    answer: "Solution | CaptchaRTError", min_confidence: float
) -> "Solution | CaptchaRTError":
    if isinstance(answer, CaptchaRTError) or answer.confidence >= min_confidence:
        return answer
    return LowConfidenceError(
        f"read {answer.text!r} with confidence {answer.confidence:.4f}, below {min_confidence}"
    )


def _code(answer: "Solution | CaptchaRTError") -> int:
    if isinstance(answer, LowConfidenceError):
        return LOW_CONFIDENCE
    return SOME_FAILED if isinstance(answer, CaptchaRTError) else OK


def _to_json(answer: "Solution | CaptchaRTError") -> dict[str, Any]:
    if isinstance(answer, CaptchaRTError):
        return {"error": {"type": type(answer).__name__, "message": str(answer)}}
    return asdict(answer)


def _describe_evaluation(result: "Evaluation") -> str:
    low, high = result.interval
    lines = [
        f"total captchas: {result.total}, errors: {result.errors}, "
        f"success rate: {result.exact_match:.4f}",
        f"exact match: {result.exact_match:.4f} (95 % interval {low:.4f} to {high:.4f})",
        f"character error rate: {result.character_error_rate:.4f}",
        f"expected calibration error: {result.calibration_error:.4f}",
        "right at position: " + ", ".join(f"{p:.4f}" for p in result.position_accuracy),
    ]
    lines += [
        f"confused: {c.truth or 'nothing'} as {c.read or 'nothing'}, {c.count}"
        for c in result.confusions
    ]
    lines += [
        f"misread: {one_line(r.path)}: {r.truth} as {r.text} ({r.confidence:.4f})"
        for r in result.misread
    ]
    return "\n".join(lines)


def one_line(text: str) -> str:
    """Escapes control characters, which a file's name may hold to forge another line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _complain_of(name: str, error: CaptchaRTError) -> None:
    message = str(error)
    _complain(message if message.startswith(name) else f"{name}: {message}")


def _complain(message: str) -> None:
    typer.echo(f"captcha-rt: {one_line(message)}", err=True)


def _fail(message: str, code: int) -> NoReturn:
    _complain(message)
    raise typer.Exit(code)
