"""Archives of labelled pictures: unpacked once, wholly, and nowhere else."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import time
import unicodedata
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelled import PNG

from captcha_rt.archives import is_archive, members, unpack
from captcha_rt.errors import ArchiveError
from captcha_rt.labels import read_labels

FILES = {"ab.png": PNG, "cd.png": PNG + b"more", "ef.png": PNG}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CAPTCHA_RT_CACHE", str(folder))
    return folder


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo("x")
            info.filename = name  # as it is, not cleaned
            info.compress_type = method
            archive.writestr(info, content)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes], *more: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)
    return buffer.getvalue()


KINDS: dict[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "zip": zipped,
    "zip, stored": lambda files: zipped(files, zipfile.ZIP_STORED),
    "zip, bzip2": lambda files: zipped(files, zipfile.ZIP_BZIP2),
    "zip, lzma": lambda files: zipped(files, zipfile.ZIP_LZMA),
    "tar": tarred,
    "tar.gz": lambda files: gzip.compress(tarred(files)),
    "tar.bz2": lambda files: bz2.compress(tarred(files)),
    "tar.xz": lambda files: lzma.compress(tarred(files)),
}


def written(folder: Path) -> dict[str, bytes]:
    """The files below a folder, by name."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["a b.zip", "data", "data.tar.gz", "wrong.png"])
def test_all_kinds(tmp_path: Path, kind: str, name: str, cache: Path) -> None:
    """The content decides what an archive is, whatever its name is."""
    file = tmp_path / name
    file.write_bytes(KINDS[kind](FILES))
    folder, note = unpack(file)
    assert written(folder) == FILES
    assert note == f"{file} is unpacked in {folder}"
    assert folder.is_relative_to(cache / "archives")
    assert [label for _, label in read_labels(folder).items] == ["ab", "cd", "ef"]


def test_what_is_no_archive(tmp_path: Path) -> None:
    """Folders, other files and paths where there is nothing stay as they are."""
    (tmp_path / "x.toml").write_text("[a]\nfolder='b'\n")
    (tmp_path / "x.png").write_bytes(PNG)
    for path in (tmp_path, tmp_path / "x.toml", tmp_path / "x.png", tmp_path / "none"):
        assert unpack(path) == (path, "")
        assert not is_archive(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_folder_is_looked_through(tmp_path: Path, kind: str) -> None:
    """Folders with nothing but a folder are looked through; what macOS adds doesn't count."""
    inner = {f"top/pictures/{name}": content for name, content in FILES.items()}
    added = {"__MACOSX/top/pictures/._ab.png": b"x", "top/.DS_Store": b"y", "__MACOSX/._top": b"z"}
    file = tmp_path / "x.zip"
    file.write_bytes(KINDS[kind]({**added, **inner}))
    folder, note = unpack(file)
    assert folder.parts[-2:] == ("top", "pictures")
    assert written(folder) == FILES
    assert note.endswith("; passed over: 2 files of macOS, 1 hidden file")


def test_an_archive_is_unpacked_once(tmp_path: Path) -> None:
    """The same content is found again, also under another path; a changed archive is another."""
    first, second = tmp_path / "x.zip", tmp_path / "below" / "x.zip"
    second.parent.mkdir()
    first.write_bytes(zipped({**FILES, ".x": b""}))
    second.write_bytes(first.read_bytes())
    folder, note = unpack(first)
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert unpack(second) == (folder, note.replace(str(first), str(second)))
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    first.write_bytes(zipped({"gh.png": PNG}))
    other, _ = unpack(first)
    assert (written(other), written(folder)) == ({"gh.png": PNG}, FILES)


@pytest.mark.parametrize("change", ["gone", "shorter", "list", "all"])
def test_what_was_removed_is_unpacked_again(tmp_path: Path, change: str) -> None:
    """Whoever empties the cache by half doesn't train on half of the pictures."""
    file = tmp_path / "x.zip"
    file.write_bytes(zipped(FILES))
    folder, _ = unpack(file)
    match change:
        case "gone":
            (folder / "ab.png").unlink()
        case "shorter":
            (folder / "ab.png").write_bytes(b"")
        case "list":
            (folder.parent / "unpacked.json").write_text('{"sizes": 3}')
        case _:
            for path in (*folder.iterdir(), folder.parent / "unpacked.json"):
                path.unlink()
    assert written(unpack(file).folder) == FILES


@pytest.mark.parametrize("before", [False, True])
def test_several_at_once(tmp_path: Path, before: bool) -> None:
    """They get the same folder, also if files of it were gone; nothing else is left."""
    file = tmp_path / "x.zip"
    file.write_bytes(zipped({f"{n}.png": PNG for n in range(50)}))
    if before:
        (unpack(file).folder / "0.png").unlink()
    with ThreadPoolExecutor(8) as pool:
        folders = {found.folder for found in pool.map(unpack, [file] * 8)}
    (folder,) = folders
    assert len(written(folder)) == 50
    assert list(folder.parent.parent.iterdir()) == [folder.parent]


def test_what_a_killed_process_left_is_removed(tmp_path: Path, cache: Path) -> None:
    """After an hour; what is younger may still be written."""
    for name, age in ((".partial-old", 7200), (".partial-new", 60)):
        (cache / "archives" / name / "new").mkdir(parents=True)
        os.utime(cache / "archives" / name, (time.time() - age,) * 2)
    file = tmp_path / "x.zip"
    file.write_bytes(zipped(FILES))
    folder, _ = unpack(file)
    assert {path.name for path in (cache / "archives").iterdir()} == {
        ".partial-new",
        folder.parent.name,
    }


def test_what_was_not_used_for_long_is_removed(tmp_path: Path, cache: Path) -> None:
    """After 30 days, when another archive is unpacked; each use counts."""
    folders = {}
    for name in ("old", "used", "new"):
        file = tmp_path / f"{name}.zip"
        file.write_bytes(zipped({f"{name}.png": PNG}))
        folders[name] = unpack(file).folder
    for name in ("old", "used"):
        listed = next(folders[name].parent.glob("*.json"))
        os.utime(listed, (time.time() - 31 * 24 * 3600,) * 2)
    assert unpack(tmp_path / "used.zip").folder == folders["used"]
    (tmp_path / "x.zip").write_bytes(zipped(FILES))
    there = {*folders.values(), unpack(tmp_path / "x.zip").folder} - {folders["old"]}
    assert {path.name for path in (cache / "archives").iterdir()} == {f.parent.name for f in there}
    assert written(unpack(tmp_path / "old.zip").folder) == {"old.png": PNG}


EVIL = ["../ab.png", "a/../../ab.png", "/ab.png", "C:/ab.png", "c:\\ab.png", "..", "a/" * 33 + "b"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", EVIL)
def test_a_name_that_leads_out(tmp_path: Path, kind: str, name: str, cache: Path) -> None:
    """Nothing at all is unpacked then."""
    file = tmp_path / "x.zip"
    file.write_bytes(KINDS[kind]({**FILES, name: PNG}))
    with pytest.raises(ArchiveError, match="nothing is unpacked"):
        unpack(file)
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]
    assert written(cache) == {}


NAMES = st.text(
    st.one_of(st.sampled_from("./\\:a\0 ~"), st.characters(exclude_categories=["Cs"])), max_size=12
)


@given(st.dictionaries(NAMES, st.binary(max_size=4), max_size=4), st.sampled_from(["zip", "tar"]))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
)
def test_whatever_the_names_are(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], kind: str
) -> None:
    """All files lie in the folder, or there is one error."""
    above = tmp_path_factory.mktemp("above")
    (above / "x.zip").write_bytes(KINDS[kind](files))
    os.environ["CAPTCHA_RT_CACHE"] = str(above / "cache")
    try:
        unpack(above / "x.zip")
    except ArchiveError as error:
        assert "\n" not in str(error).replace(str(above), "")  # noqa: PT017
    assert {path.name for path in above.iterdir()} <= {"x.zip", "cache"}
    found = list((above / "cache").rglob("*"))
    assert all(path.resolve().is_relative_to(above / "cache" / "archives") for path in found)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "1 file without content (a link)"),
        (tarfile.LNKTYPE, "1 file without content (a link)"),
        (tarfile.FIFOTYPE, "1 file without content (a device or pipe)"),
        (tarfile.CHRTYPE, "1 file without content (a device or pipe)"),
        (tarfile.BLKTYPE, "1 file without content (a device or pipe)"),
    ],
)
def test_links_and_devices_in_a_tar(tmp_path: Path, kind: bytes, words: str) -> None:
    """They are passed over: a link may lead anywhere, also to a folder that later files are in."""
    link = tarfile.TarInfo("link")
    link.type, link.linkname = kind, str(tmp_path)
    first = tarred({}, link)[:512]
    file = tmp_path / "x.tar"
    file.write_bytes(first + tarred({"link/ab.png": PNG, "cd.png": PNG}))
    folder, note = unpack(file)
    assert written(folder) == {"link/ab.png": PNG, "cd.png": PNG}
    assert not (tmp_path / "ab.png").exists()
    assert note.endswith(f"; passed over: {words}")


def test_links_in_a_zip(tmp_path: Path) -> None:
    """A link's content is its target, which would be taken for a damaged picture."""
    file = tmp_path / "x.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("ab.png", PNG)
        for name, mode in (("cd.png", stat.S_IFLNK), ("ef.png", stat.S_IFIFO)):
            info = zipfile.ZipInfo(name)
            info.external_attr = (mode | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
    folder, note = unpack(file)
    assert written(folder) == {"ab.png": PNG}
    assert note.endswith(
        "; passed over: 1 file without content (a link), 1 file without content (a device or pipe)"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_later_files_replace_earlier_ones(tmp_path: Path, kind: str) -> None:
    """As `tar -r` appends them; the note counts them."""
    file = tmp_path / "x"
    file.write_bytes(KINDS[kind]({"ab.png": b"old", "./ab.png": PNG}))
    folder, note = unpack(file)
    assert written(folder) == {"ab.png": PNG}
    assert note.endswith("; passed over: 1 file replaced by a later one of the same name")


@pytest.mark.parametrize(
    ("raw", "flag", "system", "expected", "note"),
    [
        ("пять.png".encode(), 0x800, 3, "пять.png", ""),
        ("пять.png".encode(), 0, 3, "пять.png", ""),  # as macOS packs
        (unicodedata.normalize("NFD", "가.png").encode(), 0, 3, "가.png", ""),
        ("é.png".encode("cp437"), 0, 3, "é.png", "1 names in an unknown encoding"),
        ("验.png".encode("gbk"), 0, 0, "╤Θ.png", "1 names in an unknown encoding"),
        (b"one\\ab.png", 0, 0, "ab.png", ""),
        (b"ab\\cd.png", 0, 3, "ab\\cd.png", ""),
    ],
)
def test_names_in_a_zip(
    tmp_path: Path, raw: bytes, flag: int, system: int, expected: str, note: str
) -> None:
    """Names in UTF-8 with and without the flag, in code pages, and with DOS's separators."""
    data = bytearray(
        zipped({"x" * len(raw): PNG}, zipfile.ZIP_STORED).replace(b"x" * len(raw), raw)
    )
    entry = data.index(b"PK\1\2")
    data[5] = system
    data[entry + 5] = system
    for place in (6, entry + 8):
        data[place : place + 2] = flag.to_bytes(2, "little")
    file = tmp_path / "x.zip"
    file.write_bytes(data)
    folder, found = unpack(file)
    assert [unicodedata.normalize("NFC", name) for name in written(folder)] == [expected]
    assert note in found
    assert ("unknown" in found) == bool(note)


def test_an_encrypted_zip(tmp_path: Path) -> None:
    """It is named as what it is; a password is never asked for."""
    data = bytearray(zipped(FILES))
    for magic, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = -1
        while (at := data.find(magic, at + 1)) >= 0:
            data[at + place] |= 1
    file = tmp_path / "x.zip"
    file.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"x.zip is encrypted: unpack it with its password"):
        unpack(file)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"Rar!\x1a\x07\x01\0" + bytes(50), "is a RAR file, which is not read: unpack it"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(50), "is a 7z file"),
        (zipped({"[Content_Types].xml": b"<x/>"}), "is a spreadsheet or another document"),
        (gzip.compress(b"file,label\n" * 99), "is damaged, or no archive of files"),
        (b"PK\3\4" + bytes(99), "is damaged, or no archive of files"),
    ],
    # Without them pytest names a test by its bytes, and gzip writes the time into these.
    ids=["rar", "7z", "spreadsheet", "gzip", "zip"],
)
def test_what_is_not_read(tmp_path: Path, data: bytes, message: str) -> None:
    """One line says what to do."""
    file = tmp_path / "x.zip"
    file.write_bytes(data)
    with pytest.raises(ArchiveError, match=message):
        unpack(file)


@pytest.mark.parametrize("kind", KINDS)
def test_cut_off_archives(tmp_path: Path, kind: str, cache: Path) -> None:
    """An archive that is cut off anywhere is an error, not the files before that place."""
    data = KINDS[kind]({f"{name}{n}": b"%d" % n * 200 for n in range(3) for name in "ab"})
    end = len(data) if kind != "tar" else 6 * 1024 + 511  # the zeros at the end may be fewer
    file = tmp_path / "x"
    start = 512 if kind == "tar" else 20
    for length in {*np.linspace(start, end - 1, 15).astype(int), *range(512, end, 1024)}:
        file.write_bytes(data[:length])
        with pytest.raises(ArchiveError):
            unpack(file)
    assert written(cache) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_archives(tmp_path: Path, kind: str) -> None:
    """Whatever bytes are changed: the files as they were, or one error of ours.

    A tar has checksums of its headers only; in a zip names and attributes have none.
    """
    data = KINDS[kind](FILES)
    rng = np.random.default_rng(1)
    file = tmp_path / "x"
    compressed = kind.startswith("tar.")
    refused = 0
    for _ in range(16):
        changed = bytearray(data)
        for at in rng.integers(len(data), size=rng.integers(1, 4)):
            changed[at] = rng.integers(256)
        file.write_bytes(changed)
        try:
            folder, _ = unpack(file)
        except ArchiveError:
            refused += 1
            continue
        assert not compressed or folder == file or written(folder) == FILES
    assert refused >= (10 if compressed else 1)


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """An archive that unpacks to too much is refused before the disk is full."""
    monkeypatch.setattr(members, "MAX_BYTES", 3 * 2**20)
    for kind in KINDS:
        file = tmp_path / "x"
        file.write_bytes(KINDS[kind]({"a.png": bytes(2**20), "b.png": bytes(5 * 2**20)}))
        with pytest.raises(ArchiveError, match="holds more than 0 GB: unpack it, and give"):
            unpack(file)
    for kind in KINDS:  # also what is passed over comes out
        file.write_bytes(KINDS[kind]({".a": bytes(5 * 2**20), "b.png": PNG}))
        with pytest.raises(ArchiveError, match="holds more than 0 GB"):
            unpack(file)
    monkeypatch.setattr(members, "MAX_FILES", 2)
    for kind in KINDS:
        file.write_bytes(KINDS[kind](FILES))
        with pytest.raises(ArchiveError, match="holds more than 2 files: unpack it, and give"):
            unpack(file)
    assert written(cache) == {}


def test_headers_that_lie(tmp_path: Path) -> None:
    """A small file whose headers announce exabytes costs neither memory nor time."""
    began = time.process_time()
    for kind in (tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, 2**60
        header = info.tobuf(tarfile.GNU_FORMAT)
        for pack in (bytes, gzip.compress):
            file = tmp_path / "x.tar"
            file.write_bytes(pack(header + bytes(2**20)))
            with pytest.raises(ArchiveError):
                unpack(file)
    assert time.process_time() - began < 2


def test_a_cache_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says where, and how to choose another folder."""
    file = tmp_path / "x.zip"
    file.write_bytes(zipped(FILES))
    monkeypatch.setenv("CAPTCHA_RT_CACHE", str(file))
    with pytest.raises(ArchiveError, match=r"can't unpack .*x\.zip in .*CAPTCHA_RT_CACHE"):
        unpack(file)


def test_evaluate_takes_an_archive(command, stripes_png, stripes: Path, tmp_path: Path) -> None:
    """`captcha-rt evaluate x.tar.gz` says where the pictures are; damage is one line."""
    columns = {"ab": "aaaa----bbbb----", "ba": "bbbb----aaaa----"}
    files = {f"set/{text}.png": stripes_png(shown) for text, shown in columns.items()}
    data = gzip.compress(tarred(files))
    file = tmp_path / "x.tar.gz"
    file.write_bytes(data)
    done = command("evaluate", file, "--model", stripes)
    assert (done.returncode, "errors: 0" in done.stdout) == (0, True), done.stderr
    assert done.stderr.splitlines()[0].startswith(f"{file} is unpacked in ")
    file.write_bytes(data[:-20])
    done = command("evaluate", file, "--model", stripes)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "is damaged" in done.stderr


def test_solve_takes_an_archive(call, stripes_png, stripes: Path, tmp_path: Path) -> None:
    """As a folder, with a line that says where; a damaged one is an error among other paths."""
    shown = stripes_png("aaaa----bbbb----")
    file, single = tmp_path / "x.zip", tmp_path / "y.png"
    single.write_bytes(shown)
    file.write_bytes(zipped({"set/1.png": shown, "set/2.png": stripes_png("bbbb----aaaa----")}))
    done = call("solve", file, single, "--model", stripes, "--min-confidence", "0")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [(Path(name).name, text) for name, text in lines] == [
        ("1.png", "ab"),
        ("2.png", "ba"),
        ("y.png", "ab"),
    ]
    assert done.stderr.startswith(f"{file} is unpacked in ")
    file.write_bytes(file.read_bytes()[:-30])
    done = call("solve", file, single, "--model", stripes, "--min-confidence", "0")
    assert done.returncode == 1
    assert done.stdout == f"{file}\t\n{single}\tab\n"
    assert "is damaged" in done.stderr
