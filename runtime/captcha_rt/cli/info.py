"""The command `captcha-rt info`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from captcha_rt.cli.options import JsonOption
from captcha_rt.cli.output import to_json
from captcha_rt.diagnostics.card import model_card
from captcha_rt.model import GENERAL, load_model


def info(
    model: Annotated[
        Path | None, typer.Argument(help="A .onnx file; by default the small embedded one.")
    ] = None,
    as_json: JsonOption = False,
    card: Annotated[bool, typer.Option("--card", help="Print the model card.")] = False,
) -> None:
    """Show the description of a model."""
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
