"""How people name a recipe: in a short language, in a TOML file, or as that of another model.

    grey,resize:50x200,scale,transpose
    rgb,resize:height=32:width=100,scale,normalize:mean=0.485/0.456/0.406:std=0.229/0.224/0.225

Steps stand in order, with a comma between them. Settings follow a colon each: `name=value`, a value
alone in the order of the settings, or the name of a switch alone, which turns it on. Whole numbers
with `x` between them are several settings in order, numbers with `/` between them are a list.
"""

import re
import tomllib
from dataclasses import fields
from difflib import get_close_matches
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from captcha_rt.errors import RecipeError
from captcha_rt.model import load_model
from captcha_rt.recipe import Recipe
from captcha_rt.steps import STEPS
from captcha_rt_export.errors import ExportError

GROUP: Final = "captcha_rt.presets"
"""The entry-point group of functions from a preset's name to the text of its TOML file."""

EXAMPLE: Final = "grey,scale,resize:50x200,transpose"


def parse_recipe(text: str) -> Recipe:
    """Reads a recipe in the short language, or from a TOML file that holds one as presets do.

    Raises:
        ExportError: If a step or setting is unknown, or a value is none; the message names those
            that there are.
    """
    if text.endswith(".toml"):
        try:
            return _from_toml(Path(text).read_text("utf-8"), text)
        except (OSError, UnicodeDecodeError) as error:
            raise ExportError(f"--recipe {text}: can't read the file: {error}") from error
    steps = [_parse_step(step.strip()) for step in text.split(",") if step.strip()]
    if not steps:
        raise ExportError(f"--recipe names no step; for example: --recipe {EXAMPLE}")
    return _build(steps, f"--recipe {text}")


def recipe_like(name: str) -> Recipe:
    """Takes the recipe of a preset, of a preset's TOML file or of a model that captcha-rt wrote.

    Raises:
        ExportError: If there is no such preset or file.
        ModelError: If the model file can't be used.
    """
    if name.endswith(".onnx"):
        return load_model(name).manifest.recipe
    if name.endswith(".toml"):
        return parse_recipe(name)
    presets = next(iter(entry_points(group=GROUP)), None)
    if presets is None:
        raise ExportError(
            f"--like {name}: presets come with captcha-rt-train: pip install ./export ./train, in "
            f"a checkout of captcha-rt, or name the steps themselves, such as --recipe {EXAMPLE}"
        )
    try:
        text: str = presets.load()(name)
    except ValueError as error:
        raise ExportError(f"--like {name}: {error}") from error
    return _from_toml(text, name)


def in_short(recipe: Recipe) -> str:
    """Writes a recipe in the short language, which `parse_recipe` reads; defaults are left out."""
    return ",".join(_step_in_short(step) for step in recipe.to_json())


def _step_in_short(values: dict[str, Any]) -> str:
    rest = dict(values)
    name = rest.pop("step")
    if name in ("resize", "fit"):
        return f"{name}:{rest['height']}x{rest['width']}"
    defaults = {f.name: f.default for f in _settings(name)}
    changed = {key: value for key, value in rest.items() if value != defaults[key]}
    written = [key if v is True else f"{key}={_shown(v)}" for key, v in changed.items()]
    return ":".join([name, *written])


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return "/".join(map(_shown, value))
    words = {"True": "true", "False": "false", "None": "null"}
    return words.get(str(value), str(value))


def _from_toml(text: str, where: str) -> Recipe:
    try:
        steps = tomllib.loads(text)["recipe"]
    except KeyError:
        raise ExportError(
            f"{where} has no recipe; a preset holds one as "
            'recipe = [{ step = "grey" }, { step = "scale" }]'
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ExportError(f"{where} is no TOML: {error}") from error
    return _build(steps, where)


def _build(steps: list[dict[str, Any]], where: str) -> Recipe:
    try:
        return Recipe.from_json(steps)
    except RecipeError as error:
        raise ExportError(f"{where}: {error}") from error


def _settings(name: str) -> list[Any]:
    """The settings of a step, as fields of its dataclass."""
    made: Any = STEPS[name]
    built: Any = made.func if isinstance(made, partial) else made
    return [f for f in fields(built) if f.metadata.get("setting", True)]


def _parse_step(text: str) -> dict[str, Any]:
    """Reads `name:setting:setting`."""
    name, *given = text.split(":")
    if name not in STEPS:
        near = get_close_matches(name, STEPS, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ExportError(f"--recipe: unknown step {name!r}{meant} Known: {', '.join(STEPS)}")
    known = {f.name: f for f in _settings(name)}
    free = list(known)  # the settings that a value alone may still mean
    values: dict[str, Any] = {"step": name}
    for setting in given:
        key, equals, value = setting.partition("=")
        if equals:
            pairs = [(key, value)]
        elif key in known and isinstance(known[key].default, bool):
            pairs = [(key, "true")]
        else:
            parts = key.split("x") if re.fullmatch(r"\d+(x\d+)+", key) else [key]
            pairs = list(zip(free, parts, strict=False))
            if len(parts) > len(free) or not known:
                raise ExportError(f"--recipe: step {name!r} {_takes(known)}; {key!r} is too much")
        for key, value in pairs:
            if key not in known:
                raise ExportError(f"--recipe: step {name!r} {_takes(known)}, not {key!r}")
            values[key] = _value(value)
            free = [other for other in free if other != key]
    return values


def _takes(known: dict[str, Any]) -> str:
    return f"takes {', '.join(known)}" if known else "takes no settings"


def _value(text: str) -> Any:  # noqa: ANN401  (a setting's value)
    words = {"true": True, "false": False, "null": None}
    if text in words:
        return words[text]
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if "/" in text:
        return [_value(part) for part in text.split("/")]
    try:
        return float(text)
    except ValueError:
        return text
