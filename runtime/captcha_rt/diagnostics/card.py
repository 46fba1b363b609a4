"""The model card: the description of a model as a page for people."""

from collections.abc import Mapping
from typing import Any, Final

from captcha_rt.manifest import Manifest
from captcha_rt.recipe import Recipe

_HELD_BACK: Final = (
    "Measured on pictures that the network was not trained on. Those of the part `validation` "
    "chose the best epoch; those of a part `test` were looked at once, at the end."
)
_BROUGHT: Final = (
    "Measured when the model was brought to captcha-rt; on which pictures this network learned is "
    "not known, and those that it learned from are read better than others."
)


def model_card(manifest: Manifest, size: int) -> str:
    """Writes a model card.

    Args:
        manifest: The description of the model.
        size: The size of the model file in bytes.

    Returns:
        Markdown.
    """
    parameters = manifest.training.get("parameters")
    lines = [
        f"# {manifest.name}",
        "",
        "Written by `captcha-rt info --card` from the description inside the model file.",
        "",
        f"- Reads: `{manifest.charset.characters}`",
        f"- Recipe: {in_words(manifest.recipe)}",
        f"- Decoder: {manifest.decoder} on {manifest.scores}, blank {manifest.charset.blank}",
        f"- Confidence: temperature {manifest.temperature}; `solve` rejects what is below "
        f"{manifest.min_confidence}",
        f"- Input: `{manifest.input.name}` {_shape(manifest.input.shape)}; "
        f"output: `{manifest.output.name}` {_shape(manifest.output.shape)}",
        f"- Size: {size:,} bytes" + (f", {parameters:,} parameters" if parameters else ""),
        f"- Licence: {manifest.licence}",
        "",
        "## Accuracy",
        "",
        _BROUGHT if "brought" in manifest.training else _HELD_BACK,
        "",
        "| part | pictures | exact match | 95 % interval | character error rate |",
        "|---|---|---|---|---|",
    ]
    lines += [_accuracy(part, measured) for part, measured in manifest.accuracy.items()]
    sources = manifest.training.get("sources", {})
    if sources:
        lines += ["", "## Data", "", "| source | what it is |", "|---|---|"]
        lines += [f"| {name} | {_value(source)} |" for name, source in sources.items()]
    lines += ["", "## Training", "", "| what | value |", "|---|---|"]
    lines += [
        f"| {name.replace('_', ' ')} | {_value(v)} |"
        for name, v in manifest.training.items()
        if name not in ("sources", "limits") and v not in ("", None)
    ]
    rejected = (
        f"What it reads with a confidence below {manifest.min_confidence} is better rejected, as "
        "`solve` does: most pictures of other kinds, and few of its own."
        if manifest.min_confidence
        else "It answers with some text for any other picture too: look at the confidence."
    )
    own = f"It reads pictures of the kinds that it was trained on. {rejected}"
    lines += ["", "## Limits", "", manifest.training.get("limits", own)]
    return "\n".join([*lines, ""])


def in_words(recipe: Recipe) -> str:
    """Describes a recipe on one line: each step with its settings, except settings that are off."""

    def step_in_words(step: Mapping[str, Any]) -> str:
        settings = ", ".join(f"{k} {v}" for k, v in step.items() if k != "step" and v is not False)
        return f"{step['step']} ({settings})" if settings else str(step["step"])

    return " → ".join(map(step_in_words, recipe.to_json()))


def _shape(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("N" if axis is None else str(axis) for axis in shape) + ")"


def _accuracy(part: str, measured: Mapping[str, Any]) -> str:
    low, high = measured["interval"]
    return (
        f"| {part} | {measured['pictures']} | {measured['exact_match']:.4f} | "
        f"{low:.4f} to {high:.4f} | {measured['character_error_rate']:.4f} |"
    )


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return str(value)
