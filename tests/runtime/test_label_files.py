"""Label files as programs write them: JSON, encodings, spreadsheets, paths, hints."""

import json
import re
import unicodedata
from pathlib import Path

import pytest
from labelled import draw, numbered, pairs

from captcha_rt.errors import FolderError, LabelError
from captcha_rt.labels import read_labels
from captcha_rt.labels.hints import find_hints

HANGUL = "가나다"


JSON = {
    "object": '{"1.png": "001", "2.png": "02", "3": "30"}',
    "numbers": '{"1.png": "001", "2.png": "02", "3.png": 30}',
    "objects": '[{"file": "1.png", "label": "001"}, {"label": "02", "file": "2"}, '
    '{"file": "3.png", "label": 30}]',
    "object of objects": '{"1.png": {"label": "001"}, "2.png": {"label": "02", "w": 3}, '
    '"3.png": {"label": 30}}',
    "lines": '{"file": "1.png", "label": "001"}\n{"file": "2.png", "label": "02"}\n'
    '{"file": "3.png", "label": 30}\n',
}


@pytest.mark.parametrize("case", JSON)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_json(tmp_path: Path, case: str, mark: str) -> None:
    """An object of labels by file, or objects, in a list or by file or line by line."""
    numbered(tmp_path)
    (tmp_path / "labels.json").write_text(mark + JSON[case], "utf-8")
    labels = read_labels(tmp_path)
    assert pairs(labels, tmp_path) == {"1.png": "001", "2.png": "02", "3.png": "30"}
    assert (labels.form, labels.problems) == ("labels.json", ())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"1.png": "a", "1.png": "b"}', "has the key '1.png' twice"),
        ("[1, 2]", "is neither an object of labels by file"),
        ('{"data": [{"file": "1.png", "label": "a"}]}', "is neither an object of labels"),
        ("{", "is damaged"),
        ('{"1.png": null, "2.png": ""}', "no row of m.json gives a picture a label"),
    ],
)
def test_json_of_no_use_says_why(tmp_path: Path, content: str, message: str) -> None:
    """A key that occurs twice may have two labels; the last one is not taken for the right one."""
    numbered(tmp_path)
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(LabelError, match=message):
        read_labels(tmp_path, "m.json")
    with pytest.raises(LabelError, match=f"m.json is of no use: .*{message}"):
        read_labels(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["labels.csv", "labels.txt", "labels.tsv", "labels.jsonl"])
def test_encodings_with_a_mark_are_read(tmp_path: Path, encoding: str, name: str) -> None:
    """Excel and Notepad write UTF-16 with a byte order mark."""
    numbered(tmp_path, 2)
    separator = "," if name == "labels.csv" else "\t"
    text = f"1.png{separator}é1\r\n2.png{separator}ü2\r\n"
    if name == "labels.jsonl":
        text = '{"file": "1.png", "label": "é1"}\n{"file": "2.png", "label": "ü2"}\n'
    mark = "\ufeff" if encoding.endswith("e") else ""
    (tmp_path / name).write_bytes((mark + text).encode(encoding))
    assert pairs(read_labels(tmp_path), tmp_path) == {"1.png": "é1", "2.png": "ü2"}


@pytest.mark.parametrize("encoding", ["latin-1", "gbk", "shift_jis", "utf-16-le", "utf-16-be"])
def test_other_encodings_get_the_line_that_says_how_to_save(tmp_path: Path, encoding: str) -> None:
    """Also UTF-16 without a mark, whose bytes may be valid UTF-8."""
    numbered(tmp_path, 2)
    text = {"latin-1": "é", "gbk": "汉", "shift_jis": "カ"}.get(encoding, "a")
    (tmp_path / "labels.csv").write_bytes(f"file,label\n1.png,{text}\n2.png,b\n".encode(encoding))
    message = r"labels.csv is not UTF-8: save it as UTF-8 \(in Excel as CSV UTF-8"
    with pytest.raises(LabelError, match=message):
        read_labels(tmp_path, "labels.csv")
    draw(tmp_path / "named", "ab.png", "cd.png")
    (tmp_path / "named" / "labels.txt").write_bytes(text.encode(encoding))
    (problem,) = read_labels(tmp_path / "named").problems
    assert problem[0] == "labels.txt"
    assert "not UTF-8" in problem[1]


@pytest.mark.parametrize(
    "name",
    ["labels.xlsx", "labels.XLS", "a.ods", "a.xml", "a.parquet", "a.feather", "a.db", "a.pkl"],
)
def test_files_of_other_programs_are_named(tmp_path: Path, name: str) -> None:
    """The line says what to do, whether names, a label file or nothing gives the labels."""
    draw(tmp_path / "stem", "ab.png", "cd.png")
    numbered(tmp_path / "csv", 2)
    (tmp_path / "csv" / "labels.csv").write_text("file,label\n1.png,ab\n2.png,cd\n")
    numbered(tmp_path / "none", 4)
    for folder in ("stem", "csv", "none"):
        (tmp_path / folder / name).write_bytes(b"PK\3\4")
    for folder in ("stem", "csv"):
        ((where, why),) = read_labels(tmp_path / folder).problems
        assert where == name
        assert why.startswith(f"not used: {name} is ")
        assert "save them as CSV in UTF-8" in why
    for form in ("auto", name):
        with pytest.raises(LabelError, match=f"{name} is .* which is not read"):
            read_labels(tmp_path / "none", form)


def test_a_label_file_beside_the_one_that_is_used_is_listed(tmp_path: Path) -> None:
    """Of many files of a kind only two are named, and notes that name no picture are none."""
    numbered(tmp_path, 4)
    (tmp_path / "labels.csv").write_text("file,label\n1.png,a\n2.png,b\n3.png,c\n4.png,d\n")
    (tmp_path / "old.csv").write_text("1,2,3\n")
    (tmp_path / "notes.txt").write_text("what I did on Monday\n")
    (tmp_path / "list.txt").write_text("1.png|a|x\n")
    for n in range(1, 5):
        (tmp_path / f"{n}.xml").write_text("<annotation/>")
    labels = read_labels(tmp_path)
    assert [where for where, _ in labels.problems] == [
        *("1.xml", "2.xml", "2 more .xml files", "list.txt", "old.csv"),
    ]
    assert labels.notes == ("passed over: 1 .txt file",)


@pytest.mark.parametrize("separator", ["\t", ",", ";", " "])
def test_text_with_one_separator_in_each_line(tmp_path: Path, separator: str) -> None:
    """Tabs, and without tabs a comma, a semicolon or a space."""
    numbered(tmp_path, 2)
    (tmp_path / "labels.txt").write_text(f"1.png{separator}001\n2.png{separator}020\n")
    assert pairs(read_labels(tmp_path), tmp_path) == {"1.png": "001", "2.png": "020"}


@pytest.mark.parametrize(
    "content",
    [
        '1.png,="0012"\n2.png,="0340"\n',
        'file,label\n"1.png","=""0012"""\n"=""2.png""","=""0340"""\n',
        "sep=;\nfile;label\n1.png;0012\n2.png;0340\n",
    ],
)
def test_what_excel_adds_is_removed(tmp_path: Path, content: str) -> None:
    """A cell such as ="0012", with which people keep zeros, and a first line sep=;."""
    numbered(tmp_path, 2)
    (tmp_path / "labels.csv").write_text(content)
    labels = read_labels(tmp_path)
    assert pairs(labels, tmp_path) == {"1.png": "0012", "2.png": "0340"}
    assert labels.problems == ()


OTHER_FORMS = {
    "bar": ("labels.csv", "{n}.png|ab{n}"),
    "space": ("labels.csv", "{n}.png ab{n}"),
    "separator at the end": ("labels.csv", "{n}.png,ab{n},"),
    "space after the comma": ("labels.csv", '{n}.png, "ab{n}"'),
    "quotes in a text": ("gt.txt", '{n}.png, "ab{n}"'),
    "colon": ("labels.txt", "{n}.png: ab{n}"),
    "equals sign": ("labels.txt", "{n}.png=ab{n}"),
    "two spaces": ("labels.txt", "{n}.png  ab{n}"),
    "another suffix": ("labels.csv", "{n}.jpg,ab{n}"),
    "another case": ("labels.csv", "{n}.PNG,ab{n}"),
}


@pytest.mark.parametrize("case", OTHER_FORMS)
def test_rows_as_people_write_them(tmp_path: Path, case: str) -> None:
    """Other separators, quotes, and names of pictures that were converted since."""
    numbered(tmp_path, 12)
    name, row = OTHER_FORMS[case]
    (tmp_path / name).write_text("".join(f"{row.format(n=n)}\n" for n in range(1, 13)))
    labels = read_labels(tmp_path)
    assert pairs(labels, tmp_path) == {f"{n}.png": f"ab{n}" for n in range(1, 13)}
    assert labels.problems == ()


def test_a_text_may_hold_spaces(tmp_path: Path) -> None:
    """Where each line begins with a picture's name, the rest is the label."""
    numbered(tmp_path, 2)
    (tmp_path / "labels.txt").write_text("1.png 3 + 4 =\n2.png 5 - 1 =\n")
    assert pairs(read_labels(tmp_path), tmp_path) == {"1.png": "3 + 4 =", "2.png": "5 - 1 ="}


def test_what_names_pictures_without_labels_is_of_no_use(tmp_path: Path) -> None:
    """A list of names, or a table of other facts, doesn't give way to labels by chance."""
    words = ("2nxcc", "4fwmb", "4x4mf")
    draw(tmp_path, *(f"{word}.png" for word in words))
    for name, header, cells in (
        ("files.csv", "", ""),
        ("split.csv", "filename,split\n", ",train"),
        ("sizes.csv", "file,bytes\n", ",9019"),
    ):
        rows = "".join(f"{word}.png{cells}\n" for word in words)
        (tmp_path / name).write_text(header + rows)
    labels = read_labels(tmp_path)
    assert pairs(labels, tmp_path) == {f"{word}.png": word for word in words}
    assert [where for where, _ in labels.problems] == ["files.csv", "sizes.csv", "split.csv"]


@pytest.mark.parametrize("row", ["{w}.png 120 50", "{w}.png,120,50", "{w}.png 1,2,3,4,0 5,6,7,8,1"])
def test_other_facts_in_a_text_are_no_labels(tmp_path: Path, row: str) -> None:
    """Sizes and boxes after the pictures' names."""
    words = ("2nxcc", "4fwmb", "4x4mf")
    draw(tmp_path, *(f"{word}.png" for word in words))
    (tmp_path / "facts.txt").write_text("".join(f"{row.format(w=word)}\n" for word in words))
    labels = read_labels(tmp_path)
    assert pairs(labels, tmp_path) == {f"{word}.png": word for word in words}


def test_separators_in_labels_stay(tmp_path: Path) -> None:
    """Between names and labels there is the same separator in each line."""
    numbered(tmp_path)
    (tmp_path / "labels.txt").write_text("1.png ab\n2.png =cd\n3.png ;ef\n")
    assert [label for _, label in read_labels(tmp_path).items] == ["ab", "=cd", ";ef"]
    (tmp_path / "labels.txt").unlink()
    (tmp_path / "labels.csv").write_text("1.png,a||b\n2.png,c|d\n3.png,ef\n")
    assert [label for _, label in read_labels(tmp_path).items] == ["a||b", "c|d", "ef"]


def test_a_row_of_a_picture_that_is_gone_is_not_another_ones(tmp_path: Path) -> None:
    """A suffix that doesn't fit counts only for pictures that no row names, case for none then."""
    draw(tmp_path, "1.png", "2.png", "abc.png")
    rows = "1.png,ab\n1.jpg,xy\n2.tif,cd\nABC.png,ef\n"
    (tmp_path / "labels.csv").write_text(f"file,label\n{rows}")
    labels = read_labels(tmp_path)
    assert pairs(labels, tmp_path) == {"1.png": "ab", "2.png": "cd"}
    assert [why for _, why in labels.problems] == [
        *("no such picture: '1.jpg'", "no such picture: 'ABC.png'", "no row in labels.csv")
    ]


def test_the_likelier_of_two_columns(tmp_path: Path) -> None:
    """`target` is the label where nothing else is; names that lead nowhere give way to paths."""
    numbered(tmp_path)
    rows = "".join(f"IMG_{n}.png,{n}.png,ab{n},{n}\n" for n in range(1, 4))
    (tmp_path / "labels.csv").write_text(f"filename,path,label,target\n{rows}")
    labels = read_labels(tmp_path)
    assert labels.source == "labels.csv, columns path and label"
    assert pairs(labels, tmp_path) == {f"{n}.png": f"ab{n}" for n in range(1, 4)}


@pytest.mark.parametrize(("content", "column"), [("id,filename,shown\n", "shown"), ("", "3")])
def test_any_column_may_be_named(tmp_path: Path, content: str, column: str) -> None:
    """`FILE:COLUMN` names the column of the labels, whatever it is called."""
    numbered(tmp_path)
    rows = "".join(f"{n - 1},{n}.png,ab{n}\n" for n in range(1, 4))
    (tmp_path / "labels.csv").write_text(content + rows)
    with pytest.raises(LabelError, match=r"of no use: .*--labels FILE:COLUMN names another"):
        read_labels(tmp_path)
    labels = read_labels(tmp_path, f"labels.csv:{column}")
    assert pairs(labels, tmp_path) == {f"{n}.png": f"ab{n}" for n in range(1, 4)}


def test_a_header_without_a_known_name_shifts_no_label(tmp_path: Path) -> None:
    """One row more than pictures may be a header or one label too many: nobody knows."""
    numbered(tmp_path, 12)
    (tmp_path / "labels.csv").write_text("shown\n" + "".join(f"ab{n}\n" for n in range(1, 13)))
    with pytest.raises(LabelError, match=r"one row more than .* --labels labels.csv:shown"):
        read_labels(tmp_path)
    labels = read_labels(tmp_path, "labels.csv:shown")
    assert pairs(labels, tmp_path) == {f"{n}.png": f"ab{n}" for n in range(1, 13)}


def test_a_number_does_not_stand_in_for_a_name(tmp_path: Path) -> None:
    """Where the names lead nowhere, a column of numbers that fits by chance is not taken."""
    numbered(tmp_path, 12)
    rows = "".join(f"{n},cap{n}.png,ab{n}\n" for n in range(12))
    (tmp_path / "labels.csv").write_text("id,filename,label\n" + rows)
    with pytest.raises(LabelError, match="0 of 12 rows fit pictures"):
        read_labels(tmp_path)


@pytest.mark.parametrize("suffix", [".txt", ".gt.txt"])
@pytest.mark.parametrize("form", ["auto", "beside"])
def test_a_text_beside_each_picture(tmp_path: Path, suffix: str, form: str) -> None:
    """As for Tesseract: the only line is the label; a picture without one is listed."""
    names = ("gmtrh", "hkgwk", "hskkv", "zzzzz")
    draw(tmp_path, *(f"{name}.png" for name in names))
    for number, name in enumerate(names[:3]):
        (tmp_path / f"{name}{suffix}").write_text(f"ab{number}\n")
    labels = read_labels(tmp_path, form)
    assert labels.form == "beside"
    assert pairs(labels, tmp_path) == {f"{name}.png": f"ab{n}" for n, name in enumerate(names[:3])}
    assert labels.problems == (("zzzzz.png", "no row in the folder: no text beside it"),)
    assert labels.notes == ()
    (tmp_path / f"{names[1]}{suffix}").unlink()
    (tmp_path / f"{names[2]}{suffix}").unlink()
    assert read_labels(tmp_path).form == "stem"  # a single text is no form
    assert pairs(read_labels(tmp_path, "beside"), tmp_path) == {"gmtrh.png": "ab0"}


@pytest.mark.parametrize("text", ["0 0.5 0.5 1e-05 -0.5\n", "one\ntwo\n"])
def test_a_text_of_several_lines_or_a_box_is_no_label(tmp_path: Path, text: str) -> None:
    """YOLO's boxes lie beside the pictures, too."""
    draw(tmp_path, "2nxcc.png", "4fwmb.png")
    for name in ("2nxcc", "4fwmb"):
        (tmp_path / f"{name}.txt").write_text(text)
    labels = read_labels(tmp_path)
    assert labels.form == "stem"
    assert "hold no labels" in labels.problems[0][1]
    with pytest.raises(LabelError, match="hold no labels"):
        read_labels(tmp_path, "beside")


def test_a_file_in_the_folder_beside_the_pictures(tmp_path: Path) -> None:
    """`annotations/labels.csv` beside `images`."""
    numbered(tmp_path / "images")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "labels.csv").write_text("file,label\n1.png,a\n2.png,b\n3.png,c\n")
    found = pairs(read_labels(tmp_path), tmp_path)
    assert found == {"images/1.png": "a", "images/2.png": "b", "images/3.png": "c"}
    draw(tmp_path / "named" / "images", "gmtrh.png", "hkgwk.png")
    (tmp_path / "named" / "lists").mkdir()
    table = tmp_path / "named" / "lists" / "m.csv"
    table.write_text("file,label\n7.png,a\n8.png,b\n")
    labels = read_labels(tmp_path / "named")
    assert (labels.form, labels.problems[0][0]) == ("stem", "lists/m.csv")
    table.write_text("file,label\ngmtrh.png,a\nhkgwk.png,b\n")
    assert read_labels(tmp_path / "named", without={table}).form == "stem"


def test_a_file_beside_the_folder_is_never_passed_over(tmp_path: Path) -> None:
    """It is offered, unless it says what the names say."""
    draw(tmp_path / "images", "gmtrh.png", "hkgwk.png")
    table = tmp_path / "labels.csv"
    table.write_text("file,label\ngmtrh.png,a\nhkgwk.png,b\n")
    with pytest.raises(LabelError, match=r"stem \(gmtrh.*labels.csv \(gmtrh.png shows 'a'\)"):
        read_labels(tmp_path / "images")
    assert read_labels(tmp_path / "images", without={table}).form == "stem"
    table.write_text("file,label\ngmtrh.png,gmtrh\nhkgwk.png,hkgwk\n")
    assert read_labels(tmp_path / "images").form == "stem"
    table.unlink()
    answers = [{"path": f"{n}.png", "text": "a", "confidence": 0.9} for n in ("gmtrh", "hkgwk")]
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    assert read_labels(tmp_path / "images").form == "stem"


def test_a_comment_before_the_header_is_no_row(tmp_path: Path) -> None:
    """A first line without a comma doesn't change what separates the others."""
    numbered(tmp_path)
    (tmp_path / "labels.csv").write_text("# exported\nfilename,label\n1.png,a\n2.png,b\n3.png,c\n")
    assert pairs(read_labels(tmp_path), tmp_path) == {"1.png": "a", "2.png": "b", "3.png": "c"}


@pytest.mark.parametrize("file_form", ["NFC", "NFD"])
@pytest.mark.parametrize("table_form", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["labels.csv", "labels.json", "escaped.json"])
def test_names_are_equal_in_every_normal_form(
    tmp_path: Path, file_form: str, table_form: str, name: str
) -> None:
    """A CSV file of Windows fits files of a Mac; all labels are composed."""
    names = [f"é{n}/{HANGUL}{n}.png" for n in range(3)]
    draw(tmp_path, *(unicodedata.normalize(file_form, each) for each in names))
    rows = {
        unicodedata.normalize(table_form, each): unicodedata.normalize(table_form, HANGUL)
        for each in names
    }
    if name == "labels.csv":
        text = "\n".join(f"{file},{label}" for file, label in rows.items())
    else:
        text = json.dumps(rows, ensure_ascii=name == "escaped.json")
    (tmp_path / name).write_text(text, "utf-8")
    labels = read_labels(tmp_path)
    assert [label for _, label in labels.items] == [HANGUL] * 3
    assert (labels.form, labels.problems) == (name, ())


def test_paths_from_the_pictures_folder(tmp_path: Path) -> None:
    """dddd_trainer's second layout: paths from `images` on, some of them below it."""
    draw(tmp_path, "images/1f.png", "images/2e.png", "images/aaaa/3d.png", "images/b/c/4c.png")
    rows = "1f.png\tx\n2e.png\ty\naaaa/3d.png\tz\nb/c/4c.png\tw\n"
    (tmp_path / "labels.txt").write_text(rows)
    labels = read_labels(tmp_path)
    assert pairs(labels, tmp_path) == {
        "images/1f.png": "x",
        "images/2e.png": "y",
        "images/aaaa/3d.png": "z",
        "images/b/c/4c.png": "w",
    }
    assert (labels.problems, labels.notes) == ((), ())


@pytest.mark.parametrize(
    "written", ["{0}/{1}", "{1}", "images/{0}/{1}", "./images/{0}/{1}", "images\\{0}\\{1}"]
)
@pytest.mark.parametrize("where", ["", "images/"])
def test_paths_below_sub_folders(tmp_path: Path, written: str, where: str) -> None:
    """Pictures in sub-folders of `images` are found from each folder, and by their names."""
    names = [("aa", "1"), ("aa", "2"), ("bb", "3"), ("bb", "4")]
    draw(tmp_path, *(f"images/{folder}/{name}.png" for folder, name in names))
    rows = [f"{written.format(*name)}.png\tx{name[1]}\n" for name in names]
    (tmp_path / where / "labels.txt").write_text("".join(rows))
    folder = tmp_path / where
    labels = read_labels(folder)
    assert [label for _, label in labels.items] == ["x1", "x2", "x3", "x4"]
    assert labels.problems == ()


@pytest.mark.parametrize("root", ["/home/a/set/", "C:\\set\\", "../set/", "/set/images/"])
def test_paths_of_a_folder_that_was_moved(tmp_path: Path, root: str) -> None:
    """The first parts of the paths are dropped, as many in each row."""
    draw(tmp_path, "images/a/1.png", "images/b/1.png")
    below = "" if root.endswith("images/") else "images/"
    rows = f"{root}{below}a/1.png\tx\n{root}{below}b/1.png\ty\n"
    (tmp_path / "labels.txt").write_text(rows)
    assert pairs(read_labels(tmp_path), tmp_path) == {"images/a/1.png": "x", "images/b/1.png": "y"}


def test_a_name_in_two_folders_names_no_picture(tmp_path: Path) -> None:
    """Two folders may both count their pictures from 1; a third with such a name is out, too."""
    draw(tmp_path, *(f"a/{n}.png" for n in (1, 2)), *(f"b/{n}.png" for n in (2, 3, 4)))
    (tmp_path / "labels.csv").write_text("file,label\n1.png,x\n2.png,y\n3.png,z\n")
    with pytest.raises(LabelError, match="0 of 3 rows fit pictures"):
        read_labels(tmp_path, "labels.csv")
    with pytest.raises(FolderError, match="sub-folders a, b hold some"):
        read_labels(tmp_path)


def test_a_picture_that_is_gone_does_not_take_another_one(tmp_path: Path) -> None:
    """Where most rows fit, a name is not looked for in sub-folders."""
    numbered(tmp_path)
    draw(tmp_path, "other/4.png")
    (tmp_path / "labels.csv").write_text("file,label\n1.png,a\n2.png,b\n3.png,c\n4.png,d\n")
    labels = read_labels(tmp_path)
    assert pairs(labels, tmp_path) == {"1.png": "a", "2.png": "b", "3.png": "c"}
    assert labels.problems == (("labels.csv:5", "no such picture: '4.png'"),)


def test_columns_of_fast_plate_ocr(tmp_path: Path) -> None:
    """`plate_text` is the label; `plate_region` is none."""
    draw(tmp_path, "images/a.jpg", "images/b.jpg")
    rows = "images/a.jpg,AB123,Chile\nimages/b.jpg,CD456,Peru\n"
    (tmp_path / "annotations.csv").write_text(f"image_path,plate_text,plate_region\n{rows}")
    labels = read_labels(tmp_path)
    assert pairs(labels, tmp_path) == {"images/a.jpg": "AB123", "images/b.jpg": "CD456"}
    assert labels.source == "annotations.csv, columns image_path and plate_text"


def test_a_label_file_in_another_folder(tmp_path: Path) -> None:
    """`--labels` takes any path; rows are looked for beside the file and in the folder."""
    draw(tmp_path, "set/1.png", "set/2.png", "lists/3.png")
    (tmp_path / "lists" / "m.csv").write_text("file,label\n1.png,a\n2.png,b\n3.png,c\n")
    labels = read_labels(tmp_path / "set", str(tmp_path / "lists" / "m.csv"))
    assert [(path.name, label) for path, label in labels.items] == [
        *(("3.png", "c"), ("1.png", "a"), ("2.png", "b")),
    ]


@pytest.mark.parametrize("below", ["", "images/"])
def test_a_ready_made_split_is_named(tmp_path: Path, below: str) -> None:
    """The error on a folder without pictures says how to train on `train` and `val` in it."""
    draw(tmp_path, f"train/{below}ab.png", f"train/{below}cd.png", f"val/{below}ef.png")
    with pytest.raises(FolderError, match=r"captcha-rt train .*/train --validation .*/val"):
        read_labels(tmp_path)


def test_what_is_left_out_is_not_listed(tmp_path: Path) -> None:
    """Pictures and label files of another part of a split are no problems."""
    numbered(tmp_path, 4)
    (tmp_path / "train.csv").write_text("file,label\n1.png,a\n2.png,b\n")
    (tmp_path / "val.csv").write_text("file,label\n3.png,c\n4.png,d\n")
    with pytest.raises(LabelError, match=r"--validation FILE.*--labels train\.csv .*val\.csv"):
        read_labels(tmp_path)
    held_back = read_labels(tmp_path, "val.csv")
    assert held_back.files == (tmp_path / "val.csv",)
    without = {*held_back.files, *(path for path, _ in held_back.items)}
    labels = read_labels(tmp_path, without=without)
    assert pairs(labels, tmp_path) == {"1.png": "a", "2.png": "b"}
    assert (labels.problems, labels.notes) == ((), ())


HINTS = {
    "missing": (["nan", "ab", "nan", "cd"], "2 labels are 'nan': .* leave their cells empty"),
    "zeros": (["1234", "5678", "123", "4321", "9876"], "fewer than 4 digits, as 123, .* 0123"),
    "rounded": (["1.23E+11", "123456789012"], "1.23E[+]11 looks like a number"),
    "both cases": (["aCd", "Acd"], "have c and C: .*--fold-case"),
    "capitals and small": (["ABG", "abg"], "have a and A, b and B, g and G: "),
    "start": ([f"cap {c}" for c in "vwxyz"], "all labels begin with 'cap '"),
    "end": ([f"{c}.png" for c in "vwxyz"], "all labels end with '.png'"),
    "invisible": (["ab\u200b", "cd"], "nobody sees: U[+]200B"),
    "no-break space": (["a\u00a0b", "cd"], "nobody sees: U[+]00A0"),
}
NO_HINTS = {
    "zeros are there": ["0123", "5678", "123", "4321", "9876"],
    "numbers below 100": ["7", "42", "13", "99", "55", "81"],
    "one length": ["1234", "5678"],
    "letters": ["12a", "1234", "5678", "4321"],
    "cases of other shapes": ["aBg", "AbG"],
    "sums": ["1+2=", "3+4=", "5+6=", "7+1=", "2+2="],
    "few": ["ab", "ac"],
    "one nan": ["nan", "ab", "cd"],
}


@pytest.mark.parametrize("case", HINTS)
def test_what_looks_wrong_is_a_hint(case: str) -> None:
    """One line says what was seen, and what to do."""
    labels, message = HINTS[case]
    (hint,) = find_hints(labels)
    assert re.search(message, hint), hint


@pytest.mark.parametrize("case", NO_HINTS)
def test_what_looks_right_gives_no_hint(case: str) -> None:
    """Ordinary labels are left alone."""
    assert find_hints(NO_HINTS[case]) == []


def test_evaluate_ignores_case_if_asked(call, stripes: Path, stripes_png, tmp_path: Path) -> None:
    """With `--ignore-case` all metrics count `A` as `a`; remarks on the labels are on stderr."""
    for name, columns in (("ABC", "-aa--bb--cc-----"), ("cab", "c-a-b-----------")):
        (tmp_path / f"{name}.png").write_bytes(stripes_png(columns))
    (tmp_path / "._cab.png").write_bytes(b"a resource fork")
    result = call("evaluate", tmp_path, "-m", stripes)
    assert "total captchas: 2, errors: 1" in result.stdout
    assert "confused: A as a, 1" in result.stdout
    assert "passed over: 1 hidden file" in result.stderr
    assert "evaluate with --ignore-case" in result.stderr
    result = call("evaluate", tmp_path, "-m", stripes, "--ignore-case")
    assert "total captchas: 2, errors: 0" in result.stdout
    assert "character error rate: 0.0000" in result.stdout
    assert "--ignore-case" not in result.stderr


def test_label_file_may_be_in_the_folder_above(tmp_path: Path) -> None:
    """Its names lead to the pictures, each once."""
    folder = numbered(tmp_path / "pictures", 2)
    file = tmp_path / "labels.csv"
    file.write_text("filename,label\n1.png,one\n2.png,two\n")
    assert pairs(read_labels(folder, str(file)), folder) == {"1.png": "one", "2.png": "two"}
