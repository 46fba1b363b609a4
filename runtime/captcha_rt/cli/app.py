"""The program `captcha-rt`: the table of its commands, and what all of them have in common.

A command is a plain function with Typer's annotations. The function has the command's name, and its
docstring is the help text. A new command of the runtime is a module in this folder and a row in
`COMMANDS`. Another distribution adds such functions through the entry-point group
`captcha_rt.commands`. A command's module is only imported when the command is used.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer
from typer.core import TyperGroup

import captcha_rt
from captcha_rt.cli.interrupts import INTERRUPTED, raise_interrupts
from captcha_rt.cli.lean import make_lean, without_garbage_collection
from captcha_rt.cli.output import BROKEN_PIPE, MODEL, USAGE, fail, from_checkout
from captcha_rt.errors import (
    CaptchaRTError,
    InstallationError,
    ModelError,
    ProviderError,
    WorkerError,
)

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

GROUP: Final = "captcha_rt.commands"
"""The entry-point group of the commands of other distributions."""


class Origin(NamedTuple):
    """Where a command comes from.

    Attributes:
        distribution: The distribution to install.
        module: The module with the function; None if the distribution's entry point names it.
    """

    distribution: str
    module: str | None = None


COMMANDS: Final = {
    "solve": Origin("captcha-rt", "captcha_rt.cli.solve"),
    "evaluate": Origin("captcha-rt", "captcha_rt.cli.evaluate"),
    "bench": Origin("captcha-rt", "captcha_rt.cli.bench"),
    "explain": Origin("captcha-rt", "captcha_rt.cli.explain"),
    "info": Origin("captcha-rt", "captcha_rt.cli.info"),
    "doctor": Origin("captcha-rt", "captcha_rt.cli.doctor"),
    "serve": Origin("captcha-rt", "captcha_rt.cli.serve"),
    "deploy": Origin("captcha-rt", "captcha_rt.cli.deploy"),
    "dataset": Origin("captcha-rt-train"),
    "export": Origin("captcha-rt-export"),
    "fonts": Origin("captcha-rt-train"),
    "label": Origin("captcha-rt-train"),
    "pretrain": Origin("captcha-rt-train"),
    "samples": Origin("captcha-rt-train"),
    "suspects": Origin("captcha-rt-train"),
    "train": Origin("captcha-rt-train"),
}
"""All commands by name. The help lists those of the runtime in this order."""


def to_command(name: str, function: Callable[..., None], ctx: Any) -> Any:  # noqa: ANN401  (Click's)
    """Makes a command from a function.

    Args:
        name: The command's name.
        function: A function with Typer's annotations; its docstring is the help text.
        ctx: Click's context of the program.

    Returns:
        Click's command.
    """
    typed = typer.Typer(add_completion=False, rich_markup_mode=None)
    typed.command(name)(function)
    command = typer.main.get_command(typed)
    make_lean(command, ctx)
    return command


class Commands(TyperGroup):
    """Finds the commands, and turns errors into one line on stderr and an exit code."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401  (Click's types)
        """Imports a command: one of the runtime, or one that an entry point names."""
        origin = COMMANDS.get(cmd_name)
        if origin is not None and origin.module is not None:
            return to_command(cmd_name, _import_function(origin.module, cmd_name), ctx)
        for entry in _entry_points():
            if entry.name == cmd_name:
                return to_command(cmd_name, entry.load(), ctx)
        if origin is not None:
            fail(
                f"`captcha-rt {cmd_name}` is part of {origin.distribution}: "
                f"{from_checkout(origin.distribution)}",
                USAGE,
            )
        return None

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002
        """Lists the runtime's commands, then those of the other installed distributions."""
        own = [name for name, origin in COMMANDS.items() if origin.module is not None]
        return [*own, *sorted({entry.name for entry in _entry_points()} - {*own})]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Parses the options that come before a command."""
        make_lean(self, ctx)
        with _errors_as_lines():  # --help prints here
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Finds the command. Its modules are loaded then: from now on it can be interrupted."""
        found = super().resolve_command(ctx, args)
        raise_interrupts()
        return found

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Runs a command."""
        with _errors_as_lines():
            return super().invoke(ctx)


def _entry_points() -> "EntryPoints":
    """The commands of other distributions; to look for them takes 10 ms that `solve` doesn't."""
    from importlib.metadata import entry_points

    return entry_points(group=GROUP)


@contextmanager
def _errors_as_lines() -> Iterator[None]:
    """Ends the program with an exit code and, on stderr, one line, if there is an error."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        _drop_output()
        raise typer.Exit(BROKEN_PIPE) from None
    except (ModelError, ProviderError, InstallationError, WorkerError) as error:
        fail(str(error), MODEL)
    except OSError as error:
        if error.filename is not None:  # of two names, as of a copy, the second is the one written
            fail(f"{error.filename2 or error.filename}: {error.strerror or error}", USAGE)
        _drop_output()
        fail(f"can't write the output: {error.strerror or error}", USAGE)
    except CaptchaRTError as error:
        fail(str(error), USAGE)


def _drop_output() -> None:
    """Sends what is left of the output nowhere; otherwise Python fails to write it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _import_function(module: str, name: str) -> Callable[..., None]:
    """Imports the function of a command of the runtime."""
    with without_garbage_collection():
        function: Callable[..., None] = getattr(import_module(module), name)
    return function


app = typer.Typer(
    name="captcha-rt",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Reads text captchas.",
    epilog=(
        "Exit codes: 0 all read, 1 some pictures could not be read or the network has learned "
        "nothing, 2 wrong usage, a file or folder that can't be used, or output that can't be "
        "written, 3 the model, its provider or the installation failed, 4 some answers were empty "
        "or below the smallest confidence, 130 stopped by Ctrl-C, 141 nobody read the output."
    ),
)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Takes the options that come before a command."""
    if version:
        typer.echo(f"captcha-rt {captcha_rt.__version__}")
        raise typer.Exit
