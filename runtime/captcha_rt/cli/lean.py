"""Makes commands start faster: imports without garbage collection, and values without pydantic.

Typer 0.29 converts the values of all parameters with pydantic. Loading pydantic takes 180 ms of
CPU, half as much as everything else that `captcha-rt solve` does for one picture. This module
itself converts each text, number, choice or path that is plainly right, with the same result. Typer
still converts all other values, so that Typer's error messages stay.

For this, `make_lean` replaces the method `get_runtime_param` of each parameter, which is not
public. So `pyproject.toml` allows only the versions of Typer that were tested. Older versions have
no such method, and don't use pydantic. If a later version converts values elsewhere, the commands
still work, but start slower, and `test_solve_loads_only_what_it_needs` fails.

An empty path is refused on the way, with any version: as a `Path`, it would be the working folder.
"""

import gc
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Literal, get_args, get_origin

import typer

_NUMBERS: Final = {
    int: re.compile(r"0|[1-9][0-9]{0,8}"),
    float: re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?"),
}


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Switches garbage collection off, so that modules are imported faster.

    Modules stay until the program ends, so collections find no garbage among them, but take 35 ms
    of CPU, half of that at exit. At the end, collection is switched on again, and ignores the
    objects that exist by then.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def make_lean(command: Any, ctx: Any) -> None:  # noqa: ANN401  (Click's types move in Typer)
    """Makes a command convert the values of its parameters without pydantic where possible.

    Args:
        command: A command or group, as `typer.main.get_command` returns it.
        ctx: Click's context in which the command is called.
    """
    for parameter in command.get_params(ctx):  # unlike `params`, these include --help
        if hasattr(parameter, "get_runtime_param") and hasattr(parameter, "type_descriptor"):
            parameter.get_runtime_param = lambda: SimpleNamespace(coerce=_coerce)
        elif parameter.type.name == "path":  # of an older Typer
            parameter.type_cast_value = partial(_cast_path, parameter)


def _coerce(value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401
    """Converts a value from the command line, or a default, like Typer's `RuntimeParam.coerce`."""
    if value == param.default:
        return value
    kind, settings = param.type_descriptor.annotation, param.type_descriptor.parameter_info
    if kind is Path:
        _refuse_empty(value, param, ctx)
    if settings.parser is None and _is_plain(value, kind, settings):
        return kind(value) if kind in (int, float, Path) else value
    return type(param).get_runtime_param(param).coerce(value, param=param, ctx=ctx)


def _cast_path(parameter: Any, ctx: Any, value: Any) -> Any:  # noqa: ANN401
    """Converts a path like Click's `Parameter.type_cast_value`."""
    _refuse_empty(value, parameter, ctx)
    return type(parameter).type_cast_value(parameter, ctx, value)


def _refuse_empty(value: Any, parameter: Any, ctx: Any) -> None:  # noqa: ANN401
    """Refuses an empty path, which would be the working folder."""
    if value == "":
        raise typer.BadParameter("an empty path; is a variable not set?", ctx, parameter)


def _is_plain(value: Any, kind: Any, settings: Any) -> bool:  # noqa: ANN401
    """Whether a value is plainly right: converted by a call of its type, or as it is."""
    if not value:
        return False
    if kind in _NUMBERS:
        low, high = settings.min, settings.max
        return (
            isinstance(value, str)
            and _NUMBERS[kind].fullmatch(value) is not None
            and (low is None or low <= kind(value))
            and (high is None or kind(value) <= high)
        )
    if kind is Path:
        asks_more = settings.exists or settings.writable or settings.resolve_path
        any_kind = settings.file_okay and settings.dir_okay and settings.path_type is None
        return any_kind and not asks_more and os.access(value, os.R_OK)
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    return bool(kind in (str, list[str]))
