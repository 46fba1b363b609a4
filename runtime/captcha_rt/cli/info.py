"""The command `captcha-rt info`."""

import json
import os
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from captcha_rt.cli.options import JsonOption
from captcha_rt.cli.output import to_json
from captcha_rt.diagnostics.card import model_card
from captcha_rt.errors import InstallationError, ManifestError, ModelError
from captcha_rt.model import GENERAL, load_model

GROUP: Final = "captcha_rt.descriptions"
"""The entry-point group of the function `describe(path)` of captcha-rt-export."""

_ELSEWHERE: Final = (".keras", ".h5", ".hdf5", ".tflite", ".onnx")
"""The suffixes of models that were trained elsewhere; a SavedModel is a folder."""


def info(
    model: Annotated[
        Path | None, typer.Argument(help="A .onnx file; by default the small embedded one.")
    ] = None,
    as_json: JsonOption = False,
    card: Annotated[bool, typer.Option("--card", help="Print the model card.")] = False,
) -> None:
    """Show the description of a model, also of one of Keras or another that `export` takes."""
    if model is not None and _is_foreign(model):
        _show(_describe(model), model, as_json=as_json)
        return
    loaded = load_model(model)
    if card:
        typer.echo(model_card(loaded.manifest, len(loaded.data)), nl=False)
        return
    values = json.loads(loaded.manifest.to_json())
    if as_json:
        typer.echo(to_json(values, indent=2))
        return
    typer.echo(f"file: {loaded.path} ({len(loaded.data):,} bytes)")
    for name, value in values.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        typer.echo(f"{name}: {shown}")
    if model is None:
        typer.echo(f"what it rejects is read by: {GENERAL}")


def _is_foreign(model: Path) -> bool:
    """Whether a file or folder seems to be a model of another program."""
    if (model / "saved_model.pb").is_file():
        return True
    if model.is_dir():
        return any(file.suffix in _ELSEWHERE[:3] for file in model.iterdir())
    if model.suffix not in _ELSEWHERE or not model.is_file():
        return False
    if model.suffix != ".onnx":
        return True
    try:
        load_model(model)
    except ManifestError as error:
        return "no description of captcha-rt" in str(error)
    except ModelError:
        return False
    return False


def _describe(model: Path) -> dict[str, Any]:
    """Describes a model of another program, by captcha-rt-export."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow is loaded
    for entry in entry_points(group=GROUP, name="describe"):
        described: dict[str, Any] = entry.load()(model)
        return described
    raise InstallationError(
        f"{model} was not made by captcha-rt; captcha-rt-export describes and exports such models: "
        "pip install captcha-rt-export"
    )


def _show(values: dict[str, Any], model: Path, *, as_json: bool) -> None:
    """Prints what is known of a model of another program."""
    if as_json:
        typer.echo(to_json(values, indent=2))
        return
    typer.echo(f"not of captcha-rt: {model}")
    for name, value in values.items():
        if isinstance(value, list) and any(" " in str(one) for one in value):
            typer.echo(f"{name}:")
            for one in value:
                typer.echo(f"  {one}")
        else:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            typer.echo(f"{name}: {shown}")
    typer.echo(f"next: captcha-rt export {model} --pictures FOLDER -o model.onnx")
