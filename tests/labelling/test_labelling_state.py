"""Labels while people work on them, without a server: the file, undo, marks, and other programs."""

import csv
import tempfile
import time
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captcha_rt import session
from captcha_rt.errors import FolderError, LabelError, ModelError
from captcha_rt.labels import read_labels
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.labelling.opening import form_for_others, open_folder
from captcha_rt_train.labelling.picture import Suggestion, clean_label
from captcha_rt_train.labelling.reading import Reading
from captcha_rt_train.labelling.state import ConflictError, Labelling

NAMES = (
    "0001.png",
    "7.jpg",
    "7.png",
    "=1+1.png",
    "a,b.png",
    "e\u0301.png",  # decomposed, as a Mac writes it
    "mixed CASE.PNG",
    'quote".png',
    "semi;colon.png",
    "tab.tar.gif",
)


def fill(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    """Makes empty picture files; nobody looks into them here."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return folder


def begin(folder: Path, form: str = "auto", out: Path | None = None) -> Labelling:
    return Labelling(open_folder(folder, form, out), folder / ".captcha-rt")


def place_of(labelling: Labelling, name: str) -> int:
    return [picture.name for picture in labelling.pictures].index(name)


def put(labelling: Labelling, name: str, label: str, tab: str = "") -> None:
    place = place_of(labelling, name)
    labelling.set_label(place, labelling[place].version, clean_label(label), tab)


def shown(labelling: Labelling) -> dict[str, str | None]:
    return {picture.name: picture.label for picture in labelling.pictures}


def saved(folder: Path) -> dict[str, str]:
    return {path.name: label for path, label in read_labels(folder).items}


label_texts = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=8
) | st.sampled_from(
    ['="0012"', "0012", "1,5", '"', "=A1", "a b", "ﬁ", "e\u0301", "\u200b", "sep=;"]
)
steps = st.lists(
    st.tuples(st.just("label"), st.sampled_from(NAMES), label_texts)
    | st.tuples(st.sampled_from(["undo", "restart"]), st.just(""), st.just("")),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_others_read_what_is_shown(steps: list[tuple[str, str, str]]) -> None:
    """After any labels, undos and restarts the file holds what the page shows, and nothing else."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = fill(Path(temporary) / "pictures")
        labelling = begin(folder)
        expected: dict[str, str | None] = dict.fromkeys(NAMES)
        past: list[tuple[str, str | None]] = []
        for what, name, text in steps:
            if what == "label":
                past.append((name, expected[name]))
                put(labelling, name, text)
                expected[name] = clean_label(text)
            elif what == "undo":
                assert (labelling.undo() is None) == (not past)
                if past:
                    undone, before = past.pop()
                    expected[undone] = before
            else:
                labelling, past = begin(folder), []
            assert shown(labelling) == expected
        labelled = {name: label for name, label in expected.items() if label}
        if labelled:
            assert saved(folder) == labelled
            assert form_for_others(labelling.opened, labelling.items()) == ""
        else:
            with pytest.raises(LabelError):
                read_labels(folder)


@given(st.text(max_size=12))
def test_labels_are_as_a_file_gives_them_back(text: str) -> None:
    """A label is clean, in NFC, and stays as it is; or it is refused."""
    try:
        label = clean_label(text)
    except TrainingError:
        return
    assert clean_label(label) == label == label.strip() == normalize("NFC", label)
    assert len(label.splitlines()) <= 1


@pytest.mark.parametrize(
    ("name", "data", "rest"),
    [
        (
            "labels.csv",
            b"filename,label\n2.png,0002\n1.png,0001\n",
            b"filename,label\n2.png,new\n1.png,0001\n3.png,three\n",
        ),
        (  # of Excel: a byte order mark, semicolons, Windows' ends of lines, kept zeros
            "truth.csv",
            b'\xef\xbb\xbfsep=;\r\nNr;Label;Image\r\n1;"=""0001""";1.png\r\n2;0002;2.png\r\n',
            b'\xef\xbb\xbfsep=;\r\nNr;Label;Image\r\n1;"=""0001""";1.png\r\n2;new;2.png\r\n'
            b";three;3.png\r\n",
        ),
        (
            "labels.tsv",
            b"text\tid\tby\n0001\t1\tme\n0002\t2\tyou, too\n\n",
            b"text\tid\tby\n0001\t1\tme\nnew\t2\tyou, too\nthree\t3.png\t\n",
        ),
        (  # without a header
            "list.csv",
            b"1.png,0001\n2.png,0002\n",
            b"1.png,0001\n2.png,new\n3.png,three\n",
        ),
        (  # rows without a picture, short and empty ones
            "labels.csv",
            b"file,label\n9.png,gone\n\n1.png,0001\n2.png,0002\n3.png\n",
            b"file,label\n9.png,gone\n\n1.png,0001\n2.png,new\n3.png,three\n",
        ),
        (  # rows twice
            "labels.csv",
            b"file,label\n1.png,0001\n2.png,0002\n2.png,0002\n",
            b"file,label\n1.png,0001\n2.png,new\n2.png,new\n3.png,three\n",
        ),
    ],
)
def test_a_csv_is_kept_up(tmp_path, name: str, data: bytes, rest: bytes) -> None:
    """Only the label that changes changes; a new row comes at the end."""
    folder = fill(tmp_path / "pictures", ("1.png", "2.png", "3.png"))
    (folder / name).write_bytes(data)
    labelling = begin(folder)
    assert shown(labelling) == {"1.png": "0001", "2.png": "0002", "3.png": None}
    put(labelling, "2.png", "new")
    put(labelling, "3.png", "three")
    assert (folder / name).read_bytes() == rest
    assert saved(folder) == {"1.png": "0001", "2.png": "new", "3.png": "three"}
    labelling.undo()
    labelling.undo()
    assert saved(folder) == {"1.png": "0001", "2.png": "0002"}


def test_a_label_that_was_cut_is_written_anew(tmp_path) -> None:
    """A row with more cells than columns has no label; the others keep what they have."""
    fill(tmp_path)
    first, second, *_ = NAMES
    (tmp_path / "labels.csv").write_text(f"note,file,label\nx,{first},3,4\ny,{second},56\n")
    labelling = begin(tmp_path)
    assert (shown(labelling)[first], shown(labelling)[second]) == (None, "56")
    put(labelling, second, "78")
    assert f"x,{first},3,4\n" in (tmp_path / "labels.csv").read_text("utf-8")
    put(labelling, first, "3,4")
    assert f'x,{first},"3,4"\ny,{second},78\n' in (tmp_path / "labels.csv").read_text("utf-8")


def test_suspects_are_found_by_their_paths(tmp_path) -> None:
    """Of two pictures with one name, only that in the named folder is listed."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        fill(tmp_path / folder, ("1.png",))
    (tmp_path / "labels.csv").write_text("file,label\na/1.png,12\nb/1.png,12\n")
    labelling = begin(tmp_path)
    suspects = [("b/1.png", "12", Suggestion("72", 0.9, "suspects.csv"))]
    assert labelling.list_suspects(suspects) == 1
    assert [p.name for p in labelling.pictures if p.listed] == ["b/1.png"]


def test_suspects_with_folded_labels_are_found(tmp_path) -> None:
    """`suspects --fold-case` lists labels in lower case."""
    fill(tmp_path, ("1.png", "2.png"))
    (tmp_path / "labels.csv").write_text("file,label\n1.png,AbC\n2.png,xyz\n")
    labelling = begin(tmp_path)
    suspects = [
        (name, "abc", Suggestion("abd", 0.9, "suspects.csv")) for name in ("1.png", "2.png")
    ]
    assert labelling.list_suspects(suspects) == 1
    assert [p.name for p in labelling.pictures if p.listed] == ["1.png"]


def test_a_csv_in_utf_16_stays_so(tmp_path) -> None:
    """Excel's Unicode text."""
    folder = fill(tmp_path / "pictures", ("1.png", "2.png"))
    (folder / "labels.csv").write_text("file,label\n1.png,é\n2.png,ü\n", "utf-16")
    put(begin(folder), "1.png", "ö")
    assert (folder / "labels.csv").read_text("utf-16") == "file,label\n1.png,ö\n2.png,ü\n"


@pytest.mark.parametrize(
    ("rows", "where"),
    [
        ("images/1.png,one\nimages/2.png,two\n", "labels.csv"),
        ("images\\1.png,one\nimages\\2.png,two\n", "labels.csv"),
        ("1.png,one\n2.png,two\n", "labels.csv"),
        ("1.png,one\n2.png,two\n", "images/labels.csv"),
    ],
)
def test_pictures_in_a_folder_below(tmp_path, rows: str, where: str) -> None:
    """Old rows stay, and new ones lead to their pictures, too."""
    folder = tmp_path / "data"
    fill(folder, ())
    fill(folder / "images", ("1.png", "2.png", "3.png"))
    (folder / where).write_text(f"filename,label\n{rows}")
    labelling = begin(folder)
    assert shown(labelling) == {"images/1.png": "one", "images/2.png": "two", "images/3.png": None}
    put(labelling, "images/3.png", "three")
    assert (folder / where).read_text().startswith(f"filename,label\n{rows}")
    assert saved(folder) == {"1.png": "one", "2.png": "two", "3.png": "three"}


def test_labels_in_names_go_into_a_csv(tmp_path) -> None:
    """With the first change all labels are written; until then nothing."""
    names = tuple(f"{number}-{label}.png" for number, label in enumerate(("abc", "bcd", "cde"), 1))
    folder = fill(tmp_path / "pictures", names)
    labelling = begin(folder)
    assert shown(labelling) == dict(zip(names, ("abc", "bcd", "cde"), strict=True))
    assert not (folder / "labels.csv").exists()
    put(labelling, names[1], "BCD")
    assert saved(folder) == dict(zip(names, ("abc", "BCD", "cde"), strict=True))
    assert set(shown(begin(folder, "none", folder / "new.csv")).values()) == {None}


def test_labels_in_texts_go_into_a_csv(tmp_path) -> None:
    """The page starts with them, and leaves the texts alone."""
    folder = fill(tmp_path / "pictures", ("1.png", "2.png"))
    for name in ("1", "2"):
        (folder / f"{name}.txt").write_text(f"ab{name}\n")
    labelling = begin(folder)
    assert shown(labelling) == {"1.png": "ab1", "2.png": "ab2"}
    put(labelling, "2.png", "cd")
    assert saved(folder) == {"1.png": "ab1", "2.png": "cd"}
    assert form_for_others(labelling.opened, labelling.items()) == ""
    assert shown(begin(folder)) == {"1.png": "ab1", "2.png": "cd"}


def test_a_column_that_was_asked_for_is_kept_up(tmp_path) -> None:
    """Also after another program has written the file; other columns stay as they are."""
    folder = fill(tmp_path / "pictures", ("1.png", "2.png"))
    table = folder / "labels.csv"
    table.write_text('filename, shown, note\n1.png, "a,b", x\n2.png, cd, y\n')
    labelling = begin(folder, "labels.csv:shown")
    table.write_text(table.read_text().replace("cd", "ef"))
    put(labelling, "1.png", "gh")
    rows = list(csv.reader(table.read_text().splitlines()))
    assert rows == [["filename", "shown", "note"], ["1.png", "gh", "x"], ["2.png", "ef", "y"]]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("labels.json", '{"1.png": "one", "2.png": "two"}', "-o labels.csv"),
        ("labels.txt", "1.png\tone\n2.png\ttwo\n", "-o labels.csv"),
        ("labels.csv", "label\none\ntwo\nthree\n", "has no column with the names"),
        ("labels.csv", "1.png one\n2.png two\n", "spaces between names and labels"),
        (
            "labels.csv",
            "filename,label\nC:\\old\\data\\1.png,one\nC:\\old\\data\\2.png,two\n",
            "paths from another place",
        ),
    ],
)
def test_other_forms_start_another_file(tmp_path, file: str, text: str, message: str) -> None:
    """What can't be kept up is said; `-o` starts with its labels."""
    folder = fill(tmp_path / "pictures", ("1.png", "2.png", "3.png"))
    (folder / file).write_text(text)
    with pytest.raises(LabelError, match=message):
        begin(folder)
    out = folder / "mine.csv"
    labelling = begin(folder, out=out)
    before = shown(labelling)
    assert list(before.values())[:2] == ["one", "two"]
    put(labelling, "1.png", "eins")
    assert form_for_others(labelling.opened, labelling.items()) == "mine.csv"
    assert dict(read_labels(folder, "mine.csv").items)[folder / "1.png"] == "eins"
    assert shown(begin(folder, out=out)) == {**before, "1.png": "eins"}
    assert (folder / file).read_text() == text


def test_a_list_without_labels_is_to_be_labelled(tmp_path) -> None:
    """Empty labels that nobody gave mean that nobody has looked; `unreadable` is remembered."""
    folder = fill(tmp_path / "pictures", ("1.png", "2.png", "3.png"))
    (folder / "labels.csv").write_text("filename,label\n1.png,\n2.png,\n3.png,\n")
    labelling = begin(folder)
    assert set(shown(labelling).values()) == {None}
    put(labelling, "2.png", "")
    assert shown(begin(folder)) == {"1.png": None, "2.png": "", "3.png": None}
    put(labelling, "1.png", "one")
    assert shown(begin(folder)) == {"1.png": "one", "2.png": "", "3.png": None}
    assert saved(folder) == {"1.png": "one"}
    (folder / ".captcha-rt" / "marks.json").write_text("{")
    assert shown(begin(folder)) == {"1.png": "one", "2.png": None, "3.png": None}


def test_names_that_a_row_can_not_hold_are_left_out(tmp_path) -> None:
    """They are counted in a note; alone they are an error."""
    wrong = (" space.png", "back\\slash.png", "line\nfeed.png", "caf\udce9.png")
    folder = fill(tmp_path / "pictures", (*wrong, "1.png"))
    opened = open_folder(folder)
    assert [name for name, _ in opened.pictures] == ["1.png"]
    assert opened.notes[0].startswith("4 pictures are left out")
    (folder / "1.png").unlink()
    with pytest.raises(FolderError, match="can't be written"):
        open_folder(folder)


def test_undo_goes_back_step_by_step(tmp_path) -> None:
    """Several changes of one picture, marks included; of two tabs each takes back its own."""
    labelling = begin(fill(tmp_path / "pictures"))
    for label, tab in (("one", "a"), ("two", "a"), ("", "a"), ("three", "a")):
        put(labelling, "7.png", label, tab)
    put(labelling, "7.jpg", "other", "b")
    place = place_of(labelling, "7.png")
    for label in ("", "two", "one", None):
        assert labelling.undo("a") == place
        assert labelling[place].label == label
    assert labelling.undo("a") == place_of(labelling, "7.jpg")  # a has none of its own left
    assert labelling.undo("b") is None
    assert set(shown(labelling).values()) == {None}


def test_undo_reaches_the_file_after_another_program(tmp_path) -> None:
    """A label that the file was read again with is taken back there, too."""
    folder = fill(tmp_path / "pictures", ("1.png", "2.png", "3.png"))
    labelling = begin(folder)
    put(labelling, "2.png", "new")
    file = folder / "labels.csv"
    file.write_text(f"{file.read_text()}1.png,theirs\n")
    put(labelling, "3.png", "later")
    for _ in range(2):
        labelling.undo()
    expected = {"1.png": "theirs", "2.png": None, "3.png": None}
    assert shown(labelling) == shown(begin(folder)) == expected


@pytest.mark.parametrize("rows", ["1.png,3,4\n", "1.png,ab\n1.png,cd\n"])
def test_undo_restores_rows_that_give_no_label(tmp_path, rows: str) -> None:
    """A label that was cut at a separator, and two that differ, are not lost."""
    folder = fill(tmp_path / "pictures", ("1.png", "2.png", "3.png"))
    file = folder / "labels.csv"
    file.write_text(f"file,label\n{rows}2.png,xy\n3.png,yz\n")
    labelling = begin(folder)
    assert labelling[place_of(labelling, "1.png")].label is None
    put(labelling, "1.png", "")
    labelling.undo()
    assert file.read_text() == f"file,label\n{rows}2.png,xy\n3.png,yz\n"


def test_undo_after_another_tab_is_a_conflict_once(tmp_path) -> None:
    """What another tab has changed since isn't taken back."""
    labelling = begin(fill(tmp_path / "pictures"))
    put(labelling, "7.jpg", "before", "a")
    put(labelling, "7.png", "one", "a")
    put(labelling, "7.png", "two", "b")
    with pytest.raises(ConflictError):
        labelling.undo("a")
    assert labelling.undo("a") == place_of(labelling, "7.jpg")
    assert shown(labelling)["7.png"] == "two"


def test_failed_saves_change_nothing(tmp_path) -> None:
    """Neither labels nor marks nor what can be taken back."""
    folder = fill(tmp_path / "pictures")
    labelling = begin(folder)
    put(labelling, "7.png", "kept")
    folder.rename(tmp_path / "away")
    for label in ("lost", ""):
        with pytest.raises(OSError, match=r"[Nn]o such f"):
            put(labelling, "7.jpg", label)
    with pytest.raises(OSError, match=r"[Nn]o such f"):
        labelling.undo()
    assert (shown(labelling)["7.png"], shown(labelling)["7.jpg"]) == ("kept", None)
    (tmp_path / "away").rename(folder)
    assert labelling.undo() == place_of(labelling, "7.png")


def test_suspects_are_labels_that_a_reading_contradicts(tmp_path) -> None:
    """From a confidence of 0.5 on, until somebody has looked at the label again."""
    labelling = begin(fill(tmp_path / "pictures"))
    place = place_of(labelling, "7.png")
    put(labelling, "7.png", "abc")
    for text, confidence, suspect in (
        ("abc", 0.9, False),
        ("abd", 0.49, False),
        ("", 0.9, False),
        ("abd", 0.5, True),
    ):
        labelling.suggest(place, Suggestion(text, confidence))
        assert labelling[place].suspect == suspect, text
    put(labelling, "7.png", "xyz")  # looked at again
    assert not labelling[place].suspect
    labelling.undo()
    assert labelling[place].suspect
    put(labelling, "7.png", "abc")
    assert not begin(labelling.opened.folder)[place].suspect


def test_changes_are_told_once(tmp_path) -> None:
    """A page that asks for what is new gets each change, and no other."""
    labelling = begin(fill(tmp_path / "pictures"))
    assert len(labelling.since(-1)) == len(NAMES)
    stamp = labelling.stamp
    assert labelling.since(stamp) == []
    put(labelling, "7.png", "abc")
    labelling.suggest(0, None, "damaged")
    places = [place for place, _ in labelling.since(stamp)]
    assert places == sorted([0, place_of(labelling, "7.png")])


def test_pace_leaves_pauses_out(tmp_path) -> None:
    """Two seconds a label are 30 a minute, with an hour of lunch in between."""
    times = iter([0.0, 2.0, 4.0, 3604.0, 3606.0, 3608.0, 3610.0])
    folder = fill(tmp_path / "pictures")
    labelling = Labelling(open_folder(folder), folder / ".captcha-rt", now=lambda: next(times))
    assert labelling.pace() is None
    for number, name in enumerate(NAMES[:7]):
        put(labelling, name, str(number))
    assert labelling.pace() == pytest.approx(30)


def test_file_is_a_csv_that_spreadsheets_open(tmp_path) -> None:
    """Zeros stay, since a label is text; the columns are those that others know."""
    folder = fill(tmp_path / "pictures", ("1.png", "2.png"))
    labelling = begin(folder, "none")
    put(labelling, "2.png", "0012")
    put(labelling, "1.png", "a,b")
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["filename", "label"],
            ["1.png", "a,b"],
            ["2.png", "0012"],
        ]


def test_what_is_written_while_the_folder_is_opened_counts(tmp_path) -> None:
    """The file may change after it was read, and before the first label."""
    folder = fill(tmp_path / "pictures", ("1.png", "2.png", "3.png"))
    (folder / "labels.csv").write_text("filename,label\n1.png,one\n")
    opened = open_folder(folder)
    (folder / "labels.csv").write_text("filename,label\n1.png,one\n3.png,three\n")
    put(Labelling(opened, folder / ".captcha-rt"), "2.png", "two")
    assert saved(folder) == {"1.png": "one", "2.png": "two", "3.png": "three"}


def test_doubtful_labels_are_noted(tmp_path) -> None:
    """Names that may be no labels, and rows that don't fit; what is unlabelled isn't doubtful."""
    folder = fill(tmp_path / "pictures", ("abc.png", "bcd.png", "xyz.png"))
    assert open_folder(folder).notes == (
        "the file names are taken for labels; if they are none: --labels none",
    )
    assert open_folder(folder, "stem").notes == ()
    parted = fill(tmp_path / "parted", ("1-abc.png", "1-bcd.png"))
    assert [note.split(":")[0] for note in open_folder(parted).notes] == [
        "if the file names hold labels, say where"
    ]
    (folder / "labels.csv").write_text("filename,label\nabc.png,a\nxyz.png,\n")
    assert open_folder(folder).notes == ()
    (folder / "labels.csv").write_text("filename,label\nabc.png,a\nabc.png,b\nbcd.png,c\ngone,d\n")
    assert open_folder(folder).notes == (
        f"2 labels don't fit, labels.csv:5 first; all of them: captcha-rt dataset {folder}",
    )


def test_a_model_that_cannot_be_loaded_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the thread that reads, which would end: it goes on with the next model."""

    def fail(*_: object) -> object:
        raise ModelError("no memory")

    reading = Reading(begin(fill(tmp_path)))
    with monkeypatch.context() as patch:
        patch.setattr(session, "_load", fail)
        with pytest.raises(ModelError, match="no memory"):
            reading.use(None)
    reading.use(None)
    deadline = time.monotonic() + 30
    while reading.left:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    reading.stop()
