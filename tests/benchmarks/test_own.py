"""The command `own`: the kinds, their folders, the rows and the tables. Nothing is trained here."""

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("resource", reason="the rows hold CPU time")
pytest.importorskip("captcha_rt_train", reason="the benchmarks need training and export")

from benchmarks.accuracy import own, own_kinds, own_runs
from benchmarks.accuracy.own_tables import table
from benchmarks.harness import RESULTS, SAMPLES, read_json
from benchmarks.peers import generators
from captcha_rt.labels import read_labels
from captcha_rt.metrics import Prediction

PICTURES = [(path, path.stem) for path in SAMPLES]

# Stands for `captcha-rt`: "trains" in no time a model that reads the samples, and suspects
# the first two pictures of a folder.
PROGRAM = """
import json, pathlib, shutil, sys
from captcha_rt.model import EMBEDDED
command, folder, _, out = sys.argv[1:5]
names = sorted(path.name for path in pathlib.Path(folder).glob("*.png"))
with open(pathlib.Path(__file__).with_name("calls"), "a") as calls:
    print(command, len(names), *sys.argv[5:], file=calls)
if command == "suspects":
    print(json.dumps([{"picture": name} for name in names[:2]]))
elif "--fail" in sys.argv:
    sys.exit("no such thing")
else:
    pathlib.Path(out).mkdir()
    shutil.copy(EMBEDDED, pathlib.Path(out, "model.onnx"))
"""


# Stands for trek-captcha: takes its random numbers from the same two functions.
PACKAGE = """
const { randomBytes } = require("crypto");
module.exports = () => new Promise((done) => randomBytes(5, (_, buffer) => {
  done({ token: `${Math.floor(Math.random() * 1e6)}:${buffer.toString("hex")}`, buffer });
}));
"""


@pytest.fixture
def bench(tmp_path: Path) -> own_runs.Bench:
    """Runs `PROGRAM` in place of `captcha-rt`."""
    (tmp_path / "program.py").write_text(PROGRAM)
    program = (sys.executable, str(tmp_path / "program.py"))
    return own_runs.Bench(tmp_path / "runs", tmp_path / "own.json", program=program)


def calls(bench: own_runs.Bench) -> list[str]:
    """The calls of the program."""
    file = bench.results.with_name("calls")
    return file.read_text().splitlines() if file.exists() else []


def a_kind(pool: Sequence[tuple[Path, str]] = PICTURES) -> own_kinds.Kind:
    """A kind whose pictures the embedded model reads."""
    return own_kinds.Kind("samples", "drawn", pool, PICTURES)


def samples(count: int) -> list[tuple[Path, str]]:
    """Names of pictures that don't exist, with texts of digits."""
    return [(Path(f"{n:04}.png"), f"{n * 7919 % 10000:04}") for n in range(count)]


def test_a_split_is_the_same_each_time() -> None:
    """Pool and test share nothing; another seed splits in another way."""
    kind = own_kinds.split("a", "drawn", samples(100), 30)
    assert kind == own_kinds.split("a", "drawn", samples(100), 30)
    assert kind != own_kinds.split("a", "drawn", samples(100), 30, seed=1)
    assert (len(kind.pool), len(kind.test)) == (70, 30)
    assert sorted([*kind.pool, *kind.test]) == samples(100)


def test_subsets_are_nested_or_chosen_by_a_seed() -> None:
    """None is larger than the pool."""
    kind = own_kinds.split("a", "drawn", samples(100), 30)
    assert kind.subset(50)[:20] == kind.subset(20)
    assert kind.subset(20, seed=3) == kind.subset(20, seed=3) != kind.subset(20, seed=4)
    assert {*kind.subset(20, seed=3)} <= {*kind.pool}
    assert len(kind.subset(500)) == len(kind.subset(500, seed=1)) == 70


def test_wrong_labels_differ_in_one_character() -> None:
    """As many as asked for, the same each time, with characters of the charset."""
    right = dict(samples(200))
    wrong = own_kinds.wrong_labels(samples(200), 0.5)
    assert wrong == own_kinds.wrong_labels(samples(200), 0.5)
    assert wrong != own_kinds.wrong_labels(samples(200), 0.5, seed=1)
    assert len(wrong) == 100
    for path, text in wrong.items():
        assert text.isdecimal()
        assert sum(a != b for a, b in zip(text, right[path], strict=True)) == 1


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (["ab", "cd"], True),
        (["ab", "ab"], False),
        (["ab", "AB"], False),
        (["1+2=", "3"], False),
    ],
    ids=["different", "twice", "case", "signs"],
)
def test_a_folder_reads_as_it_was_written(tmp_path: Path, texts: list[str], named: bool) -> None:
    """Files have texts as names where they can; otherwise a label file holds the texts."""
    pictures = [(path, text) for (path, _), text in zip(PICTURES, texts, strict=False)]
    folder = tmp_path / "folder"
    own_kinds.write_folder(PICTURES, folder)
    own_kinds.write_folder(pictures, folder)  # leaves nothing of what was there
    assert (folder / "labels.csv").exists() is not named
    found = read_labels(folder, "stem" if named else "labels.csv")
    assert sorted(text for _, text in found.items) == sorted(texts)


def test_wrong_labels_are_in_a_label_file(tmp_path: Path) -> None:
    """The other pictures keep their labels."""
    folder = tmp_path / "folder"
    own_kinds.write_folder(PICTURES, folder, {PICTURES[0][0]: "wrong"})
    found = {path.name: text for path, text in read_labels(folder).items}
    assert found == {path.name: text for path, text in PICTURES} | {PICTURES[0][0].name: "wrong"}


def test_a_row_holds_accuracy_and_cost(bench: own_runs.Bench) -> None:
    """The embedded model reads all samples; the row says what the run says of itself."""
    row = own.measure_size(bench, a_kind(), 50)
    assert (row["kind"], row["pictures"]) == ("samples", len(PICTURES))
    assert row["exact_match"] == row["case_ignored"] == 1
    assert row["right"] == row["test"] == len(PICTURES)
    assert not row["plateau"]
    assert row["target"] is None  # for so few pictures
    assert min(row[name] for name in ("seconds", "cpu_seconds", "cpu_ms")) > 0
    assert row["bytes"] > 10_000
    assert row["charset"] > 30
    assert all(
        {"pictures", "exact_match", "interval"} == said.keys() for said in row["said"].values()
    )
    assert read_json(bench.results)["sizes"][f"samples {len(PICTURES)}"] == row


def test_what_stands_in_the_file_is_not_measured_again(bench: own_runs.Bench) -> None:
    """`again` measures each row once more, not more often; a row that failed is measured again."""
    own.measure_size(bench, a_kind(), 50)
    own.measure_size(bench, a_kind(), 50)
    assert len(calls(bench)) == 1
    again = own_runs.Bench(bench.runs, bench.results, again=True, program=bench.program)
    own.measure_size(again, a_kind(), 50)
    own.measure_size(again, a_kind(), 50)
    assert len(calls(bench)) == 2
    failing = own_runs.Bench(bench.runs, bench.results, ("--fail",), program=bench.program)
    row = own.measure_seed(failing, a_kind(), 0)
    assert row["failed"] == "exit code 1: no such thing"
    assert "plateau" in own.measure_seed(bench, a_kind(), 0)
    assert calls(bench)[2:] == [f"train {len(PICTURES)} --fail", f"train {len(PICTURES)}"]


def test_only_the_time_is_measured_again(
    bench: own_runs.Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--retime` trains nothing; a row whose run is gone keeps its time."""
    before = own.measure_size(bench, a_kind(), 3)
    trained = calls(bench)
    bench.write("sizes", "samples 3", before | {"cpu_ms": -1})
    bench.write("sizes", "samples 2", before | {"cpu_ms": -1})
    own.retime_sizes(bench, [a_kind()])
    after = bench.read()["sizes"]
    assert after["samples 3"]["cpu_ms"] > 0
    assert after["samples 3"] == before | {
        name: after["samples 3"][name] for name in ("cpu_ms", "timed")
    }
    assert after["samples 2"]["cpu_ms"] == -1
    assert "samples 2: no run to time" in capsys.readouterr().err
    assert calls(bench) == trained


def test_the_suspects_are_counted(bench: own_runs.Bench) -> None:
    """The program suspects the first two pictures: one is wrong, the other is a false alarm."""
    first, _, third, *_ = sorted(path for path, _ in PICTURES)
    row = own_runs.find_suspects(bench, "key", a_kind(), PICTURES, {first: "x", third: "y"})
    assert (row["wrong"], row["found"], row["false_alarms"]) == (2, 1, 1)
    texts = {text for _, text in read_labels(bench.folder("folders", "key")).items}
    assert {"x", "y"} < texts


def test_wrong_labels_are_measured_against_right_ones(
    bench: own_runs.Bench, tmp_path: Path
) -> None:
    """The run on right labels is that of the sizes; each row is measured once."""
    many = [
        (shutil.copy(path, tmp_path / f"{path.stem}-{n}.png"), text)
        for path, text in PICTURES
        for n in range(20)
    ]
    for _ in range(2):
        own.measure_noise(bench, a_kind(many), 0.2)
    result = read_json(bench.results)
    assert result["suspects"]["samples 0.2 wrong"]["wrong"] == round(len(many) * 0.2)
    assert result["noise"]["samples 0.2 wrong"]["exact_match"] == 1
    assert [*result["sizes"]] == [f"samples {len(many)}"]
    assert [call.split()[0] for call in calls(bench)] == ["train", "train", "suspects"]


def predictions(*texts: str) -> list[Prediction]:
    """Predictions of the truth `ab` each."""
    return [Prediction(f"{i}.png", "ab", text, 1.0) for i, text in enumerate(texts)]


def test_a_model_on_the_plateau_is_seen() -> None:
    """It answers nothing, the same everywhere, or nothing that is right."""
    assert own_runs.score(predictions("", "", ""))["plateau"]
    assert own_runs.score(predictions("x", "x", "x"))["plateau"]
    assert own_runs.score(predictions("x", "y", "z"))["plateau"]
    row = own_runs.score(predictions("ab", "AB", "z"))
    assert not row["plateau"]
    assert (row["right"], row["test"], row["answers"]) == (1, 3, 3)
    assert (row["exact_match"], row["case_ignored"]) == (0.3333, 0.6667)
    assert row["interval"][0] < row["exact_match"] < row["interval"][1]
    assert row["misread"] == [["1.png", "ab", "AB"], ["2.png", "ab", "z"]]


def test_the_target_depends_on_pictures_and_charset() -> None:
    """Between two sizes that of the smaller one holds; below all of them there is none."""
    assert own_runs.wanted(49, 10) == {"target": None}
    assert own_runs.wanted(50, 30) == {"target": 0.75}
    assert own_runs.wanted(80, 31) == {"target": 0.6}
    assert own_runs.wanted(200, 10) == {"target": 0.93}
    assert own_runs.wanted(1000, 31) == {"target": 0.95}


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_scaled_picture_keeps_its_colours(tmp_path: Path, channels: int) -> None:
    """Alpha included; the file is a PNG of one size for all kinds."""
    pixels = np.zeros((20, 40, channels), np.uint8)
    pixels[..., 0] = 200  # blue, as OpenCV writes it, or grey
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    file = np.frombuffer(own_runs.scaled_png(tmp_path / "a.png"), np.uint8)
    found = cv2.imdecode(file, cv2.IMREAD_UNCHANGED).reshape(60, 200, channels)
    assert (found[30, 100] == pixels[0, 0]).all()


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js")
def test_npm_packages_draw_the_same_each_time(tmp_path: Path) -> None:
    """The script seeds `Math.random` and the random bytes of Node.js by each line."""
    package = tmp_path / "node_modules" / "trek-captcha"
    package.mkdir(parents=True)
    (package / "index.js").write_text(PACKAGE)
    drawn = subprocess.run(
        [str(shutil.which("node")), generators.SCRIPTS[1], "trek-captcha"],
        cwd=tmp_path,
        input="1\n2\n1\n",
        capture_output=True,
        text=True,
        check=True,
    )
    first, second, third = drawn.stdout.splitlines()
    assert first == third != second
    text, _, file = first.partition(" ")
    assert base64.b64decode(file).hex() == text.split(":")[1]


def small_result() -> dict:
    """Two kinds, with rows of each part."""
    row = {
        "kind": "png",
        "pictures": 50,
        "exact_match": 0.7,
        "interval": [0.6, 0.8],
        "target": 0.75,
        "plateau": False,
        "said": {"validation": {"pictures": 10, "exact_match": 0.8, "interval": [0.5, 0.9]}},
        "seconds": 90.0,
        "cpu_seconds": 180.0,
        "bytes": 1_500_000,
        "cpu_ms": 0.4,
    }
    kind = {
        "group": "drawn",
        "package": "png@1",
        "licence": "BSD",
        "characters": "0123",
        "lengths": [4, 8],
        "sizes": ["80 x 30", "100 x 30"],
        "untrained": 0.5,
    }
    real = {**kind, "group": "foreign", "lengths": [4, 4], "sizes": ["80 x 26"]}
    return {
        "kinds": {
            "png": kind,
            "tw80": {k: real[k] for k in real if k not in ("package", "licence")},
        },
        "missing": {"gone": {"missing": "there is no npm"}, "png": {"missing": "yesterday"}},
        "sizes": {
            "png 50": row,
            "png 200": {**row, "pictures": 200, "exact_match": 0.95, "target": 0.93},
            "tw80 50": {"kind": "tw80", "pictures": 50, "failed": "exit code 1: no"},
        },
        "seeds": {
            "png seed 0": row,
            "png seed 1": {**row, "exact_match": 0.0, "plateau": True},
        },
        "noise": {"png 0.02 wrong": {**row, "pictures": 200, "seconds": 660.0, "cpu_ms": 0.6}},
        "suspects": {
            "png 0.02 wrong": {"wrong": 20, "found": 17, "false_alarms": 3, "seconds": 60.0}
        },
    }


def test_the_tables_name_what_is_missed() -> None:
    """Each table has its rows; what failed or is missing has a line."""
    text = table(small_result())
    assert "| png | png@1 | BSD | 4 | 4 to 8 | 2 sizes | 50.0% |\n" in text
    assert "| tw80 | real pictures |  | 4 | 4 | 80 x 26 | 50.0% |\n" in text
    assert "| kind | characters | 50 pictures | 200 pictures |\n" in text
    assert "| png | 4 | 70.0% (below), 60.0% to 80.0% | 95.0%, 60.0% to 80.0% |\n" in text
    assert "| tw80 | 4 | failed |  |\n" in text
    assert "| png | 50 | 70.0% | 80.0% of 10 | 1.5 min | 3.0 min | 1.50 MB | 0.400 ms |\n" in text
    assert "\n- png 50: 70.0%, wanted 75%\n" in text
    assert "png 200:" not in text
    assert (
        "\n1 of 2 runs on 50 pictures end on the plateau; they read 0.0% to 70.0% right: " in text
    )
    assert "| png | 17 of 20 | 3 | 1.0 min | 95.0% | 70.0% | 25.0 |\n" in text
    assert "\n- png 0.02 wrong: 11.0 min, wanted 10\n" in text
    assert "\n- png 0.02 wrong: 0.600 ms a picture, wanted 0.5\n" in text
    assert "\n- png 0.02 wrong: 25.0 points lost, wanted 0.5\n" in text
    assert "\n- png 0.02 wrong: 17 of 20 found, 3 false alarms\n" in text
    assert "\n- gone: there is no npm\n- tw80 50: exit code 1: no\n" in text
    assert "yesterday" not in text


def test_the_tables_show_the_committed_result() -> None:
    """The result that the tests make up has no field that a measured one lacks."""
    measured = read_json(RESULTS / "own.json")
    for part in ("kinds", "sizes"):
        fields = {"failed"}.union(*measured[part].values())
        assert all(fields >= row.keys() for row in small_result()[part].values())
    text = table(measured)
    for row in measured["sizes"].values():
        assert f"| {row['kind']} | {row['pictures']:,} | {row['exact_match']:.1%} |" in text


def test_the_kinds_are_different_enough() -> None:
    """No package of `unseen` is among them; each names its licence."""
    assert not generators.HELD_BACK.keys() & generators.GENERATORS.keys()
    assert len(generators.HELD_BACK) >= 5
    assert all(generator.licence for generator in generators.HELD_BACK.values())


def test_an_unknown_kind_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message lists the kinds."""
    monkeypatch.setenv("CAPTCHA_DATA", str(tmp_path))
    with pytest.raises(SystemExit) as stopped:
        own.main(["nothing"], tmp_path, tmp_path)
    assert stopped.value.code == 2
    assert "no kind nothing; there are: claptcha, " in capsys.readouterr().err


def test_the_table_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the result file, without any picture."""
    (tmp_path / "own.json").write_text(json.dumps(small_result()))
    own.main(["--table"], tmp_path, tmp_path)
    assert capsys.readouterr().out == table(small_result())
