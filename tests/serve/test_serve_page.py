"""The service's pages in a real browser, Chromium without a window."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browsing import DESKTOP, PHONE, listen

from .conftest import SAMPLE, TEXT

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.base")

TRANSFER = """(data) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
  return carried;
}"""


@pytest.fixture
def visit(chromium) -> Iterator[Callable[..., Any]]:
    """Opens a page in a context of its own; the page must not complain."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_page(address: str, expect: str = "nothing", **options: Any) -> Any:
        context = chromium.new_context(**(DESKTOP | options))
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        listen(page, complaints, (expect,))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def check(page: Any) -> None:
    """Axe has no complaint, and nothing is wider than the window."""
    page.evaluate(axe.AXE_SCRIPT)
    found = page.evaluate("axe.run()")["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_a_chosen_picture_is_read_and_explained(server, visit, device, scheme):
    """A person sees the text, each character's confidence, and what each step made."""
    page = visit(server.address, color_scheme=scheme, **device)
    check(page)
    page.set_input_files("#file", SAMPLE)
    page.wait_for_selector("#answer:not([hidden])")
    assert page.inner_text("#text") == TEXT
    assert page.inner_text("#summary").startswith("Confidence 1")
    assert page.locator("#characters li b").all_inner_texts() == [*TEXT]
    assert page.locator("#characters span").first.inner_text().endswith("%")
    assert page.locator("#steps figcaption").first.inner_text() == "picture 200 x 50"
    assert page.locator("#steps img").count() >= 3
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    check(page)


def test_a_picture_is_dropped_or_pasted(server, visit):
    """Both ways lead to the same answer; what is no picture is said to be none."""
    page = visit(server.address, expect="422")
    data = base64.b64encode(SAMPLE.read_bytes()).decode()
    carried = page.evaluate_handle(TRANSFER, data)
    page.dispatch_event("body", "drop", {"dataTransfer": carried})
    page.wait_for_selector("#answer:not([hidden])")
    assert page.inner_text("#text") == TEXT
    page.evaluate(
        "(carried) => document.dispatchEvent("
        "new ClipboardEvent('paste', { clipboardData: carried }))",
        page.evaluate_handle(TRANSFER, base64.b64encode(b"no picture").decode()),
    )
    page.locator("#message", has_text="found text").wait_for()
    assert page.is_hidden("#answer")
    check(page)


def test_the_page_asks_for_a_key(start, visit):
    """A service with a key lets the page ask for it once."""
    server = start(CAPTCHA_RT_API_KEY="opensesame")
    page = visit(server.address, expect="401")
    page.set_input_files("#file", SAMPLE)
    page.fill("#key", "opensesame")
    check(page)
    page.click("#locked button")
    page.wait_for_selector("#answer:not([hidden])")
    assert page.inner_text("#text") == TEXT


@pytest.mark.parametrize("device", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_description_is_a_page(server, visit, device):
    """It shows each address, with a line to try."""
    page = visit(f"{server.address}/docs", **device)
    page.wait_for_selector("#addresses section")
    titles = page.locator("#addresses h2").all_inner_texts()
    assert "POST /solve" in titles
    assert "POST /v2/models/{model}/infer" in titles
    assert f"{server.address}/solve" in page.locator("pre").first.inner_text()
    check(page)
