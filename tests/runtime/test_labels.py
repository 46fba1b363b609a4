"""Labels in every form are found, and never guessed."""

import json
import random
import re
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled import draw, numbered, pairs

from captcha_rt.errors import FolderError, LabelError
from captcha_rt.labels import read_labels
from captcha_rt.labels.stems import form_of
from captcha_rt.pictures import stream_pictures

TEXTS = ("226md", "4n8xp", "bc3g7", "e5w2y")


def test_plain_stems_are_labels(tmp_path: Path) -> None:
    """As in captcha_v2 the label is the whole stem, without spaces; an empty one is skipped."""
    draw(tmp_path, *(f"{text}.png" for text in TEXTS), "aaaaa .JPG", " .png")
    labels = read_labels(tmp_path)
    assert labels.form == "stem"
    assert [label for _, label in labels.items] == sorted([*TEXTS, "aaaaa"])
    assert labels.problems == ((" .png", "empty label"),)
    assert labels.description == "labels: from the file names; 5 pictures, 1 problems"


@pytest.mark.parametrize("separator", "-_.")
@pytest.mark.parametrize(
    ("pattern", "form"), [("{n}{s}{text}.jpg", "stem-last"), ("{text}{s}{n}.jpg", "stem-first")]
)
def test_a_counter_is_not_the_label(
    tmp_path: Path, separator: str, pattern: str, form: str
) -> None:
    """The part that counts 1, 2, 3, ... is no label, on either side of each separator."""
    names = [pattern.format(n=n, s=separator, text=t) for n, t in enumerate(TEXTS, 1)]
    labels = read_labels(draw(tmp_path, *names))
    assert labels.form == form
    assert sorted(label for _, label in labels.items) == sorted(TEXTS)


def test_digits_with_a_counter(tmp_path: Path) -> None:
    """Both parts may be numbers, as in METU; labels keep their zeros."""
    rng = random.Random(1)
    texts = [f"{rng.randrange(10**6):06}" for _ in range(99)] + ["000042"]
    draw(tmp_path, *(f"{n}-{text}.jpg" for n, text in enumerate(texts, 1)))
    labels = read_labels(tmp_path)
    assert labels.form == "stem-last"
    assert pairs(labels, tmp_path)["100-000042.jpg"] == "000042"


RNG = random.Random(2)
WORDS = ["".join(RNG.choices("bcdefgmnpwxy2345678", k=5)) for _ in range(400)]
DIGITS = [f"{RNG.randrange(10**5):05}" for _ in range(400)]
STAMPS = [1_700_000_000_000 + RNG.randrange(10**9) for _ in DIGITS]
GAPS = RNG.sample(range(9999), 400)
KNOWN = {
    "hash": ([f"{w}_{RNG.randbytes(16).hex()}" for w in WORDS], "stem-first"),
    "short hash": ([f"{w}-{RNG.randbytes(4).hex()}" for w in WORDS], "stem-first"),
    "hash in front": ([f"{RNG.randbytes(20).hex()}_{d}" for d in DIGITS], "stem-last"),
    "uuid": ([f"{d}_{uuid.UUID(bytes=RNG.randbytes(16))}" for d in DIGITS], "stem-first"),
    "time stamp": ([f"{d}_{t}" for d, t in zip(DIGITS, STAMPS, strict=True)], "stem-first"),
    "copies": ([f"{w}-{n}" for w in WORDS[:50] for n in (1, 2, 3)], "stem-first"),
    "some copies": ([*WORDS, *(f"{w}-2" for w in WORDS[:90])], "stem-first"),
    "padded counter": ([f"{n:06}_{w}" for n, w in enumerate(WORDS)], "stem-last"),
    "counter with gaps": ([f"{n}-{d}" for n, d in zip(GAPS, DIGITS, strict=True)], "stem-last"),
    "one word": ([f"captcha_{w}" for w in WORDS], "stem-last"),
    "sums": ([f"{n:05}_{RNG.randrange(100)}" for n in range(400)], "stem-last"),
    "six hexadecimal digits": ([f"{n}-{RNG.randbytes(3).hex()}" for n in range(400)], "stem-last"),
    "eight digits": (
        [f"{n}-{d}{RNG.randrange(100, 999)}" for n, d in enumerate(DIGITS)],
        "stem-last",
    ),
    "few words": ([f"{n}-{RNG.choice(['deadbeef', 'c0ffee00'])}" for n in range(400)], "stem-last"),
    "two lengths": (["017", *DIGITS], "stem"),
    "one odd name": ([*WORDS, "ab-cd"], "stem"),
    "ten copies of each": ([f"{w}_{n}" for w in WORDS[:20] for n in range(10)], "stem-first"),
    "long numbers": ([str(RNG.randrange(10**9, 10**10)) for _ in range(200)], "stem"),
}
OPEN = {
    "two numbers": [f"{a}-{b}" for a, b in zip(DIGITS, reversed(DIGITS), strict=True)],
    "two texts": [f"{a}-{b}" for a, b in zip(WORDS, DIGITS, strict=True)],
    "two counters": [f"{n}-{n + 5}" for n in range(400)],
    "kinds": [f"{w}_{RNG.choice(['arial', 'times'])}" for w in WORDS],
    "label in the middle": [f"{n}_{w}_1" for n, w in enumerate(WORDS)],
    "half of them": [*WORDS[:200], *(f"{d}-x" for d in DIGITS[:200])],
    "no labels": [str(n) for n in range(1, 400)],
    "no labels, gaps": [str(n) for n in GAPS],
    "no labels, padded": [f"{n:05}" for n in range(400)],
    "camera": [f"img_{n:04}" for n in GAPS],
    "camera without a separator": [f"img{n:04}" for n in range(7, 400)],
    "hashes": [RNG.randbytes(16).hex() for _ in range(400)],
    "short hashes": [RNG.randbytes(6).hex() for _ in range(400)],
    "time stamps": [str(1_700_000_000_000 + 7 * n) for n in GAPS],
    "dates": [f"2023{n:010}" for n in GAPS],
    "a counter from 1000": [str(n) for n in range(1000, 1040)],
    "padded, gaps": [f"{n:05}" for n in GAPS],
    "two parts": [f"{part}_{n:04}" for part in ("train", "test") for n in range(1, 21)],
    "two parts without a separator": [f"{p}{n:04}" for p in ("train", "test") for n in range(20)],
    "few numbers": ["1", "17", "523", "9998"],
    "few of many": [f"{n}-{d}" for n, d in zip(GAPS[:30], DIGITS[:30], strict=True)],
    "two": ["ab_x1", "cd_x1"],
    "one": ["1-747958"],
}


@pytest.mark.parametrize("case", KNOWN)
def test_a_whole_folder_says_which_part_is_the_label(case: str) -> None:
    """Hashes, time stamps, numbers of copies, counters and one word everywhere are no labels."""
    stems, form = KNOWN[case]
    assert form_of(stems) == form


@pytest.mark.parametrize("case", OPEN)
def test_what_is_open_is_not_guessed(case: str) -> None:
    """With two parts that could be labels, or none, no form is chosen."""
    assert form_of(OPEN[case]) is None


@given(st.lists(st.from_regex(r"[1-9][0-9]{4}-[1-9][0-9]{4}", fullmatch=True), min_size=1))
def test_two_numbers_of_one_length_are_never_guessed(stems: list[str]) -> None:
    """Numbers of five digits count neither pictures nor copies."""
    assert form_of(stems) is None


def test_an_open_choice_lists_what_each_form_makes(tmp_path: Path) -> None:
    """The error names each form to type, and the first picture's label in it."""
    draw(tmp_path, "12345-67890.png", "54321-09876.png", "99999-00000.png")
    with pytest.raises(LabelError) as caught:
        read_labels(tmp_path)
    message = str(caught.value)
    assert "--labels stem-first (12345-67890.png shows '12345')" in message
    assert "--labels stem-last (12345-67890.png shows '67890')" in message
    assert "--labels stem (12345-67890.png shows '12345-67890')" in message
    chosen = read_labels(tmp_path, "stem-last")
    assert [label for _, label in chosen.items] == ["67890", "09876", "00000"]


def test_an_odd_name_among_plain_ones_is_skipped(tmp_path: Path) -> None:
    """A name with a separator may hold more than a label; with `stem` the name is the label."""
    draw(tmp_path, *(f"{word}.png" for word in WORDS[:30]), "ab-cd.png")
    assert len(read_labels(tmp_path).items) == 30
    (problem,) = read_labels(tmp_path).problems
    assert problem[0] == "ab-cd.png"
    assert "--labels stem" in problem[1]
    assert read_labels(tmp_path, "stem").problems == ()


def test_stems_without_the_part_asked_for(tmp_path: Path) -> None:
    """A stem without a separator is its own first part, and has no last part."""
    draw(tmp_path, "abcd.png", "abcd-2.png")
    assert [label for _, label in read_labels(tmp_path, "stem-first").items] == ["abcd", "abcd"]
    last = read_labels(tmp_path, "stem-last")
    assert [label for _, label in last.items] == ["2"]
    assert last.problems == (("abcd.png", "no - in its name"),)


CSV = {
    "plain": b"filename,label\n1.png,001\n2.png,02\n3.png,30\n",
    "id too": b"id,filename,label\n3,1.png,001\n2,2.png,02\n1,3.png,30\n",
    "id only": b"id,label\n1,001\n2,02\n3,30\n",
    "dash": b"file-name,label\n1.png,001\n2.png,02\n3.png,30\n",
    "image and captcha": b"captcha,image\n001,1\n02,2\n30,3\n",
    "capitals": b"File Name,Text\n1.png,001\n2.png,02\n3.png,30\n",
    "mark, CRLF, quotes": b'\xef\xbb\xbf"filename","label"\r\n"1.png","001"\r\n\r\n2.png,02\r\n'
    b'"3.png","30"\r\n',
    "semicolons": b"filename;label\n1.png;001\n2.png;02\n3.png;30\n",
    "spaces": b"filename, label\n1.png, 001\n2.png , 02 \n3.png,30",
    "no header": b"1.png,001\n2.png,02\n3.png,30\n",
    "no header, label first": b"001,1.png\n02,2.png\n30,3.png\n",
    "labels only": b"001\n02\n30\n",
    "labels only, header": b"label\n001\n02\n30\n",
    "moved": b"image_path,label\n/home/a/1.png,001\n/home/a/2.png,02\n/home/a/3.png,30\n",
    "moved on Windows": b"image_path,label\nC:\\a\\1.png,001\nC:\\a\\2.png,02\nC:\\a\\3.png,30\n",
    "dot": b"path,label\n./1.png,001\n./2.png,02\n./3.png,30\n",
}


@pytest.mark.parametrize("case", CSV)
@pytest.mark.parametrize("below", ["", "images/"])
def test_csv(tmp_path: Path, case: str, below: str) -> None:
    """Columns may have names or not; pictures are beside the file or in the only sub-folder."""
    draw(tmp_path, *(f"{below}{n}.png" for n in (1, 2, 3)))
    (tmp_path / "labels.csv").write_bytes(CSV[case])
    labels = read_labels(tmp_path)
    assert pairs(labels, tmp_path) == {
        f"{below}1.png": "001",
        f"{below}2.png": "02",
        f"{below}3.png": "30",
    }
    assert labels.form == "labels.csv"
    assert labels.problems == ()
    assert "labels.csv, column" in labels.description
    assert read_labels(tmp_path, "labels.csv") == labels


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "labels.jsonl",
            '{"file": "images/1.png", "label": "001"}\n\n{"file": "2", "label": "020"}',
        ),
        (
            "metadata.jsonl",
            '{"file_name": "1.png", "text": "001"}\n{"file_name": 2, "text": "020"}',
        ),
        ("labels.txt", "images/1.png\t001\r\nimages/2.png\t020\r\n"),
        ("rec_gt.txt", "\ufeffimages/1.png\t001\nimages/2.png\t020"),
        ("any.tsv", 'name\tcode\n1.png\t"001"\n2.png\t020'),
    ],
)
def test_other_label_files(tmp_path: Path, name: str, content: str) -> None:
    """JSON Lines and text with tabs are read; numbers keep their digits."""
    draw(tmp_path, "images/1.png", "images/2.png")
    (tmp_path / name).write_text(content, encoding="utf-8")
    labels = read_labels(tmp_path)
    assert pairs(labels, tmp_path) == {"images/1.png": "001", "images/2.png": "020"}
    assert labels.form == name


def test_json_numbers_keep_their_digits(tmp_path: Path) -> None:
    """Neither 1e400 nor 3.10 is converted to a float."""
    numbered(tmp_path, 2)
    (tmp_path / "labels.jsonl").write_text('{"id": 1, "label": 3.10}\n{"id": 2, "label": 1e400}')
    assert [label for _, label in read_labels(tmp_path).items] == ["3.10", "1e400"]


def test_quotes_and_commas_are_text_between_tabs(tmp_path: Path) -> None:
    """PaddleOCR's label files have no quoting."""
    numbered(tmp_path, 2)
    (tmp_path / "label.txt").write_text('1.png\t"ab\n2.png\tc,d\n')
    assert [label for _, label in read_labels(tmp_path).items] == ['"ab', "c,d"]


def test_rows_are_assigned_in_natural_order(tmp_path: Path) -> None:
    """Row 10 belongs to `10.png` or `pic 10.png`, not to `2.png`."""
    for prefix in ("", "pic "):
        folder = draw(tmp_path / f"at{prefix}", *(f"{prefix}{n}.png" for n in range(1, 13)))
        (folder / "labels.csv").write_text("".join(f"L{n}\n" for n in range(1, 13)))
        found = pairs(read_labels(folder), folder)
        assert found == {f"{prefix}{n}.png": f"L{n}" for n in range(1, 13)}


@pytest.mark.parametrize("header", ["", "label\n"])
def test_an_empty_row_shifts_no_label(tmp_path: Path, header: str) -> None:
    """The row's picture is skipped; the others keep their own label."""
    folder = draw(tmp_path / "set", *(f"{n}.png" for n in range(1, 11)))
    rows = [f"L{n}" if n != 4 else "" for n in range(1, 11)]
    (folder / "labels.csv").write_text(header + "\n".join(rows) + "\n\n")
    labels = read_labels(folder)
    assert pairs(labels, folder) == {f"{n}.png": f"L{n}" for n in range(1, 11) if n != 4}
    assert len(labels.problems) == 1


def test_rows_that_can_not_be_assigned_in_order_are_refused(tmp_path: Path) -> None:
    """Gaps in numbers, too few rows, or a first row that may be a header would shift labels."""
    gaps = draw(tmp_path / "gaps", *(f"{n}.png" for n in range(1, 22) if n != 20))
    (gaps / "labels.csv").write_text("".join(f"L{n}\n" for n in range(20)))
    with pytest.raises(LabelError, match="20 rows for 20 pictures, whose numbers have gaps"):
        read_labels(gaps)
    names = draw(tmp_path / "names", "a.png", "b.png", "c.png")
    (names / "labels.csv").write_text("x\ny\n")
    with pytest.raises(LabelError, match="2 rows for 3 pictures"):
        read_labels(names, "labels.csv")
    from_0 = draw(tmp_path / "from 0", "0.png", "1.png", "2.png")
    (from_0 / "labels.csv").write_text("x\ny\n")
    with pytest.raises(LabelError, match="2 rows for 3 pictures"):
        read_labels(from_0, "labels.csv")
    (from_0 / "labels.csv").write_text("x\ny\nz\n")
    assert pairs(read_labels(from_0), from_0) == {"0.png": "x", "1.png": "y", "2.png": "z"}
    (names / "labels.csv").write_text("code\nx\ny\n")
    with pytest.raises(LabelError, match=r"--labels labels.csv:1"):
        read_labels(names, "labels.csv")
    chosen = read_labels(names, "labels.csv:1")
    assert [label for _, label in chosen.items] == ["code", "x", "y"]
    (numbered(tmp_path / "numbers") / "labels.csv").write_text("code\nx\ny\n")
    with pytest.raises(LabelError, match=r"labels.csv:code \(1.png shows 'x'\).*labels.csv:1 "):
        read_labels(tmp_path / "numbers")


def test_rows_and_pictures_without_a_partner_are_listed(tmp_path: Path) -> None:
    """Each skipped row or picture is listed with the reason; the others are read."""
    draw(numbered(tmp_path, 6), "7.jpg", "7.png")
    rows = ["1.png,a", "2.png,b", "2.png,c", "9.png,d", "4.png", ",e", "5.png,f", "5.png,f", "7,g"]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label", *rows]))
    labels = read_labels(tmp_path)
    assert pairs(labels, tmp_path) == {"1.png": "a", "5.png": "f"}
    assert dict(labels.problems) == {
        "labels.csv:5": "no such picture: '9.png'",
        "labels.csv:7": "no picture",
        "labels.csv:10": "several pictures fit '7': 7.jpg, 7.png",
        "2.png": "different labels: 'b' in row 3, 'c' in row 4",
        "4.png": "no label in labels.csv:6",
        "3.png": "no row in labels.csv",
        "6.png": "no row in labels.csv",
        "7.jpg": "no row in labels.csv",
        "7.png": "no row in labels.csv",
    }


def test_a_label_that_was_cut_at_a_separator_is_listed(tmp_path: Path) -> None:
    """A comma in a label needs quotes; without them, a part of the label would be read."""
    numbered(tmp_path, 5)
    rows = ["1.png,ab", "2.png,3,4", '3.png,"5,6"', "4.png,cd,,", '5.png,"7', "8.png,9"]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label", *rows]))
    labels = read_labels(tmp_path)
    assert pairs(labels, tmp_path) == {"1.png": "ab", "3.png": "5,6", "4.png": "cd"}
    cut = "labels.csv:3: 3 cells for 2 columns: quote a label that holds a separator"
    problems = dict(labels.problems)
    assert problems["2.png"] == cut
    assert "a line break in the label" in problems["5.png"]
    (tmp_path / "labels.csv").write_text("filename,label\n1.png,1,2\n2.png,1,3\n")
    with pytest.raises(
        LabelError, match=r"no row of labels\.csv gives a picture a label: labels\.csv:2"
    ):
        read_labels(tmp_path, "labels.csv")


def test_label_files_that_disagree_are_an_error(tmp_path: Path) -> None:
    """The error lists each form with an example; two files with equal labels are no error."""
    numbered(tmp_path, 2)
    (tmp_path / "a.csv").write_text("filename,label\n1.png,x\n2.png,y\n")
    (tmp_path / "b.txt").write_text("1.png\tx\n2.png\ty\n")
    assert read_labels(tmp_path).form == "a.csv"
    (tmp_path / "b.txt").write_text("1.png\tx\n2.png\tz\n")
    with pytest.raises(LabelError, match=r"--labels a.csv \(1.png shows 'x'\), --labels b.txt"):
        read_labels(tmp_path)
    assert read_labels(tmp_path, "b.txt").items[1][1] == "z"


def test_label_columns_that_disagree_are_an_error(tmp_path: Path) -> None:
    """A column is chosen after a colon, as in `m.csv:text`."""
    numbered(tmp_path, 2)
    (tmp_path / "m.csv").write_text("file,label,text\n1.png,0,ab\n2.png,1,cd\n")
    with pytest.raises(LabelError, match=r"m.csv:label \(1.png shows '0'\), --labels m.csv:text"):
        read_labels(tmp_path)
    chosen = read_labels(tmp_path, "m.csv:text")
    assert (chosen.form, chosen.items[0][1]) == ("m.csv:text", "ab")
    with pytest.raises(LabelError, match=r"no label column 'txt' in m.csv; there are.*'text'"):
        read_labels(tmp_path, "m.csv:txt")


def test_paths_lead_into_several_folders_and_never_out(tmp_path: Path) -> None:
    """Paths are followed into sub-folders, but not out of the label file's folder."""
    draw(tmp_path, "out.png", "in/a/1.png", "in/b/1.png")
    rows = "a/1.png\tx\nb/1.png\ty\n../out.png\tz\n" + f"{tmp_path / 'out.png'}\tz\n"
    (tmp_path / "in" / "labels.txt").write_text(rows)
    labels = read_labels(tmp_path / "in")
    assert pairs(labels, tmp_path / "in") == {"a/1.png": "x", "b/1.png": "y"}
    assert [where for where, _ in labels.problems] == ["labels.txt:3", "labels.txt:4"]
    (tmp_path / "in" / "labels.txt").unlink()
    with pytest.raises(
        FolderError, match=r"WebP\) in \S*; its sub-folders a, b hold some: name one"
    ):
        read_labels(tmp_path / "in")


def test_the_last_part_of_a_path_counts_only_if_all_paths_are_elsewhere(tmp_path: Path) -> None:
    """Otherwise `b/2.png`, which was deleted, would give its label to another `2.png`."""
    draw(tmp_path, "1.png", "2.png", "a/1.png")
    (tmp_path / "labels.txt").write_text("a/1.png\tx\nb/2.png\ty\n")
    labels = read_labels(tmp_path)
    assert pairs(labels, tmp_path) == {"a/1.png": "x"}
    assert labels.problems == (("labels.txt:2", "no such picture: 'b/2.png'"),)


def test_a_nested_object_is_an_error_of_ours(tmp_path: Path) -> None:
    """JSON of any depth raises a LabelError."""
    numbered(tmp_path, 1)
    (tmp_path / "m.jsonl").write_text("[" * 200_000)
    with pytest.raises(LabelError, match=r"m\.jsonl is damaged"):
        read_labels(tmp_path, "m.jsonl")


def test_sub_folders_beside_pictures_are_not_entered(tmp_path: Path) -> None:
    """Such sub-folders often hold rejected pictures."""
    draw(tmp_path, "ab.png", "cd.png", "bad/ef.png")
    assert pairs(read_labels(tmp_path), tmp_path) == {"ab.png": "ab", "cd.png": "cd"}


@pytest.mark.parametrize(
    "content",
    [
        b"f\xfcr",
        b"",
        b"a,b,c\n1,2,3\n",
        b'filename,label\n"1.png',
        b"filename,label\nx.png,1\n",
    ],
)
def test_a_label_file_of_no_use_is_never_passed_over(tmp_path: Path, content: bytes) -> None:
    """Such a file is listed if the names are labels; otherwise the error says what is wrong."""
    draw(tmp_path / "named", "ab.png", "cd.png")
    numbered(tmp_path / "numbered")
    for folder in (tmp_path / "named", tmp_path / "numbered"):
        (folder / "labels.csv").write_bytes(content)
        (folder / "notes.txt").write_text("no labels, and not meant as such")
    (problem,) = read_labels(tmp_path / "named").problems
    assert problem[0] == "labels.csv"
    with pytest.raises(LabelError, match=r"labels.csv is of no use: .*--labels stem "):
        read_labels(tmp_path / "numbered")
    with pytest.raises(LabelError, match=r"labels.csv"):
        read_labels(tmp_path / "named", "labels.csv")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("stm", "no such form of labels: 'stm'; there are auto, stem, stem-first, .*m.csv"),
        ("n.csv", "no such form of labels: 'n.csv'"),
        ("stem-last", "no file name in .* has a separator, as in ab.png; --labels stem takes"),
        ("stem-first", "no file name"),
        ("m.csv", "0 of 1 rows fit pictures: no such picture: '9.png'"),
    ],
)
def test_a_form_that_does_not_fit_is_refused(tmp_path: Path, form: str, message: str) -> None:
    """The message says which forms there are, or why a form does not fit."""
    draw(tmp_path, "ab.png", "cd.png")
    (tmp_path / "m.csv").write_text("filename,label\n9.png,x\n")
    with pytest.raises(LabelError, match=message):
        read_labels(tmp_path, form)


def test_little_of_a_file_fits_only_if_it_is_asked_for(tmp_path: Path) -> None:
    """With `auto`, a file is refused if few of its rows and few pictures fit, by chance maybe."""
    numbered(tmp_path, 10)
    rows = [f"{n}.png,x{n}" for n in (1, 2, 3, *range(100, 110))]
    (tmp_path / "m.csv").write_text("\n".join(["filename,label", *rows]))
    with pytest.raises(LabelError, match=r"m.csv is of no use: .*3 of 13 rows"):
        read_labels(tmp_path)
    assert len(read_labels(tmp_path, "m.csv").items) == 3


def test_a_folder_of_part_of_the_pictures_is_read(tmp_path: Path) -> None:
    """A file fits if all pictures have a row, though most rows name pictures that are missing."""
    numbered(tmp_path)
    rows = [f"{n}.png,x{n}" for n in range(1, 100)]
    (tmp_path / "m.csv").write_text("\n".join(["filename,label", *rows]))
    labels = read_labels(tmp_path)
    assert (len(labels.items), len(labels.problems)) == (3, 96)


def test_pictures_further_down_are_named(tmp_path: Path) -> None:
    """Archives often unpack to a folder in a folder in a folder."""
    draw(tmp_path, "set/images/1.png", "set/__MACOSX/set/images/._1.png", "set/a/.1.png")
    where = re.escape(f"; there are some in {tmp_path / 'set' / 'images'}")
    with pytest.raises(FolderError, match=where):
        read_labels(tmp_path)
    with pytest.raises(FolderError, match=where):
        next(stream_pictures(tmp_path))


@pytest.mark.parametrize("name", ["none", "empty", "file.png"])
def test_folders_without_pictures_are_errors(tmp_path: Path, name: str) -> None:
    """A folder without pictures raises FolderError, with any form."""
    (tmp_path / "empty").mkdir()
    draw(tmp_path, "file.png")
    for form in ("auto", "stem"):
        with pytest.raises(FolderError, match=name):
            read_labels(tmp_path / name, form)


@pytest.mark.parametrize(
    ("name", "form", "count", "length"),
    [
        ("captcha_v2", "stem", 936, 5),
        ("thsrc", "labels.csv", 9000, 4),
        ("court", "labels.csv", 880, 6),
        ("metu", "stem-last", 6000, 6),
    ],
)
def test_real_folders(captcha_data: Path, name: str, form: str, count: int, length: int) -> None:
    """The form of each real folder is found, and every picture has a label."""
    labels = read_labels(captcha_data / name)
    assert (labels.form, len(labels.items), labels.problems) == (form, count, ())
    assert {len(label) for _, label in labels.items} == {length}


def test_evaluate_reads_labels(call, stripes: Path, stripes_png, tmp_path: Path) -> None:
    """`evaluate` says on stderr which labels it read; `--labels` chooses; stdout stays clean."""
    for n, columns in enumerate(("-aa--bb--cc-----", "c-a-b-----------", "b-b-b-----------"), 1):
        (tmp_path / f"{n}.png").write_bytes(stripes_png(columns))
    (tmp_path / "labels.csv").write_text("file,label,text\n1.png,x,abc\n2.png,x,cab\n")
    (tmp_path / "one.csv").write_text("file,label\n1.png,abc\n2.png,cab\n3.png,bbb\n")
    result = call("evaluate", tmp_path, "-m", stripes)
    assert (result.returncode, result.stdout) == (2, "")
    for choice in ("labels.csv:label", "labels.csv:text", "one.csv"):
        assert f"--labels {choice} (1.png shows" in result.stderr
    result = call("evaluate", tmp_path, "-m", stripes, "--labels", "labels.csv:text")
    assert result.stdout.startswith("total captchas: 2, errors: 0, success rate: 1.0000")
    first, second, third = result.stderr.splitlines()
    assert first.startswith("labels: from labels.csv, columns file and text; 2 pictures")
    assert second == "passed over: 1 .csv file"
    assert third == "captcha-rt: skipped: 3.png: no row in labels.csv"
    result = call("evaluate", tmp_path, "-m", stripes, "--labels", "one.csv", "--quiet")
    assert (result.returncode, result.stderr) == (0, "")
    result = call("evaluate", tmp_path, "-m", stripes, "--labels", "stem", "--json")
    assert json.loads(result.stdout)["total"] == 3
