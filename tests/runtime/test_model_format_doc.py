"""The programs and tables in `docs/model-format.md` are right; the programs run as they are."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from captcha_rt.decoders import DECODERS
from captcha_rt.manifest import Manifest
from captcha_rt.model import EMBEDDED, load_model
from captcha_rt.steps import STEPS

DOCUMENT = Path(__file__).parents[2] / "docs" / "model-format.md"
pytestmark = pytest.mark.skipif(
    not DOCUMENT.exists(), reason="docs/ is not there: these are the tests of an installed wheel"
)


@pytest.fixture(scope="module")
def programs() -> list[str]:
    """The document's blocks of Python, in order: the checksum alone, then the whole program."""
    return re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def names(programs: list[str]) -> dict[str, Any]:
    """What the programs define."""
    defined: dict[str, Any] = {}
    exec(programs[1].partition("\nfor path in")[0], defined)  # noqa: S102  (our own document)
    return defined


def test_the_program_names_the_models(programs: list[str], tmp_path: Path, stripes: Path) -> None:
    """The program runs as a script, with nothing but the standard library."""
    script = tmp_path / "verify.py"
    script.write_text(programs[1], "utf-8")
    command = [sys.executable, "-I", "-S", script, EMBEDDED, stripes]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert result.stdout.splitlines() == [f"{EMBEDDED} compact", f"{stripes} stripes"]


@pytest.mark.parametrize("name", ["stripes", "bars"])
def test_it_reads_what_the_runtime_reads(
    names: dict[str, Any], request: pytest.FixtureRequest, name: str
) -> None:
    """The program reads the description, and writes the same file again."""
    path: Path = request.getfixturevalue(name)
    model = path.read_bytes()
    description = names["verify"](model)
    assert description == json.loads(load_model(path).manifest.to_json())
    assert names["attach"](model[: description["graph"]["size"]], description) == model


def test_it_refuses_every_changed_byte_and_every_cut(names: dict[str, Any], stripes: Path) -> None:
    """A change anywhere in the file is refused."""
    model = stripes.read_bytes()
    for position in range(len(model)):
        damaged = bytearray(model)
        damaged[position] ^= 1
        with pytest.raises(ValueError, match="damaged"):
            names["verify"](bytes(damaged))
    for length in range(len(model)):
        with pytest.raises(ValueError, match="cut off"):
            names["verify"](model[:length])
    with pytest.raises(ValueError, match="changed"):
        names["verify"](model + b" ")


def test_the_checksum_takes_three_lines(programs: list[str], tmp_path: Path, stripes: Path) -> None:
    """They run as a script, and tell a whole file from one with a changed letter."""
    script, damaged = tmp_path / "checksum.py", tmp_path / "damaged.onnx"
    script.write_text(programs[0], "utf-8")
    assert len([*filter(None, programs[0].splitlines())]) == 3
    damaged.write_bytes(stripes.read_bytes().replace(b'"abc"', b'"abC"'))
    for model, answer in ((EMBEDDED, "whole"), (stripes, "whole"), (damaged, "damaged")):
        command = [sys.executable, "-I", "-S", script, model]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        assert result.stdout == f"{answer}\n"


def test_every_field_and_step_has_a_row() -> None:
    """The tables name every field, step and decoder."""
    text = DOCUMENT.read_text("utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.M))
    assert {field.name for field in fields(Manifest) if field.init} <= rows
    assert STEPS.keys() <= rows
    assert DECODERS.keys() <= rows
