"""The command `captcha-rt samples`."""

from pathlib import Path
from typing import Annotated

import typer


def samples(
    folder: Annotated[
        Path, typer.Argument(help="The folder to write to; it is created if needed.")
    ],
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="The number of pictures.")
    ] = 10,
    seed: Annotated[
        int, typer.Option(min=0, help="The seed; the same seed draws the same pictures.")
    ] = 0,
) -> None:
    """Draw labelled pictures of captcha_v2's kind."""
    from captcha_rt_train.generators.kaptcha import write_samples

    for path in write_samples(folder, count, seed):
        typer.echo(path)
