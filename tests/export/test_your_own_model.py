"""docs/your-own-model.md, followed literally."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

from captcha_rt import load_model
from captcha_rt_export.cli.export import export
from captcha_rt_export.foreign.recipes import parse_recipe

DOCUMENT = (Path(__file__).parents[2] / "docs/your-own-model.md").read_text("utf-8")


def test_the_notebooks_model_becomes_a_file_that_reads(tmp_path: Path) -> None:
    """The notebook runs, and the commands after it print what the document shows."""
    section = DOCUMENT.partition("## An example")[2].partition("\n## ")[0]
    [notebook] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (tmp_path / "notebook.py").write_text(notebook)
    commands = re.findall(r"^\$ captcha-rt (.*)$", section, re.MULTILINE)
    assert len(commands) == 3
    programs = [["notebook.py"], *(["-m", "captcha_rt", *line.split()] for line in commands)]
    printed = ""
    for program in programs:
        result = subprocess.run(
            [sys.executable, *program], check=False, cwd=tmp_path, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        printed += result.stdout
    for line in re.findall(r"```text\n(.*?)```", section, re.DOTALL)[0].splitlines():
        shown = line.partition("…")[0]
        if "characters: " in line:  # their order is random
            shown = re.sub(r"\d{10}", "", line.partition(";")[0])
            order = load_model(tmp_path / "model.onnx").manifest.charset.characters
            shown += order
        assert shown in printed
    assert "exact match: 1.0000" in printed


def test_every_option_that_is_named_is_there() -> None:
    """Options in the document are those of the command, or of `info`, `solve` and `evaluate`."""
    options = {f"--{name.replace('_', '-')}" for name in inspect.signature(export).parameters}
    named = set(re.findall(r"--[a-z][a-z0-9-]+", DOCUMENT))
    assert named <= options | {"--card", "--model"}


def test_every_recipe_in_the_document_can_be_typed() -> None:
    """The recipes for what notebooks do are recipes."""
    table = DOCUMENT.partition("| in the notebook | steps |")[2].partition("\n\n")[0]
    recipes = re.findall(r"\| `([^`]*)` \|$", table, re.MULTILINE)
    assert len(recipes) == 6
    for recipe in recipes:
        assert parse_recipe(recipe).steps
