"""The labelling page's server, as a real process."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import cv2
import numpy as np
import pytest

from captcha_rt.labels import read_labels


def rows_of(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8") as table:
        return list(csv.reader(table))


def put_into_an_archive(folder: Path) -> None:
    """In the folder's place, and with its name."""
    file = shutil.make_archive(str(folder.with_name("packed")), "zip", folder)
    shutil.rmtree(folder)
    Path(file).rename(folder)


def test_page_and_pictures_come_with_headers_that_keep_others_out(start, unlabelled) -> None:
    """The page's files, the pictures as PNG, and no caching, framing or inline scripts."""
    server = start(unlabelled)
    from captcha_rt_train.labelling.app import PAGE

    for path in PAGE:
        status, data, headers = server.ask(path)
        assert (status, bool(data)) == (200, True), path
        assert b"<script>" not in data
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    status, data, headers = server.ask("/picture/7")
    assert (status, headers["content-type"]) == (200, "image/png")
    served = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(served, cv2.imread(str(unlabelled / "0007.png"), cv2.IMREAD_UNCHANGED))
    assert server.ask("/picture/20")[0] == 404
    assert server.ask("/picture/..%2f..%2fetc%2fpasswd")[0] == 404


def test_strangers_are_refused(start, unlabelled) -> None:
    """Without the token, by another host name, or from another page nobody gets or changes."""
    server = start(unlabelled)
    body = {"place": 0, "version": 0, "label": "abcd"}
    for headers, why in (
        ({"X_Captcha_RT_Token": ""}, "token"),
        ({"X_Captcha_RT_Token": "x" * 32}, "token"),
        ({"X_Captcha_RT_Token": "", "Cookie": "captcha_rt_1=x; other"}, "token"),
        ({"Host": "captcha.example:80"}, "only for this machine"),
        ({"Host": "127.0.0.1.example:80"}, "only for this machine"),
        ({"Origin": "http://example.com"}, "Another page"),
        ({"Origin": "null"}, "Another page"),
        ({"Sec_Fetch_Site": "cross-site"}, "Another page"),
        ({"Sec_Fetch_Site": "same-site"}, "Another page"),
    ):
        for path in ("/", "/api/pictures", "/picture/0", "/api/label"):
            status, data, _ = server.ask(path, body if path == "/api/label" else None, **headers)
            assert status == 403, (path, headers)
            assert why in data.decode(), (path, headers)
    assert server.pictures()[0]["label"] is None
    assert not (unlabelled / "labels.csv").exists()


def test_first_visit_sets_a_cookie_that_lets_the_page_in(start, unlabelled) -> None:
    """The token in the address is enough once; the cookie is of this port, and not for scripts."""
    server = start(unlabelled)
    status, _, headers = server.ask(f"/?token={server.token}", X_Captcha_RT_Token="")
    assert status == 200
    cookie, *attributes = headers["set-cookie"].split("; ")
    assert cookie.startswith(f"captcha_rt_{server.port}=")
    assert {"HttpOnly", "SameSite=Strict"} <= {*attributes}
    own = {"X_Captcha_RT_Token": "", "Cookie": cookie, "Sec_Fetch_Site": "same-origin"}
    assert server.ask("/api/pictures", **own)[0] == 200
    origin = f"http://127.0.0.1:{server.port}"
    values = {"place": 0, "version": 0, "label": "abcd"}
    assert server.ask("/api/label", values, Origin=origin, **own)[0] == 200
    # The cookie of one server is not let in by another one.
    assert start(unlabelled.parent / copy_of(unlabelled)).ask("/api/pictures", **own)[0] == 403


def copy_of(folder: Path) -> str:
    shutil.copytree(folder, folder.parent / "copy", ignore=shutil.ignore_patterns(".captcha-rt"))
    return "copy"


def test_wrong_requests_change_nothing(start, unlabelled) -> None:
    """Each wrong request has its status and says why; the server goes on."""
    server = start(unlabelled)
    for values, expected in (
        (b"{", 400),
        (b"[1]", 400),
        (b"\xff", 400),
        (b"[" * 60_000, 400),
        (b'"' + b"a" * 70_000 + b'"', 413),
        ({"place": 0, "version": 0}, 400),
        ({"place": "0", "version": 0, "label": "a"}, 400),
        ({"place": True, "version": 0, "label": "a"}, 400),
        ({"place": -1, "version": 0, "label": "a"}, 404),
        ({"place": 20, "version": 0, "label": "a"}, 404),
        ({"place": 0, "version": 0, "label": "a\nb"}, 422),
        ({"place": 0, "version": 0, "label": "a" * 201}, 422),
        ({"place": 0, "version": 0, "label": "\ud800"}, 422),
        ({"place": 0, "version": 1, "label": "a"}, 409),
    ):
        status, body, _ = server.ask("/api/label", values)
        assert status == expected, values
        assert body["error"]
    assert server.ask("/api/label", b"{}", Content_Type="text/plain")[0] == 415
    assert server.ask("/api/changes?since=x")[0] == 400
    assert server.pictures()[0]["label"] is None


def test_killed_server_has_saved_every_label(start, unlabelled) -> None:
    """After a kill the labels, what is unreadable, and the number of labels are all there."""
    server = start(unlabelled)
    for place in range(10):
        status, _ = server.label(place, f"0{place}é" if place else "")
        assert status == 200
    server.kill()
    found = read_labels(unlabelled)
    assert [label for _, label in found.items] == [f"0{place}é" for place in range(1, 10)]
    assert rows_of(unlabelled / "labels.csv")[:3] == [
        ["filename", "label"],
        ["0000.png", ""],
        ["0001.png", "01é"],
    ]
    again = start(unlabelled)
    assert again.lines[0] == "labels: from labels.csv, columns filename and label; 9 of 20 pictures"
    labels = [picture["label"] for picture in again.pictures()]
    assert labels == ["", *(f"0{place}é" for place in range(1, 10)), *[None] * 10]


def test_killed_while_saving_leaves_a_whole_file(start, unlabelled) -> None:
    """A kill in the middle of many saves loses no label that was answered."""
    server = start(unlabelled)
    killer = subprocess.Popen(
        [sys.executable, "-c", f"import time, os; time.sleep(.8); os.kill({server.process.pid}, 9)"]
    )
    answered = []
    with suppress(OSError, HTTPException):  # the connection breaks in one of several ways
        for number in range(100_000):
            place = number % 20
            status, _ = server.label(place, f"n{number}", number // 20)
            assert status == 200
            answered.append((place, f"n{number}"))
    killer.wait()
    saved = {path.name: label for path, label in read_labels(unlabelled).items}
    last = dict(answered)
    late = [place for place, label in last.items() if saved[f"{place:04d}.png"] != label]
    assert len(answered) > 20
    assert len(late) <= 1  # saved, but killed before the answer
    assert start(unlabelled).label(0, "again")[0] == 200


def test_two_tabs_do_not_overwrite_each_other(start, unlabelled) -> None:
    """The second tab's label is refused, with the first one's; and each takes back its own."""
    server = start(unlabelled)
    assert server.label(3, "mine", tab="a")[0] == 200
    status, body = server.label(3, "yours", tab="b")
    assert status == 409
    assert (body["picture"]["label"], body["picture"]["version"]) == ("mine", 1)
    assert server.label(3, "yours", 1, tab="b")[0] == 200
    assert server.label(4, "other", tab="a")[0] == 200
    status, body, _ = server.ask("/api/undo", {"tab": "b"})
    assert (status, body["picture"]["label"]) == (200, "mine")
    status, body, _ = server.ask("/api/undo", {"tab": "a"})
    assert (body["picture"]["place"], body["picture"]["label"]) == (4, None)
    status, body, _ = server.ask("/api/undo", {"tab": "a"})  # all is as tab a left it
    assert (status, body["picture"]["label"]) == (200, None)
    assert server.label(5, "mine", tab="a")[0] == 200
    assert server.label(5, "yours", 1, tab="b")[0] == 200
    status, body, _ = server.ask("/api/undo", {"tab": "a"})
    assert (status, body["picture"]["label"]) == (409, "yours")


def test_second_process_is_refused(start, command, unlabelled) -> None:
    """One line that names the process; after a kill the folder is free."""
    server = start(unlabelled)
    second = command("label", unlabelled, "--no-open", timeout=30)
    assert second.returncode == 2
    assert f"is being labelled already by process {server.process.pid}" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    server.kill()
    start(unlabelled)


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit sets the limit of another process")
def test_full_disk_keeps_what_was_saved(start, unlabelled) -> None:
    """A save that fails says so and changes nothing; it works again once there is room."""
    import resource

    server = start(unlabelled)
    assert server.label(0, "kept")[0] == 200
    before = (unlabelled / "labels.csv").read_bytes()
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (10, limits[1]))
    for label in ("lost", ""):
        status, body = server.label(1, label)
        assert status == 507
        assert "can't save" in body["error"]
    assert server.ask("/api/undo", {})[0] == 507
    assert (unlabelled / "labels.csv").read_bytes() == before
    assert [p["label"] for p in server.pictures()[:2]] == ["kept", None]
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
    assert server.label(1, "saved")[0] == 200
    assert not [path for path in unlabelled.iterdir() if path.name.startswith(".partial")]


def test_removed_folder_is_said_and_may_come_back(start, unlabelled) -> None:
    """Saves and pictures fail with a reason; when the folder is back, all goes on."""
    server = start(unlabelled)
    assert server.label(0, "kept")[0] == 200
    away = unlabelled.rename(unlabelled.with_name("away"))
    status, body = server.label(1, "lost")
    assert (status, "can't save" in body["error"]) == (507, True)
    assert server.ask("/picture/1")[0] == 404
    away.rename(unlabelled)
    assert server.label(1, "saved")[0] == 200
    assert server.ask("/picture/1")[0] == 200
    assert len(read_labels(unlabelled).items) == 2


def test_folder_removed_for_good_ends_in_order(start, unlabelled) -> None:
    """Ctrl-C still ends the server with a line and 0."""
    server = start(unlabelled)
    server.label(0, "kept")
    shutil.rmtree(unlabelled)
    assert "1 of 20 labelled" in server.interrupt()
    assert server.process.returncode == 0


def test_other_programs_may_change_the_label_file(start, unlabelled) -> None:
    """What somebody else writes meanwhile is taken over; what is missing is written again."""
    server = start(unlabelled)
    server.label(0, "one")
    server.label(1, "two")
    (unlabelled / "labels.csv").write_text("filename,label,note\n0001.png,TWO,mended\n", "utf-8")
    assert server.label(2, "three")[0] == 200
    assert rows_of(unlabelled / "labels.csv") == [
        ["filename", "label", "note"],
        ["0001.png", "TWO", "mended"],
        ["0000.png", "one", ""],
        ["0002.png", "three", ""],
    ]
    assert server.label(1, "stale", 1)[0] == 409
    (unlabelled / "labels.csv").write_bytes(b"\xff\xfe\xff")
    status, body = server.label(3, "four")
    assert (status, "is not UTF-8" in body["error"]) == (507, True)
    (unlabelled / "labels.csv").unlink()
    assert server.label(3, "four")[0] == 200
    assert len(read_labels(unlabelled).items) == 4


def test_suggestions_come_and_suspects_are_found(start, drawn, tmp_path) -> None:
    """Each picture is read; a label that the reading contradicts is a suspect until checked."""
    folder = tmp_path / "named"
    folder.mkdir()
    for number, (label, path) in enumerate(drawn[:8]):
        shutil.copy(path, folder / f"{number}-{'zzzzz' if number == 3 else label}.png")
    server = start(folder, labels="stem-last")
    state = server.wait_for(lambda state: state["left"] == 0 and state["pictures"][7]["reading"])
    assert [p["place"] for p in state["pictures"] if p["suspect"]] == [3]
    assert state["model"] == "compact, general"
    assert server.label(3, "zzzzz")[1]["picture"]["checked"]
    assert not server.pictures()[3]["suspect"]
    server.kill()
    assert start(folder, labels="stem-last").pictures()[3]["checked"]


def test_listed_suspects_come_first(start, unlabelled, tmp_path) -> None:
    """The page begins with the suspects of a list, unless their labels were mended since."""
    (unlabelled / "labels.csv").write_text("filename,label\n0001.png,aaa\n0002.png,bbb\n")
    suspects = tmp_path / "suspects.csv"
    suspects.write_text(
        "data,picture,label,shown,confidence\n"
        "pictures,0001.png,aaa,aab,0.9\npictures,0002.png,old,new,0.8\nother,0002.png,bbb,x,0.7\n"
    )
    server = start(unlabelled, suspects=suspects)
    assert server.lines[1] == f"suspects: 1 of 2 from {suspects}"
    state = server.ask("/api/pictures")[1]
    assert state["view"] == "suspects"
    assert [p["reading"] for p in state["pictures"] if p["suspect"]][:1] == ["aab"]
    assert server.label(1, "aab")[1]["picture"]["suspect"] is False


def test_pictures_are_shown_as_the_reader_sees_them(start, tmp_path) -> None:
    """Alpha alone, BMP and animations are shown; SVG and HTML are never served."""
    alpha = np.zeros((20, 40, 4), np.uint8)
    alpha[5:15, 10:20, 3] = 255
    cv2.imwrite(str(tmp_path / "alpha.png"), alpha)
    cv2.imwrite(str(tmp_path / "white.png"), alpha | np.array([255, 255, 255, 0], np.uint8))
    cv2.imwrite(str(tmp_path / "picture.bmp"), alpha[:, :, 3])
    (tmp_path / "page.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'/><script/>")
    (tmp_path / "page.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "cut.png").write_bytes((tmp_path / "alpha.png").read_bytes()[:60])
    from PIL import Image

    frames = [Image.new("L", (40, 20), level) for level in (0, 255)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    server = start(tmp_path, labels="none")
    state = server.wait_for(lambda state: state["left"] == 0)
    places = {picture["name"]: picture["place"] for picture in state["pictures"]}
    assert "page.svg" not in places
    for name, ink in (("alpha.png", 0), ("white.png", 255), ("picture.bmp", 255)):
        status, data, headers = server.ask(f"/picture/{places[name]}")
        assert (status, headers["content-type"]) == (200, "image/png")
        served = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert (served[10, 15], served[0, 0]) == (ink, 255 - ink), name
    status, data, headers = server.ask(f"/picture/{places['moving.gif']}")
    assert (status, headers["content-type"]) == (200, "image/gif")
    for name in ("page.png", "cut.png"):
        status, data, headers = server.ask(f"/picture/{places[name]}")
        assert (status, headers["content-type"]) == (404, "application/json")
        assert b"script" not in repr(data).encode()
    problems = {p["name"]: bool(p["problem"]) for p in server.pictures()}
    assert problems == {name: name in ("page.png", "cut.png") for name in places}


def test_ctrl_c_says_what_to_type_next(start, unlabelled) -> None:
    """The last line counts the labels and names the next command; the exit code is 0."""
    server = start(unlabelled)
    server.label(0, "abcd")
    file = unlabelled / "labels.csv"
    expected = f"1 of 20 labelled, in {file}; next: captcha-rt train {unlabelled}\n"
    assert server.interrupt() == expected
    assert server.process.returncode == 0


def test_command_prints_and_opens_the_address(unlabelled, tmp_path) -> None:
    """The real command prints its address at once, and ends with 0 on Ctrl-C."""
    opened = tmp_path / "opened.txt"
    browser = tmp_path / "browser.py"
    browser.write_text(f"import sys; open({str(opened)!r}, 'w').write(sys.argv[1] + '.')")
    line = [sys.executable, "-m", "captcha_rt", "label", str(unlabelled), "--open"]
    environment = os.environ | {"BROWSER": f"{sys.executable} {browser} %s"}
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "labels: none yet; 0 of 20 pictures\n"
        address = process.stdout.readline().split()[0]
        assert address.startswith("http://127.0.0.1:")
        end = time.monotonic() + 10
        while not (opened.exists() and opened.read_text() == f"{address}."):
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "0 of 20 labelled\n"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("prepare", "options", "message"),
    [
        (lambda folder: shutil.rmtree(folder), (), "not a folder"),
        (put_into_an_archive, (), "is an archive: unpack it, and name the folder"),
        (lambda _: None, ("-o", "labels.txt"), "name a .csv file"),
        (lambda _: None, ("--model", "gone.onnx"), "gone.onnx"),
        (lambda _: None, ("--suspects", "gone.csv"), "can't read the suspects"),
        (lambda _: None, ("--labels", "gone.csv"), "no such form of labels"),
        (
            lambda folder: (folder / "labels.json").write_text('{"0001.png": "abc"}'),
            (),
            "labels.json; the page writes only CSV: name a new one with -o",
        ),
        (
            lambda folder: (folder / "labels.csv").write_text("file,label,code\n0001.png,a,b\n"),
            (),
            "choose one: --labels labels.csv:label",
        ),
        (
            lambda folder: (folder / "labels.csv").write_text("size,colour,age\n1,2,3\n"),
            (),
            "--labels FILE:COLUMN names another one; mend it, or name another file with -o",
        ),
        (
            lambda folder: (folder / "labels.csv").write_text("file,label\n0001.png,a\n"),
            ("--labels", "none"),
            "its labels are not used: name another file with -o",
        ),
        (
            lambda folder: (folder / "labels.csv").write_bytes(b"file,label\n0001.png,\xe4b\n"),
            (),
            "labels.csv is not UTF-8: save it as UTF-8",
        ),
    ],
)
def test_what_can_not_be_labelled_is_said_in_a_line(
    command, unlabelled, prepare, options, message: str
) -> None:
    """Each wrong use ends with one line that says what to do."""
    prepare(unlabelled)
    result = command("label", unlabelled, "--no-open", *options, cwd=unlabelled.parent)
    assert result.returncode in (2, 3)
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr


def test_taken_port_is_said_in_a_line(start, command, unlabelled, tmp_path) -> None:
    """One line that names the port."""
    server = start(unlabelled)
    shutil.copytree(unlabelled, tmp_path / "other")
    (tmp_path / "other" / ".captcha-rt" / "lock").unlink()
    result = command("label", tmp_path / "other", "--no-open", "--port", server.port)
    assert result.returncode == 2
    assert f"can't listen on port {server.port}" in result.stderr


def test_missing_server_is_said_in_a_line(run_python) -> None:
    """Without Starlette the error names the command to type."""
    done = run_python(
        "import sys\nsys.modules['starlette'] = None\n"
        "import importlib.util as util\nfound = util.find_spec\n"
        "util.find_spec = lambda name: None if name == 'starlette' else found(name)\n"
        "from captcha_rt_train.labelling import installed\n"
        "from captcha_rt.errors import InstallationError\n"
        "try:\n    installed.check_installed()\n"
        "except InstallationError as error:\n    print(error)"
    )
    assert done.stdout == (
        'the labelling page needs starlette: pip install "captcha-rt-train[label]"\n'
    )
