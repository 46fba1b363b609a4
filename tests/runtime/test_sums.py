"""Sums such as `3+5=?`: their value beside the text."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captcha_rt import Charset, ManifestError, Solver, load_model
from captcha_rt.model import attach
from captcha_rt.sums import value_of


@pytest.fixture
def adder(stripes: Path, tmp_path: Path) -> Path:
    """The model of `stripes`, which reads `3`, `+` and `5` in place of `a`, `b` and `c`."""
    model = load_model(stripes)
    charset = replace(model.manifest.charset, characters="3+5")
    manifest = replace(model.manifest, charset=charset, arithmetic=True)
    path = tmp_path / "adder.onnx"
    path.write_bytes(attach(model.data[: model.manifest.graph.size], manifest))
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3+5=?", 8),
        ("12\u00d74=", 48),
        ("7-9", -2),
        ("10 - 3 = ?", 7),
        ("3x5=?", 15),
        ("8\u00f72=", 4),
        ("3\u52a05", 8),
        ("3+2*4=?", 11),
        ("2*3-4/2", 4),
        ("-3+5=", None),
        ("007+1=", 8),
    ],
)
def test_a_sum_has_a_value(text: str, value: int | None) -> None:
    """Signs of all kinds are known, and multiplication comes first."""
    assert value_of(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "3", "3+", "+5", "3x5", "3X5", "7/2=", "7/0=", "3+5=8", "a+b=", "3++5", "=?", "1.5+2=?"],
)
def test_what_is_no_sum_has_none(text: str) -> None:
    """A text of another kind, a remainder, or `3x5` without an equals sign gives no value."""
    assert value_of(text) is None


@given(st.lists(st.integers(0, 10**9 - 1), min_size=2, max_size=4), st.data())
def test_values_are_those_of_arithmetic(numbers: list[int], data: st.DataObject) -> None:
    """Of sums, differences and products the value is what Python gives."""
    signs = data.draw(st.lists(st.sampled_from("+-*"), min_size=3, max_size=3))
    text = str(numbers[0]) + "".join(f"{s}{n}" for s, n in zip(signs, numbers[1:], strict=False))
    assert value_of(text + "=?") == eval(text)  # noqa: S307


def test_a_model_of_sums_gives_text_and_value(adder: Path, stripes_array, call, tmp_path) -> None:
    """The value stands in the answer, in JSON, and with an option in place of the text."""
    picture = stripes_array("-aa--bb--cc-----")
    answer = Solver(adder).solve(picture)
    assert (answer.text, answer.value) == ("3+5", 8)
    file = tmp_path / "sum.png"
    file.write_bytes(_png(picture))
    told = json.loads(call("solve", file, "-m", adder, "--json").stdout)
    assert (told["text"], told["value"]) == ("3+5", 8)
    assert call("solve", file, "-m", adder).stdout == "3+5\n"
    assert call("solve", file, "-m", adder, "--evaluate-sum").stdout == "8\n"


def test_a_text_that_is_no_sum_is_an_error_where_one_is_asked_for(
    adder: Path, stripes: Path, stripes_array, call, tmp_path: Path
) -> None:
    """The line says what was read; the other pictures keep their values."""
    for name, columns in (("1.png", "-aa--bb--cc-----"), ("2.png", "-aa--bb---------")):
        (tmp_path / name).write_bytes(_png(stripes_array(columns)))
    result = call("solve", tmp_path / "*.png", "-m", adder, "--evaluate-sum")
    assert result.stdout == f"{tmp_path / '1.png'}\t8\n{tmp_path / '2.png'}\t\n"
    assert result.returncode == 1
    assert "2.png: read '3+', which is no sum" in result.stderr
    told = call("solve", tmp_path / "1.png", "-m", stripes, "--evaluate-sum", "--json").stdout
    assert json.loads(told)["error"]["type"] == "SumError"


def test_other_models_give_no_value(stripes: Path, stripes_array) -> None:
    """A model that wasn't trained on sums reads `3+5` as a text like any other."""
    assert Solver(stripes).solve(stripes_array("-aa--bb--cc-----")).value is None
    model = load_model(stripes)
    with pytest.raises(ManifestError, match="arithmetic is true or false, not 1"):
        replace(model.manifest, charset=Charset("3+5", 0), arithmetic=1)


def _png(picture) -> bytes:
    import cv2

    return cv2.imencode(".png", picture)[1].tobytes()
