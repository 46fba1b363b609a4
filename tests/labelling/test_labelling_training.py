"""Training in the background while labels grow, with small programs in place of the training."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TRAINER = """
import json, os, shutil, sys, time
from dataclasses import replace
from pathlib import Path
from captcha_rt.labels import read_labels
from captcha_rt.model import load_model
what, notes, model = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
folder, run = Path(sys.argv[4]), Path(sys.argv[6])
labels = sys.argv[11] if len(sys.argv) > 11 else "auto"
count = len(read_labels(folder, labels).items)
note = {"pid": os.getpid(), "arguments": sys.argv[4:], "labels": count, "nice": os.nice(0)}
notes.write_text(json.dumps(note))
run.mkdir()
if what == "hang":
    time.sleep(600)
if what == "fail":
    sys.exit("some line\\ncaptcha-rt: no picture is left")
if what == "damaged":
    (run / "model.onnx").write_bytes(b"no model")
    sys.exit()
shutil.copy(model, run / "model.onnx")
if what != "silent":
    accuracy = {"validation": {"exact_match": float(what)}}
    manifest = replace(load_model(model).manifest, accuracy=accuracy)
    (run / "manifest.json").write_text(manifest.to_json())
"""
TEXTS = ["a", "b", "c", "ab", "ba", "ac", "ca", "bc", "cb", "abc"]


@pytest.fixture
def striped(tmp_path: Path, stripes_png) -> Path:
    """A folder of 70 pictures that the model `stripes` reads."""
    folder = tmp_path / "striped"
    folder.mkdir()
    for number in range(70):
        columns = "".join(f"--{character}-" for character in text_of(number)).ljust(16, "-")
        (folder / f"{number:02d}.png").write_bytes(stripes_png(columns))
    return folder


def text_of(number: int) -> str:
    """What a picture shows."""
    return TEXTS[number % len(TEXTS)]


@pytest.fixture
def train(start, striped: Path, stripes: Path, tmp_path: Path) -> Callable[..., Any]:
    """Starts a server whose training does as it is told."""
    program = tmp_path / "trainer.py"
    program.write_text(TRAINER)

    def begin(what: str, **options: Any) -> Any:
        line = [sys.executable, str(program), what, str(tmp_path / "notes.json"), str(stripes)]
        return start(striped, train=True, trainer=line, **options)

    return begin


def label(server, first: int, end: int, suffix: str = "") -> None:
    for number in range(first, end):
        assert server.label(number, text_of(number) + suffix)[0] == 200


def trained(state: dict[str, Any]) -> bool:
    learned = state["learned"]
    return learned["tried"] > 0 and not learned["running"]


def runs(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / ".captcha-rt").glob("run-*"))


def test_trained_model_makes_the_suggestions(train, striped, tmp_path) -> None:
    """At 30 labels a model is trained, and reads what is unlabelled; at 60 the next takes over."""
    server = train("0.83")
    server.wait_for(lambda state: state["left"] == 0)
    label(server, 0, 29)
    assert server.ask("/api/pictures")[1]["learned"]["tried"] == 0
    label(server, 29, 30)
    state = server.wait_for(lambda state: trained(state) and state["left"] == 0)
    assert state["learned"] == {
        "labels": 30,
        "accuracy": 0.83,
        "tried": 30,
        "running": False,
        "problem": "",
    }
    assert state["model"] == "the model trained on 30 labels"
    assert [p["reading"] for p in state["pictures"][30:]] == [text_of(n) for n in range(30, 70)]
    run = striped / ".captcha-rt" / "run-30"
    note = json.loads((tmp_path / "notes.json").read_text())
    assert note["arguments"] == [str(striped), "-o", str(run), "--minutes", "2", "--quiet"]
    assert (note["labels"], note["nice"]) == (30, min(os.nice(0) + 10, 19))
    server.kill()
    again = train("0.3")
    state = again.wait_for(lambda state: state["left"] == 0)
    assert (state["model"], state["learned"]["accuracy"]) == (
        "the model trained on 30 labels",
        0.83,
    )
    label(again, 30, 60, "x")  # the model reads none of these; what it was trained on doesn't count
    state = again.wait_for(lambda state: state["learned"]["labels"] == 60)
    assert runs(striped) == ["run-60"]
    assert "60 of 70 labelled" in again.interrupt()


@pytest.mark.parametrize(
    ("what", "problem"), [("fail", "no picture is left"), ("damaged", "model.onnx")]
)
def test_failed_training_is_a_line(train, striped, what: str, problem: str) -> None:
    """The page says why, and goes on with the suggestions that it has."""
    server = train(what)
    label(server, 0, 30)
    state = server.wait_for(trained)
    assert problem in state["learned"]["problem"]
    assert (state["learned"]["labels"], state["model"]) == (0, "compact, general")
    assert runs(striped) == []
    label(server, 30, 31)
    assert server.interrupt().startswith("31 of 70 labelled")


def test_worse_model_is_not_used(train, striped, stripes) -> None:
    """What reads fewer pictures than the suggestions so far doesn't replace them."""
    server = train("0.2", model=stripes)
    server.wait_for(lambda state: state["left"] == 0)
    label(server, 0, 30)
    state = server.wait_for(trained)
    assert state["learned"]["problem"] == (
        "it reads 20 % of the pictures held back; the suggestions so far are right in 100 %, and "
        "stay"
    )
    assert (state["model"], runs(striped)) == ("stripes", [])


def test_model_without_a_manifest_beside_it_is_used(train) -> None:
    """Then nothing is said of its accuracy."""
    server = train("silent")
    label(server, 0, 30)
    state = server.wait_for(trained)
    assert (state["learned"]["labels"], state["learned"]["accuracy"]) == (30, None)


def test_labels_in_another_place_are_named(train, tmp_path, striped) -> None:
    """The training reads the labels that the page shows."""
    (striped / "labels.csv").write_text("filename,label\n01.png,zzz\n")
    server = train("0.5", labels="none", out=tmp_path / "mine.csv")
    label(server, 0, 30)
    state = server.wait_for(trained)
    assert state["learned"]["problem"] == ""
    note = json.loads((tmp_path / "notes.json").read_text())
    assert note["arguments"][-2:] == ["--labels", str(tmp_path / "mine.csv")]
    assert note["labels"] == 30
    assert (striped / "labels.csv").read_text() == "filename,label\n01.png,zzz\n"
    assert (
        f"next: captcha-rt train {striped} --labels {tmp_path / 'mine.csv'}" in server.interrupt()
    )


@pytest.mark.parametrize("how", ["kill", "interrupt", "terminate"])
def test_training_ends_with_the_server(train, tmp_path, striped, how: str) -> None:
    """However the server ends; the next one trains again."""
    server = train("hang")
    label(server, 0, 30)
    notes = tmp_path / "notes.json"
    state = server.wait_for(lambda _: notes.exists() and notes.read_text().endswith("}"))
    assert state["learned"]["running"]
    getattr(server, how)()
    pid = json.loads(notes.read_text())["pid"]
    end = time.monotonic() + 5
    while is_alive(pid):
        assert time.monotonic() < end
        time.sleep(0.02)
    again = train("0.7")
    state = again.wait_for(trained)
    assert state["learned"]["labels"] == 30
    assert runs(striped) == ["run-30"]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but wasn't waited for doesn't."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_damaged_model_of_an_earlier_time_is_left_out(start, striped) -> None:
    """The page starts with the embedded models, as without one."""
    run = striped / ".captcha-rt" / "run-30"
    run.mkdir(parents=True)
    (run / "model.onnx").write_bytes(b"half of a model")
    server = start(striped)
    assert server.ask("/api/pictures")[1]["model"] == "compact, general"
    assert runs(striped) == []


def test_nothing_is_trained_if_not_asked(start, striped) -> None:
    """With `--no-train` labels don't start anything."""
    server = start(striped)
    label(server, 0, 31)
    assert server.ask("/api/pictures")[1]["learned"] is None
    assert runs(striped) == []
