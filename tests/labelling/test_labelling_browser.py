"""The labelling page in a real browser, Chromium without a window."""

import http.server
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import DESKTOP, PHONE, listen

from captcha_rt.labels import read_labels

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.base")


@pytest.fixture
def visit(chromium) -> Iterator[Callable[..., Any]]:
    """Opens a server's page in a context of its own; the page must not complain."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_page(server, context: Any = None, expect: tuple[str, ...] = (), **options: Any) -> Any:
        if context is None:
            context = chromium.new_context(**(DESKTOP | options))
            context.set_default_timeout(10_000)
            contexts.append(context)
        page = context.new_page()
        listen(page, complaints, expect)
        page.goto(server.url)
        page.wait_for_selector("#work:not([hidden]), #nothing:not([hidden])")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def shown(page: Any) -> str:
    return page.inner_text("#name")


def labels_of(folder: Path) -> dict[str, str]:
    return {path.name: label for path, label in read_labels(folder).items}


def label_some(page: Any, count: int) -> dict[str, str]:
    """Labels pictures with the keyboard alone; returns what was typed."""
    typed = {}
    for number in range(count):
        name = shown(page)
        assert name not in typed
        if number % 3:
            page.keyboard.type(f"t{number}é")
        else:
            until(page, "document.getElementById('text').value !== ''")
        typed[name] = page.input_value("#text")
        page.keyboard.press("Enter")
    return typed


def until(page: Any, condition: str) -> None:
    """Waits until a condition holds; the page's policy forbids Playwright's own way to do so."""
    end = time.monotonic() + 10
    while not page.evaluate(condition):
        assert time.monotonic() < end, (condition, page.inner_text("body"))
        page.wait_for_timeout(20)


def wait_idle(page: Any) -> None:
    """Waits until the page has nothing to save."""
    until(page, "(JSON.parse(sessionStorage.getItem('saves') ?? '{}').queue ?? []).length === 0")


def wait_saved(page: Any, count: int, total: int = 20) -> None:
    """Waits until the page counts so many labels and has nothing to save."""
    until(page, f"document.getElementById('done').textContent === '{count}'")
    wait_idle(page)
    assert page.inner_text(".counts") == f"{count} of {total} labelled"


def hold_changes(page: Any, server: Any) -> None:
    """From now on, the page isn't told what other tabs change."""
    answer = server.ask("/api/changes?since=1000000")[1]
    page.route("**/api/changes*", lambda route: route.fulfill(json=answer))


def test_label_ten_reload_kill_and_go_on(start, visit, unlabelled) -> None:
    """Ten labels are there after a reload, and after a kill and another start."""
    server = start(unlabelled)
    # The kill may come while a picture is on its way.
    lost = ("ERR_CONNECTION_REFUSED", "ERR_CONTENT_LENGTH_MISMATCH", "ERR_CONNECTION_RESET")
    page = visit(server, expect=(*lost, "403"))
    assert "token" not in page.url
    typed = label_some(page, 10)
    wait_saved(page, 10)
    page.reload()
    wait_saved(page, 10)
    assert shown(page) not in typed
    assert labels_of(unlabelled) == typed
    server.kill()
    name = shown(page)
    page.keyboard.type("late")
    page.keyboard.press("Enter")
    page.wait_for_selector("#trouble")
    assert "1 label is not saved yet" in page.inner_text("#trouble")
    again = start(unlabelled, port=server.port)
    page.wait_for_selector("#trouble :text('started anew')")
    page.goto(again.url)  # the page asks before it is left, and takes the label with it
    wait_saved(page, 11)
    assert labels_of(unlabelled) == typed | {name: "late"}
    more = label_some(page, 4)
    wait_saved(page, 15)
    assert labels_of(unlabelled) == typed | {name: "late"} | more


def test_two_tabs_show_both_texts(start, visit, unlabelled) -> None:
    """A label from another tab is not overwritten; the person decides."""
    server = start(unlabelled)
    server.wait_for(lambda state: state["left"] == 0)
    first = visit(server)
    second = visit(server, first.context, expect=("409",))
    hold_changes(second, server)
    assert shown(first) == shown(second)
    name = shown(first)
    first.keyboard.type("mine")
    first.keyboard.press("Enter")
    wait_saved(first, 1)
    second.bring_to_front()
    second.keyboard.type("yours")
    second.keyboard.press("Enter")
    alert = second.wait_for_selector(".alert").inner_text()
    assert all(part in alert for part in (name, "mine", "yours"))
    assert labels_of(unlabelled) == {name: "mine"}
    second.click("text=Save “yours”")
    wait_saved(second, 1)
    assert labels_of(unlabelled) == {name: "yours"}
    first.keyboard.press("ArrowUp")
    assert shown(first) == name
    until(first, "document.getElementById('text').value === 'yours'")


def test_keys_undo_skip_and_go_back(start, visit, unlabelled) -> None:
    """Every step works from the keyboard, several steps back included, after a reload, too."""
    server = start(unlabelled)
    server.wait_for(lambda state: state["left"] == 0)
    page = visit(server)
    names = list(label_some(page, 3))
    page.keyboard.press("Shift+Enter")
    wait_saved(page, 4)
    page.reload()
    page.wait_for_selector("#work:not([hidden])")
    skipped = shown(page)
    page.keyboard.press("ArrowDown")
    assert shown(page) != skipped
    page.keyboard.press("ArrowUp")
    assert shown(page) == skipped
    page.keyboard.type("typed")
    page.keyboard.press("Control+z")  # first what was typed
    assert page.input_value("#text") != "typed"
    for name in ("", *reversed(names)):
        page.keyboard.press("Control+z")
        until(page, "document.getElementById('said').textContent.includes('back')")
        page.evaluate("document.getElementById('said').textContent = ''")
        assert name in ("", shown(page))
    wait_saved(page, 0)
    page.keyboard.press("Control+z")
    page.wait_for_selector("#hint:text('nothing to take back')")


def test_everything_works_by_touch(start, visit, unlabelled) -> None:
    """On a phone buttons do what keys do."""
    server = start(unlabelled)
    server.wait_for(lambda state: state["left"] == 0)
    page = visit(server, **PHONE)
    name = shown(page)
    page.tap("#accept")
    wait_saved(page, 1)
    page.tap("#unreadable")
    wait_saved(page, 2)
    page.tap("#undo")
    wait_saved(page, 1)
    here = shown(page)
    page.tap("#skip")
    assert shown(page) != here
    page.tap("#back")
    assert shown(page) == here
    page.tap("#strip button >> nth=2")
    assert shown(page) != here
    page.tap("nav >> text=Labelled")
    assert shown(page) == name
    page.fill("#text", "mended")
    page.tap("#accept")
    wait_saved(page, 1)
    assert labels_of(unlabelled) == {name: "mended"}
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_suspects_are_kept_taken_or_mended(start, visit, unlabelled, tmp_path) -> None:
    """A keystroke each; what was looked at is no suspect any more, after a restart, too."""
    wrong = {f"{number:04d}.png": f"w{number}" for number in range(3)}
    rows = "".join(f"{name},{label}\n" for name, label in wrong.items())
    (unlabelled / "labels.csv").write_text(f"filename,label\n{rows}")
    suspects = tmp_path / "suspects.csv"
    suspects.write_text(
        "data,picture,label,shown,confidence\n"
        "x,0000.png,w0,r0,0.9\nx,0001.png,w1,r1,0.8\nx,0002.png,w2,r2,0.7\n"
    )
    server = start(unlabelled, suspects=suspects)
    server.wait_for(lambda state: state["left"] == 0)
    page = visit(server, expect=("ERR_CONNECTION_REFUSED",))
    assert (shown(page), page.input_value("#text")) == ("0000.png", "w0")
    assert page.inner_text("#hint") == "read as r0, 90 % sure"
    page.keyboard.press("Enter")
    assert shown(page) == "0001.png"
    page.keyboard.press("Control+Enter")
    assert shown(page) == "0002.png"
    page.keyboard.type("m2")
    page.keyboard.press("Enter")
    page.wait_for_selector("#nothing:not([hidden])")
    wait_idle(page)
    assert page.inner_text("#nothing-title") == "No suspects"
    assert labels_of(unlabelled) == {"0000.png": "w0", "0001.png": "r1", "0002.png": "m2"}
    server.wait_for(lambda state: not any(picture["suspect"] for picture in state["pictures"]))
    server.interrupt()
    again = start(unlabelled, suspects=suspects)
    assert not any(picture["suspect"] for picture in again.pictures())


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit sets the limit of another process")
def test_full_disk_keeps_the_text_and_tries_again(start, visit, unlabelled) -> None:
    """The page says what is wrong, keeps what was typed, and saves it once there is room."""
    import resource

    server = start(unlabelled)
    page = visit(server, expect=("507",))
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (10, limits[1]))
    typed = label_some(page, 2)
    page.wait_for_selector("#trouble p:text('2 labels are not saved yet')")
    assert "can't save" in page.inner_text("#trouble")
    page.keyboard.press("Control+z")  # what waits is taken back at once
    assert page.input_value("#text") == list(typed.values())[1]
    page.keyboard.press("Enter")
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
    wait_saved(page, 2)
    page.wait_for_selector("#trouble", state="detached")
    assert labels_of(unlabelled) == typed


def test_axe_finds_nothing(start, visit, drawn, tmp_path) -> None:
    """In each view; light on a phone, dark on a desktop."""
    folder = tmp_path / "named"
    folder.mkdir()
    for number, (label, path) in enumerate(drawn[:12]):
        shutil.copy(path, folder / f"{number}-{'zzzzz' if number == 3 else label}.png")
    (folder / "labels.csv").write_text("filename,label\n")
    server = start(folder, labels="none", out=folder / "mine.csv")
    server.wait_for(lambda state: state["left"] == 0)
    server.label(3, "zzzzz")
    version = 0
    for scheme, device in (("light", PHONE), ("dark", DESKTOP)):
        page = visit(server, expect=("409",), color_scheme=scheme, **device)
        for view in ("unlabelled", "labelled", "suspects"):
            page.click(f"[data-filter={view}]")
            check(page, f"{scheme} {view}")
        page.click("[data-filter=all]")
        hold_changes(page, server)
        assert shown(page) == server.pictures()[0]["name"]
        server.label(0, "x", version)
        version += 2
        page.fill("#text", "y")
        page.keyboard.press("Enter")
        page.wait_for_selector(".alert")
        check(page, f"{scheme} conflict")
        server.ask("/api/undo", {})


def check(page: Any, where: str) -> None:
    page.evaluate(axe.AXE_SCRIPT)
    result = page.evaluate("axe.run()")
    found = [(rule["id"], node["html"]) for rule in result["violations"] for node in rule["nodes"]]
    assert not found, where


def test_other_pages_of_the_browser_get_and_change_nothing(start, visit, unlabelled) -> None:
    """A page of another server on this machine has the cookie sent along, and is refused."""
    server = start(unlabelled)
    page = visit(server, expect=("403", "ERR_BLOCKED", "ERR_FAILED", "CORS"))
    base = f"http://127.0.0.1:{server.port}"
    body = '{"place":0,"version":0,"label":"stolen"}'

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!DOCTYPE html><title>Other</title>")

        def log_message(self, *_: object) -> None:
            pass

    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    try:
        for host in ("127.0.0.1", "localhost"):
            stranger = page.context.new_page()
            stranger.goto(f"http://{host}:{other.server_port}/")
            for kind in ("application/json", "text/plain"):
                for mode in ("cors", "no-cors"):
                    read = stranger.evaluate(
                        f"""fetch('{base}/api/label', {{method: 'POST', mode: '{mode}',
                        credentials: 'include', headers: {{'Content-Type': '{kind}'}},
                        body: '{body}'}}).then(answer => answer.text(), error => '')"""
                    )
                    assert read == ""
            picture = stranger.evaluate(
                f"""new Promise(done => {{ const image = new Image();
                image.onload = () => done('shown'); image.onerror = () => done('refused');
                image.src = '{base}/picture/0'; }})"""
            )
            assert picture == "refused"
            stranger.set_content(f"<iframe src='{base}/'></iframe>")
            stranger.wait_for_timeout(300)
            assert "Label" not in stranger.frames[-1].title()
    finally:
        other.shutdown()
        other.server_close()
    assert all(picture["label"] is None for picture in server.pictures())
