"""The short language for recipes, and recipes of presets and models."""

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from captcha_rt import Recipe
from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.candidates import candidates
from captcha_rt_export.foreign.recipes import GROUP, in_short, parse_recipe, recipe_like


@pytest.mark.parametrize(
    ("short", "steps"),
    [
        (
            "grey,scale,resize:50x200,transpose",
            [
                {"step": "grey"},
                {"step": "scale"},
                {"step": "resize", "height": 50, "width": 200},
                {"step": "transpose"},
            ],
        ),
        ("crop:25x0x125x50", [{"step": "crop", "x": 25, "y": 0, "width": 125, "height": 50}]),
        ("threshold:100:inverted=false", [{"step": "threshold", "level": 100, "inverted": False}]),
        (
            "grey:over_white, stretch:-1:1",
            [{"step": "grey", "over_white": True}, {"step": "stretch"}],
        ),
        (
            "normalize:mean=0.5/0.4/0.3:std=0.1",
            [{"step": "normalize", "mean": [0.5, 0.4, 0.3], "std": 0.1}],
        ),
        ("dilate:3:2", [{"step": "dilate", "size": 3, "iterations": 2}]),
        ("remove_artifacts:filled=null", [{"step": "remove_artifacts"}]),
        ("frames:pick=darkest", [{"step": "frames", "pick": "darkest"}]),
    ],
)
def test_the_language_says_steps_with_settings(short: str, steps: list[dict[str, object]]) -> None:
    """A recipe in short is the recipe in JSON; written in short again it is the same."""
    recipe = parse_recipe(short)
    assert recipe == Recipe.from_json(steps)
    assert parse_recipe(in_short(recipe)) == recipe


@pytest.mark.parametrize(
    ("short", "message"),
    [
        ("", "names no step; for example: --recipe grey,scale"),
        ("resice:1x2", "unknown step 'resice'; did you mean resize? Known: frames, grey"),
        ("resize:1x2x3", "step 'resize' takes height, width; '1x2x3' is too much"),
        ("transpose:1", "step 'transpose' takes no settings; '1' is too much"),
        ("resize:hoch=1", "step 'resize' takes height, width, not 'hoch'"),
        ("resize:0x5", "a side is 1 to 32767 pixels, not 0"),
        ("threshold:level=dark", "level is a whole number in 0..255, not 'dark'"),
        ("no-such.toml", "can't read the file"),
    ],
)
def test_errors_name_what_there_is(short: str, message: str) -> None:
    """A message names the step, what it takes, and what was written."""
    with pytest.raises(ExportError) as error:
        parse_recipe(short)
    assert message in str(error.value)


def test_a_toml_file_holds_a_recipe_as_presets_do(tmp_path: Path) -> None:
    """The key `recipe` counts, other keys don't; a file without it is refused."""
    file = tmp_path / "my.toml"
    file.write_text('network = "crnn"\nrecipe = [{ step = "grey" }, { step = "scale" }]\n')
    assert parse_recipe(str(file)) == recipe_like(str(file)) == parse_recipe("grey,scale")
    file.write_text('network = "crnn"\n')
    with pytest.raises(ExportError, match="has no recipe; a preset holds one as recipe = "):
        parse_recipe(str(file))


def test_a_recipe_like_that_of_a_model(stripes: Path) -> None:
    """`--like model.onnx` takes a model's recipe."""
    assert in_short(recipe_like(str(stripes))) == "grey,scale,resize:4x16,transpose"


@pytest.mark.skipif(not entry_points(group=GROUP), reason="presets come with captcha-rt-train")
def test_a_recipe_like_that_of_a_preset() -> None:
    """`--like crnn` takes a preset's recipe; an unknown one is named with those that there are."""
    short = "grey:over_white,scale,resize:50x200,transpose"
    assert in_short(recipe_like("crnn")) == short
    with pytest.raises(ExportError, match="no preset 'crn'; there are: compact, crnn"):
        recipe_like("crn")


def test_every_recipe_that_is_tried_makes_the_input() -> None:
    """Whatever is tried has the shape that the network takes."""
    for shape in ((50, 200, 1), (200, 50, 3), (1, 32, 100), (3, 32, 100), (64, 64, 1)):
        for short in candidates(shape):
            assert parse_recipe(short).fixed_shape() == shape, short
    for short in candidates((28, 20, 1), glyphs=6):
        assert parse_recipe(short).fixed_shape() == (6, 28, 20, 1)
