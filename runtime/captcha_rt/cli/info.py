"""The command `captcha-rt info`."""

import json
import os
from importlib.metadata import entry_points
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Final

import typer

from captcha_rt.cli.options import JsonOption
from captcha_rt.cli.output import USAGE, fail, from_checkout, to_json
from captcha_rt.diagnostics.card import model_card
from captcha_rt.errors import InstallationError, ModelError, NoManifestError
from captcha_rt.model import GENERAL, load_model

GROUP: Final = "captcha_rt.descriptions"
"""The entry-point group of the function `describe(path)` of captcha-rt-export; it returns None for
what is no model of another program."""


def info(
    model: Annotated[
        Path | None, typer.Argument(help="A .onnx file; by default the small embedded one.")
    ] = None,
    as_json: JsonOption = False,
    card: Annotated[bool, typer.Option("--card", help="Print the model card.")] = False,
) -> None:
    """Show the description of a model, also of one of Keras or another that `export` takes."""
    try:
        loaded = load_model(model)
    except ModelError as error:
        described = None if model is None else _describe(model, error)
        if model is None or described is None:
            raise
        if card:
            fail(f"{model} has no card: captcha-rt export makes a model with one", USAGE)
        _show(described, model, as_json=as_json)
        return
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


def _describe(model: Path, error: ModelError) -> dict[str, Any] | None:
    """Describes a model of another program, by captcha-rt-export.

    Args:
        model: A file or a folder.
        error: Why it is no model of captcha-rt.

    Returns:
        The description; None for what is no such model either.
    """
    if not (isinstance(error, NoManifestError) or model.is_dir()):
        return None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow is loaded
    for entry in entry_points(group=GROUP, name="describe"):
        described: dict[str, Any] | None = entry.load()(model)
        return described
    raise InstallationError(
        f"{error}; captcha-rt-export describes models of other programs: "
        f"{from_checkout('captcha-rt-export')}"
    ) from error


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
    typer.echo(f"next: captcha-rt export {quote(str(model))} --pictures FOLDER -o model.onnx")
