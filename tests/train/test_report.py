import base64
import io
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from captcha_rt.charset import Charset
from captcha_rt.manifest import Manifest, Tensor
from captcha_rt.metrics import Prediction, align, align_characters
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Grey, Resize, Scale
from captcha_rt_export.run import Run
from captcha_rt_train.report import Curves, plots, write_report

SECTIONS = [
    "Result", "Curves", "Accuracy by position", "Confusions", "Misread pictures", "Confidence",
    "Data", "Model", "Settings", "Versions",
]  # fmt: skip
PLOTS = {"loss", "accuracy", "positions", "confusions", "confidence", "characters", "lengths"}
VOID = {"br", "img", "meta"}
CHINESE = "".join(chr(0x4E00 + i) for i in range(200))


class Page(HTMLParser):
    """The content of a report's page; unbalanced tags are errors."""

    def __init__(self, path: Path) -> None:
        """Reads a page."""
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.titles: list[str] = []
        self.captions: list[str] = []
        self.marked: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(path.read_text("utf-8"))
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Notes what is opened, and what it would load."""
        self.tags.add(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "srcset", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "h2":
            self.titles.append("")
        if tag == "figcaption":
            self.captions.append("")

    def handle_endtag(self, tag: str) -> None:
        """Closes what was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Notes text by where it stands."""
        self.text += data
        if "h2" in self.open:
            self.titles[-1] += data
        if "figcaption" in self.open:
            self.captions[-1] += data
        if "mark" in self.open:
            self.marked.append(data)


def curves(name: str = "", digits: int = 0, *, ctc: bool = False, epochs: int = 12) -> Curves:
    """The history of a network that learns; with CTC, without the characters' accuracy."""
    rows = []
    for epoch in range(1, epochs + 1):
        wrong = 0.7**epoch
        row = {"epoch": epoch, "loss": wrong, "val_loss": 2 * wrong, "seconds": 3.0}
        row["val_exact_match"] = 1 - wrong
        if not ctc:
            row |= {"accuracy": 1 - wrong / 9, "val_accuracy": 1 - wrong / 4}
        rows.append(row | {f"val_digit{n}": 1 - wrong / n for n in range(1, digits + 1)})
    return Curves(name, rows, epochs - 1)


def write(
    folder: Path,
    *,
    networks: Sequence[Curves] | None = None,
    predictions: Sequence[Prediction] = (Prediction("ab.png", "ab", "ab", 0.9),),
    pictures: Mapping[str, NDArray[np.uint8]] | None = None,
    characters: str = "abc",
    labels: Sequence[str] = ("ab", "abc"),
    name: str = "run",
) -> Page:
    """Writes a report and reads its page."""
    manifest = Manifest(
        name=name,
        charset=Charset(characters, blank=0),
        recipe=Recipe((Grey(), Scale(), Resize(50, 200))),
        decoder="ctc",
        scores="logits",
        input=Tensor("image", (None, 50, 200, 1)),
        output=Tensor("logits", (None, 50, len(characters) + 1)),
        training={
            "learning_rate": 0.001,
            "pictures": {"training": 80, "validation": 10, "test": 10},
            "skipped": 7,
            "versions": {"keras": "3.15.0"},
        },
        accuracy={
            "test": {
                "pictures": 10,
                "exact_match": 0.9,
                "interval": (0.596, 0.982),
                "character_error_rate": 0.02,
            }
        },
    )
    networks = networks or [curves(digits=2)]
    summary = "Total params: 432,596 <CRNN>"
    path = write_report(
        Run(folder), manifest, networks, labels, predictions, pictures or {}, "test", summary
    )
    assert path == folder / "report.html"
    return Page(path)


def images(folder: Path) -> dict[str, NDArray[np.uint8]]:
    """The PNG files beside the page."""
    return {p.stem: np.asarray(Image.open(p)) for p in (folder / "report").iterdir()}


def test_the_page_has_every_section_and_stands_alone(tmp_path: Path) -> None:
    """All sections are there in order; images are inside, and nothing else is loaded."""
    page = write(tmp_path, predictions=[Prediction("ab.png", "ab", "ac", 0.9)])
    assert page.titles == SECTIONS
    assert len(page.links) == len(PLOTS)
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not page.tags & {"script", "link", "iframe", "object"}
    html = (tmp_path / "report.html").read_text("utf-8")
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html


def test_the_page_says_what_was_measured_and_how_it_was_trained(tmp_path: Path) -> None:
    """The page shows accuracy, counts, settings, versions and layers."""
    predictions = [Prediction("1.png", "ab", "ab", 0.9), Prediction("2.png", "ab", "ac", 0.4)]
    text = write(tmp_path, predictions=predictions).text
    assert text.count("3.15.0") == 1
    for said in (
        "50.00%", "9.45% to 90.55%", "25.00%", "of 2 pictures (test)", "b as c (1)", "skipped: 7",
        "training 80, validation 10, test 10", "59.60% to 98.20%", "learning rate", "0.001",
        "grey → scale → resize (height 50, width 200", "Total params: 432,596 <CRNN>",
    ):  # fmt: skip
        assert said in text


def test_the_files_are_the_pages_pictures(tmp_path: Path) -> None:
    """Each plot is a PNG file of a plausible size that is not empty."""
    write(tmp_path, predictions=[Prediction("ab.png", "ab", "ac", 0.9)])
    found = images(tmp_path)
    assert set(found) == PLOTS
    for plot in found.values():
        assert 200 < plot.shape[0] < 1500
        assert 400 < plot.shape[1] < 1700
        assert plot.std() > 10


def test_a_misread_picture_shows_label_and_prediction(tmp_path: Path) -> None:
    """Only the wrong characters are marked; the highest confidence comes first."""
    predictions = [
        Prediction("one.png", "abc", "abb", 0.25),
        Prediction("two.png", "abc", "ab", 0.5),
        Prediction("three.png", "ab", "", 0.0),
        Prediction("right.png", "ab", "ab", 1.0),
    ]
    picture = np.zeros((20, 60, 1), np.uint8)
    page = write(
        tmp_path, predictions=predictions, pictures={"one.png": picture, "two.png": picture}
    )
    assert page.captions == [
        "truthabc\nreadabtwo.pngconfidence 0.500",
        "truthabc\nreadabbone.pngconfidence 0.250",
        "truthab\nreadnothingthree.pngconfidence 0.000",
    ]
    assert page.marked == ["c", "c", "b", "a", "b"]
    assert set(images(tmp_path)) == PLOTS | {"misread-01", "misread-02"}


def test_pictures_keep_their_colours(tmp_path: Path) -> None:
    """Grey, RGB and RGBA pictures keep their colours; what is transparent becomes white."""
    red, clear = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3, 4), np.uint8)
    red[:, :, 0] = 255
    clear[0] = (0, 0, 255, 255)
    pictures = {"1": np.full((2, 3, 1), 128, np.uint8), "2": red, "3": clear}
    predictions = [Prediction(name, "ab", "ac", 1 / int(name)) for name in pictures]
    write(tmp_path, predictions=predictions, pictures=pictures)
    found = images(tmp_path)
    assert found["misread-01"].tolist() == [[128] * 3] * 2
    assert found["misread-02"].tolist() == red.tolist()
    assert found["misread-03"].tolist() == [[[0, 0, 255]] * 3, [[255] * 3] * 3]


def test_at_most_sixty_are_shown(tmp_path: Path) -> None:
    """Of 65 misread pictures, the page shows the 60 with the highest confidence, and says so."""
    predictions = [Prediction(f"{i}.png", "ab", "ac", i / 100) for i in range(65)]
    page = write(tmp_path, predictions=predictions)
    assert len(page.captions) == 60
    assert "0.640" in page.captions[0]
    assert "0.050" in page.captions[-1]
    assert "5 more are not shown" in page.text


def test_a_run_without_errors_has_a_report(tmp_path: Path) -> None:
    """The report says so; the matrix and the misread pictures of an earlier report are gone."""
    write(
        tmp_path,
        predictions=[Prediction("ab.png", "ab", "ac", 0.9)],
        pictures={"ab.png": np.zeros((20, 60, 3), np.uint8)},
    )
    assert "misread-01" in images(tmp_path)
    page = write(tmp_path)
    assert page.titles == SECTIONS
    assert "No character was read wrong." in page.text
    assert page.captions == []
    assert set(images(tmp_path)) == PLOTS - {"confusions"}


def test_labels_are_text_and_no_markup(tmp_path: Path) -> None:
    """Characters that mean something in HTML, in templates or in formulas stand as they are."""
    odd = "<i>&\"'$b"
    predictions = [Prediction(f"{odd}.png", odd, odd[:-1] + "<", 0.5)]
    page = write(
        tmp_path, predictions=predictions, characters=odd, labels=[odd], name="<b>$name</b>"
    )
    assert f"truth{odd}\nread{odd[:-1]}<" in page.captions[0]
    assert f"{odd}.png" in page.captions[0]
    assert "<b>$name</b>" in page.text
    assert "<mark>&lt;</mark>" in (tmp_path / "report.html").read_text("utf-8")


def test_two_hundred_chinese_characters(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """The page shows the characters; plots, which have a bounded size, show code points."""
    texts = [CHINESE[i : i + 4] for i in range(0, 200, 4)]
    predictions = [Prediction(t, t, t[::-1], 0.5) for t in texts]
    page = write(tmp_path, characters=CHINESE, labels=texts, predictions=predictions)
    assert texts[0] in page.captions[0]
    assert max(images(tmp_path)["confusions"].shape) < 1500
    assert not [w for w in recwarn if "lyph" in str(w.message)]


def test_plots_show_code_points_for_what_their_font_lacks() -> None:
    """A letter stays; a Chinese character and an invisible one become their code points."""
    assert [plots.tick_label(c) for c in "aÄ$中 \u0301"] == ["a", "Ä", "$", "4E2D", "0020", "0301"]


def test_ctc_curves_have_no_characters() -> None:
    """A network that measures only exact match gets that line and no positions."""
    network = curves(ctc=True)
    assert plots.draw_positions([network]) is None
    lines = plots.draw_accuracies([network]).axes[0].get_legend().get_texts()
    assert [line.get_text() for line in lines] == [
        "exact match, validation: 98.02%",
        "best epoch: 11",
    ]


def test_an_ensemble_has_a_panel_for_each_network(tmp_path: Path) -> None:
    """Six networks with different numbers of epochs have six panels, each with its best epoch."""
    networks = [curves(f"digit {n}", 1, epochs=4 + n) for n in range(1, 7)]
    panels = plots.draw_losses(networks).axes
    assert [axes.get_title() for axes in panels] == [f"digit {n}: loss" for n in range(1, 7)]
    best = [axes.get_lines()[-1].get_xdata()[0] for axes in panels]
    assert best == [4, 5, 6, 7, 8, 9]
    assert plots.draw_positions(networks) is None
    assert write(tmp_path, networks=networks).titles == SECTIONS


def test_positions_stand_in_their_order() -> None:
    """Position 10 comes after position 9, not after position 1."""
    titles = [axes.get_title() for axes in plots.draw_positions([curves(digits=11)]).axes]
    assert titles == [f"position {n}" for n in range(1, 12)]


def test_one_epoch_is_a_visible_point() -> None:
    """A line through one point would show nothing."""
    line = plots.draw_losses([Curves("", curves().rows[:1], 1)]).axes[0].get_lines()[0]
    assert line.get_marker() == "."


def test_the_matrix_has_labels_down_and_texts_across() -> None:
    """An a that was read as b is in row a and column b; missed ones are in the last column."""
    pairs = {("a", "a"): 900, ("a", "b"): 7, ("c", ""): 3, ("", "b"): 2}
    figure = plots.draw_confusions(pairs, "abc")
    assert figure is not None
    axes = figure.axes[0]
    cells = {t.get_position(): t.get_text() for t in axes.texts}
    assert cells == {(1, 0): "7", (3, 2): "3", (1, 3): "2"}
    assert [t.get_text() for t in axes.get_xticklabels()] == ["a", "b", "c", "missed"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b", "c", "made up"]
    assert axes.get_title() == "12 characters read wrong"


def test_of_a_large_charset_the_most_confused_are_drawn() -> None:
    """Forty of 200 characters are drawn, in the charset's order."""
    pairs = {(char, ""): number for number, char in enumerate(CHINESE)}
    figure = plots.draw_confusions(pairs, CHINESE)
    assert figure is not None
    names = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert names == [f"{ord(c):04X}" for c in CHINESE[-40:]] + ["made up"]


def test_characters_of_the_charset_that_no_label_holds_are_counted() -> None:
    """Bars follow the charset's order; a character that no label holds has an empty bar."""
    figure = plots.draw_characters(["aaab", "b", "c"], "bacd")
    assert [bar.get_height() for bar in figure.axes[0].patches] == [2, 3, 1, 0]
    assert figure.get_suptitle() == "6 characters, 3 different; 1 of the charset in no label"


@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_marks_are_the_edits_in_place(truth: str, text: str) -> None:
    """The pairs spell label and text; the pairs that differ are the edits that are counted."""
    pairs = align_characters(truth, text)
    assert "".join(a for a, _ in pairs) == truth
    assert "".join(b for _, b in pairs) == text
    assert [(a, b) for a, b in pairs if a != b] == align(truth, text)


def test_large_pictures_are_shrunk(tmp_path: Path) -> None:
    """A picture of 2000 pixels becomes one of 480, its proportions kept."""
    picture = np.full((1000, 2000, 4), 128, np.uint8)
    write(tmp_path, predictions=[Prediction("x", "ab", "", 0)], pictures={"x": picture})
    assert images(tmp_path)["misread-01"].shape == (240, 480, 3)


def test_the_page_holds_the_files_bytes(tmp_path: Path) -> None:
    """The pictures inside are the same PNG files."""
    page = write(tmp_path)
    inside = {base64.b64decode(link.partition(",")[2]) for link in page.links}
    assert inside == {p.read_bytes() for p in (tmp_path / "report").iterdir()}
    assert all(Image.open(io.BytesIO(image)).format == "PNG" for image in inside)
