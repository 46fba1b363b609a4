"""The command `captcha-rt deploy`."""

from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

import typer

from captcha_rt.cli.options import ModelOption
from captcha_rt.deploy.triton import check_name, write_triton
from captcha_rt.labels import pictures_of
from captcha_rt.model import load_model
from captcha_rt.session import MAX_THREADS


def deploy(
    engine: Annotated[
        Literal["triton"],
        typer.Argument(metavar="triton", help="What serves the model: NVIDIA's Triton."),
    ],
    repository: Annotated[
        Path,
        typer.Argument(
            metavar="REPOSITORY", help="The model repository, a folder; it is made if needed."
        ),
    ],
    model: ModelOption = None,
    name: Annotated[
        str | None, typer.Option(help="The name that clients ask for; by default the model's.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="A folder of pictures that the model reads, to check on.")
    ] = None,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where the model runs.")] = "cpu",
    instances: Annotated[
        int, typer.Option(min=1, max=MAX_THREADS, help="Processes; on CUDA, for each GPU.")
    ] = 1,
) -> None:
    """Write a model into a model repository of NVIDIA's Triton, which then answers as `serve`."""
    loaded = None if model is None else load_model(model)
    name = name or ("default" if loaded is None else loaded.manifest.name)
    try:
        check_name(name)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; --name gives it another name") from None
    files = [] if pictures is None else list(pictures_of(pictures))
    out = repository / name
    write_triton(out, loaded, files, device=device, instances=instances)
    typer.echo(f"{out}: for {engine}")
    if files:
        typer.echo(f"checked: its model.py reads {len(files)} pictures as captcha-rt does")
    else:
        typer.echo("checked: its model.py answers; --pictures FOLDER compares what it reads")
    typer.echo(f"next: tritonserver --model-repository {quote(str(repository))}")
