"""Labels in file names: names that are built unlike the others, copies, separators, patterns."""

import random
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest

from captcha_rt.errors import LabelError
from captcha_rt.labels import Labels, read_labels

RNG = random.Random(3)
WORDS = ["".join(RNG.choices("bcdefgmnpwxy2345678", k=5)) for _ in range(60)]
SUMS = [f"{RNG.randrange(10, 90)}+{RNG.randrange(2, 9)}=" for _ in range(58)]


def content(level: int) -> bytes:
    """A tiny PNG; each level is another content."""
    return cv2.imencode(".png", np.full((4, 4), level, np.uint8))[1].tobytes()


def draw(folder: Path, *names: str) -> Path:
    """Writes tiny pictures of these names, each with a content of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for level, name in enumerate(names):
        (folder / name).write_bytes(content(level))
    return folder


def hashed(texts: list[str], suffix: str = ".png") -> list[str]:
    return [f"{text}_{RNG.randbytes(16).hex()}{suffix}" for text in texts]


def by_name(labels: Labels) -> dict[str, str]:
    return {path.name: label for path, label in labels.items}


@pytest.mark.parametrize("form", ["auto", "stem-first"])
def test_a_minus_in_a_sum_is_no_separator(tmp_path: Path, form: str) -> None:
    """Two sums with a minus among 58 with a plus have their whole text as label."""
    names = hashed([*SUMS, "12-5=", "9-4="])
    found = by_name(read_labels(draw(tmp_path, *names), form))
    assert [found[name] for name in names] == [*SUMS, "12-5=", "9-4="]


def test_sums_of_all_kinds_keep_their_text(tmp_path: Path) -> None:
    """Also where many have a minus, or all, and where a counter is in front."""
    texts = [
        f"{a}-{b}=" for a, b in zip(range(20, 80), RNG.choices(range(2, 19), k=60), strict=True)
    ]
    assert set(by_name(read_labels(draw(tmp_path / "a", *hashed(texts)))).values()) == set(texts)
    mixed = [*SUMS[:30], *texts[:30]]
    assert set(by_name(read_labels(draw(tmp_path / "b", *hashed(mixed)))).values()) == set(mixed)
    counted = [f"{n:04}-{text}.png" for n, text in enumerate(mixed)]
    found = read_labels(draw(tmp_path / "c", *counted))
    assert (found.form, set(by_name(found).values())) == ("stem-last", set(mixed))


ODD = {
    "a second separator": ("stem-first", "{text}_{hash}", "ab-cd_{hash}"),
    "another separator": ("stem-first", "{text}_{hash}", "abcd-{hash}"),
    "one part more": ("stem-first", "{text}_{hash}", "ab_cd_{hash}"),
    "no separator": ("stem-first", "{text}_{hash}", "IMG{n}17"),
    "a dot": ("stem-first", "{text}_{hash}", "ab.cd_{hash}"),
    "a sign": ("stem-first", "{text}_{hash}", "ab#cd_{hash}"),
    "a copy's number": ("stem", "{text}", "abcd~{n}"),
    "a word in brackets": ("stem", "{text}", "ab[cd]{n}"),
    "a space": ("stem-first", "{text}_{hash}", "ab cd_{hash}"),
    "a sum without =": ("stem-first", "{text}_{hash}", "12-5_{hash}"),
    "a part in front": ("stem-last", "{hash}_{text}", "x_{hash}_abcd"),
    "a dash in the label": ("stem-last", "{hash}_{text}", "{hash}_ab-cd"),
    "counted, a dash": ("stem-last", "{n}-{text}", "{n}-ab-cd"),
    "counted, a dot": ("stem-last", "{n}-{text}", "{n}-ab.cd"),
}


@pytest.mark.parametrize(
    ("case", "ask"), [(c, a) for c in ODD for a in (False, True) if not a or ODD[c][0] != "stem"]
)
def test_a_name_built_unlike_the_others_is_listed(tmp_path: Path, case: str, ask: bool) -> None:
    """It gives no label, however it is built, whether the form is found out or asked for."""
    form, pattern, odd = ODD[case]
    usual, unlike = (
        [
            name.format(text=text, hash=RNG.randbytes(16).hex(), n=n) + ".png"
            for n, text in enumerate(texts, start)
        ]
        for name, texts, start in ((pattern, WORDS, 1), (odd, WORDS[:2], 61))
    )
    labels = read_labels(draw(tmp_path, *usual, *unlike), form if ask else "auto")
    assert labels.form == form
    assert sorted(by_name(labels)) == sorted(usual)
    assert set(by_name(labels).values()) == set(WORDS)
    assert sorted(name for name, _ in labels.problems) == sorted(unlike)


@pytest.mark.parametrize(
    "pattern", ["{}={}", "{}#{}", "{}@{}", "{},{}", "{} ({})", "{}({})", "{} {}"]
)
def test_any_punctuation_separates(tmp_path: Path, pattern: str) -> None:
    """A counter behind another sign, or in brackets, is not a part of the label either."""
    draw(tmp_path, *(f"{pattern.format(word, n)}.png" for n, word in enumerate(WORDS, 7)))
    labels = read_labels(tmp_path)
    assert (labels.form, set(by_name(labels).values())) == ("stem-first", set(WORDS))
    assert len(labels.items) == 60


@pytest.mark.parametrize("pattern", ["captcha ({}).png", "captcha {}.png", "captcha#{}.png"])
def test_numbered_names_are_no_labels(tmp_path: Path, pattern: str) -> None:
    """Windows names them `captcha (1).png`, ...; the error says how to type labels, too."""
    draw(tmp_path, *(pattern.format(n) for n in range(1, 60)))
    with pytest.raises(LabelError, match="leave open what the labels are; choose one") as raised:
        read_labels(tmp_path)
    assert str(raised.value).endswith(f"if they hold none, type them: captcha-rt label {tmp_path}")


def test_signs_in_texts_are_asked_for(tmp_path: Path) -> None:
    """Where many texts have signs, `--labels stem` takes them, and says so in the error."""
    texts = [f"{word[:2]}{RNG.choice('@#$&!')}{word[2:]}" for word in WORDS[:30]]
    draw(tmp_path, *(f"{text}.png" for text in [*texts, *WORDS[30:]]))
    with pytest.raises(LabelError, match="--labels stem "):
        read_labels(tmp_path)
    assert set(by_name(read_labels(tmp_path, "stem")).values()) == {*texts, *WORDS[30:]}


def test_a_name_that_is_no_copy_of_a_text_is_listed(tmp_path: Path) -> None:
    """Beside texts and copies of them, as `abcd` and `abcd-2`, only these two count."""
    copies = [f"{word}-2.png" for word in WORDS[:20]]
    draw(tmp_path, *(f"{word}.png" for word in WORDS), *copies, "abcd-x.png", "zzzz-2.png")
    labels = read_labels(tmp_path)
    assert set(by_name(labels).values()) == set(WORDS)
    assert [name for name, _ in labels.problems] == ["abcd-x.png", "zzzz-2.png"]


def test_several_separators_are_never_guessed(tmp_path: Path) -> None:
    """Where half of the names have another separator, each is offered with what it shows."""
    draw(tmp_path, *(f"{w}-{n}.png" for n, w in enumerate(WORDS[:30])), *hashed(WORDS[30:]))
    for form in ("auto", "stem-first"):
        with pytest.raises(LabelError, match=r"--labels stem-first:_ .*") as caught:
            read_labels(tmp_path, form)
        assert "--labels stem-first:- " in str(caught.value)
    labels = read_labels(tmp_path, "stem-first:_")
    assert sorted(set(by_name(labels).values())) == sorted(set(WORDS[30:]))
    assert {reason for _, reason in labels.problems} == {"no _ in its name"}


def test_labels_with_separators_have_a_way_out(tmp_path: Path) -> None:
    """`stem-first:_` and `stem-last:_` cut at their separator only; a pattern finds any part."""
    draw(tmp_path, "a-b.c_17.png", "d.e-f_18.png", "17_a-b.png", "g.png")
    assert by_name(read_labels(tmp_path, "stem-first:_"))["a-b.c_17.png"] == "a-b.c"
    assert by_name(read_labels(tmp_path, "stem-last:_"))["17_a-b.png"] == "a-b"
    labels = read_labels(tmp_path, r"re:^([a-z].*)_\d+$")
    assert by_name(labels) == {"a-b.c_17.png": "a-b.c", "d.e-f_18.png": "d.e-f"}
    assert [name for name, _ in labels.problems] == ["17_a-b.png", "g.png"]
    assert "doesn't match" in labels.problems[0][1]
    assert labels.form == r"re:^([a-z].*)_\d+$"


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("re:[a-z]+", r"has 0 groups, not 1: put \( \) around the label"),
        ("re:(a)(b)", "has 2 groups, not 1"),
        ("re:(", "no regular expression"),
        ("re:(x)", "no file name in .* has a label: abcd.png: its name doesn't match"),
        ("stem-first:", "no separator after the colon"),
        ("stem-last:#", "no file name in .* has a label: abcd.png: no # in its name"),
        ("stem:_", "no such form of labels"),
    ],
)
def test_a_form_that_can_not_be_used_is_one_line(tmp_path: Path, form: str, message: str) -> None:
    """The message says what is wrong with the pattern or the separator."""
    draw(tmp_path, "abcd.png")
    with pytest.raises(LabelError, match=message) as caught:
        read_labels(tmp_path, form)
    assert "\n" not in str(caught.value)


MARKS = {
    "Windows": "{} - Copy",
    "Windows, second": "{} - Copy (2)",
    "Windows, German": "{} - Kopie",
    "Windows, Chinese": "{} - 副本",
    "Windows, Polish": "{} - kopia",
    "Windows, numbered": "{} (2)",
    "Windows XP": "Copy of {}",
    "Windows XP, second": "Copy (2) of {}",
    "Google Drive, French": "Copie de {}",
    "macOS": "{} copy",
    "macOS, second": "{} copy 2",
    "macOS, numbered": "{} 2",
    "macOS, Japanese": "{}のコピー",
    "GNOME": "{} (copy)",
    "GNOME, second": "{} (another copy)",
    "GNOME, third": "{} (3rd copy)",
    "GNOME, new": "{} (Copy 2)",
    "GNOME, German": "{} (3. Kopie)",
    "KDE": "{} (1)",
    "Firefox": "{}(1)",
    "wide brackets": "{}\uff081\uff09",
    "a copy's copy": "{} - Copy - Copy",
    "a numbered copy": "{} copy (1)",
}


@pytest.mark.parametrize("case", MARKS)
def test_copies_of_file_managers_bring_no_classes(tmp_path: Path, case: str) -> None:
    """With equal content a copy is left out; another content is a picture of the same text."""
    plain = [f"{word}.png" for word in WORDS[:8]]
    draw(tmp_path, *plain)
    equal, other = (f"{MARKS[case].format(word)}.png" for word in WORDS[:2])
    (tmp_path / equal).write_bytes((tmp_path / plain[0]).read_bytes())
    (tmp_path / other).write_bytes(content(200))
    for form in ("auto", "stem"):
        labels = read_labels(tmp_path, form)
        assert by_name(labels) == {name: name[:5] for name in plain} | {other: WORDS[1]}
        assert labels.problems == ()
        (note,) = labels.notes
        assert note.startswith(f"copies: 1 ({equal}) left out")
        assert f"1 ({other}) taken as other pictures of the same text" in note


def test_a_word_in_any_language_is_a_copy_if_its_content_is_equal(tmp_path: Path) -> None:
    """With a content of its own it is listed, since nobody knows what the word means."""
    plain = [f"{word}.png" for word in WORDS[:40]]
    draw(tmp_path, *plain)
    equal, other = f"{WORDS[0]} - afrit.png", f"{WORDS[1]} (rush 2).png"
    (tmp_path / equal).write_bytes((tmp_path / plain[0]).read_bytes())
    (tmp_path / other).write_bytes(content(200))
    labels = read_labels(tmp_path)
    assert sorted(by_name(labels)) == sorted(plain)
    assert [name for name, _ in labels.problems] == [other]


@pytest.mark.parametrize("form", ["auto", "stem"])
def test_a_copy_without_its_original_is_listed(tmp_path: Path, form: str) -> None:
    """Its label is not guessed."""
    plain = [f"{word}.png" for word in WORDS[:40]]
    alone = ["zzzz (1).png", "zzzz - Copy.png", "yyyy copy.png"]
    labels = read_labels(draw(tmp_path, *plain, *alone), form)
    assert sorted(by_name(labels)) == sorted(plain)
    assert sorted(name for name, _ in labels.problems) == sorted(alone)
    assert all("copy of a picture that isn't here" in reason for _, reason in labels.problems)


def test_copies_are_found_in_every_form(tmp_path: Path) -> None:
    """Also where the label is only a part of the name, and where a download tool adds a number."""
    plain = [f"{n}-{word}.png" for n, word in enumerate(WORDS)]
    draw(tmp_path, *plain)
    for name in (f"0-{WORDS[0]} (1).png", f"1-{WORDS[1]}.png.1", f"2-{WORDS[2]}.png~"):
        (tmp_path / name).write_bytes(content(200))
    for form in ("auto", "stem-last", "stem-last:-", r"re:^\d+-(.*)$"):
        labels = read_labels(tmp_path, form)
        assert set(by_name(labels).values()) == set(WORDS)
        assert (len(labels.items), labels.problems) == (63, ())


def test_texts_with_spaces_are_no_copies(tmp_path: Path) -> None:
    """Among texts of several words, `room 2` is another text than `room`."""
    names = [f"{a} {b}.png" for a, b in zip(WORDS, reversed(WORDS), strict=True)]
    draw(tmp_path, *names, "room.png", "room 2.png")
    assert by_name(read_labels(tmp_path, "stem"))["room 2.png"] == "room 2"
    with pytest.raises(LabelError, match="--labels stem "):
        read_labels(tmp_path)


def test_labels_are_composed(tmp_path: Path) -> None:
    """Names that a Mac has decomposed give the characters that people type."""
    texts = ["가나다", "éàü", "ガギグ"]
    draw(tmp_path, *(unicodedata.normalize("NFD", f"{text}.png") for text in texts))
    assert sorted(label for _, label in read_labels(tmp_path).items) == sorted(texts)


def test_a_picture_needs_no_suffix(tmp_path: Path) -> None:
    """The first bytes say what a picture is; a dot in a name without a suffix stays in the text."""
    draw(tmp_path, "abcd", "efgh.tif", "ijkl.JFIF", "mnop.txt", "qrst.dib", "uvwx.png")
    (tmp_path / "notes.tif").write_bytes(b"II*\0")
    labels = read_labels(tmp_path)
    assert [label for _, label in labels.items] == ["abcd", "efgh", "ijkl", "mnop", "qrst", "uvwx"]
    assert labels.notes == ("passed over: 1 .tif file",)
    draw(tmp_path, "3.14")
    assert by_name(read_labels(tmp_path, "stem"))["3.14"] == "3.14"


def test_hidden_files_are_no_pictures(tmp_path: Path) -> None:
    """MacOS writes `._abcd.png` beside `abcd.png`; what is passed over is counted in one line."""
    draw(tmp_path, "abcd.png", "efgh.png", "._abcd.png", "._efgh.png", ".hidden.png")
    (tmp_path / "readme.txt").write_text("no labels at all")
    draw(tmp_path / "bad", "ijkl.png", "mnop.png")
    draw(tmp_path / ".trash", "qrst.png")
    (tmp_path / "loop").symlink_to(tmp_path)
    labels = read_labels(tmp_path)
    assert by_name(labels) == {"abcd.png": "abcd", "efgh.png": "efgh"}
    assert labels.notes == ("passed over: 3 hidden files, 2 files in sub-folders, 1 .txt file",)
