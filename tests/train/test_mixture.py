"""The mixture of styles, and the fonts that it is drawn with."""

import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from captcha_rt.errors import InstallationError
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.generators.mixture.draw import draw
from captcha_rt_train.generators.mixture.faces import (
    CHARACTERS,
    Faces,
    default_faces,
    load_faces,
    read_faces,
)
from captcha_rt_train.generators.mixture.fetch import families, fetch_fonts, licence_of
from captcha_rt_train.generators.mixture.letters import Letter, join, scatter, write
from captcha_rt_train.generators.mixture.page import draw_paper, is_legible
from captcha_rt_train.generators.mixture.styles import FREE, STYLES

FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"


@pytest.fixture(scope="module")
def faces() -> Faces:
    """Those that come with matplotlib."""
    return default_faces()


@pytest.mark.parametrize("name", STYLES)
def test_a_style_draws_labelled_pictures(faces: Faces, name: str) -> None:
    """A text of known characters, an RGB picture, and the middle of each character within it."""
    style = STYLES[name][1]
    for seed in range(30):
        drawn = draw(np.random.default_rng(seed), faces, style)
        assert 1 <= len(drawn.label) <= 8
        assert set(drawn.label) <= set(CHARACTERS)
        height, width, channels = drawn.picture.shape
        assert (drawn.picture.dtype, channels) == (np.uint8, 3)
        assert 15 <= height <= 112
        assert width >= height - 1
        assert drawn.centres.shape == (len(drawn.label),)
        assert ((drawn.centres >= -2) & (drawn.centres <= width + 2)).all()
        assert (np.diff(drawn.centres) > -2).all()


def test_some_pictures_show_no_text(faces: Faces) -> None:
    """A few of the mixture, with an empty label: strokes alone, noise, textures."""
    drawn = [draw(np.random.default_rng(seed), faces) for seed in range(300)]
    empty = [d for d in drawn if not d.label]
    assert 3 <= len(empty) <= 30
    assert all(d.centres.shape == (0,) and d.picture.shape[2] == 3 for d in empty)


def test_common_faces_come_more_often() -> None:
    """Those named like a family of servers' look-alikes; without any, all faces are equal."""
    ink = np.zeros((3, len(CHARACTERS), 96, 96), np.uint8)
    faces = Faces(("arimo-latin-400-normal", "lobster-latin-400-normal", "DejaVuSans"), ink)
    assert faces.common.tolist() == [0, 2]
    assert Faces(("lobster",), ink[:1]).common.tolist() == [0]


def test_the_same_seed_draws_the_same_picture(faces: Faces) -> None:
    """Label, pixels and middles depend on the generator's state alone."""
    first, again = (draw(np.random.default_rng(5), faces) for _ in range(2))
    other = draw(np.random.default_rng(6), faces)
    assert first.label == again.label
    assert (first.picture == again.picture).all()
    assert (first.centres == again.centres).all()
    assert first.picture.shape != other.picture.shape or (first.picture != other.picture).any()


def test_characters_stand_where_the_middles_say(faces: Faces) -> None:
    """On plain paper, ink is near each middle and none between letters that stand far apart."""
    calm = replace(
        STYLES["clean"][1],
        gap=(1.0, 1.2),
        papers={"plain": 1},
        fills={"bold": 1},
        contrast=(1, 1),
        opacity=(1, 1),
        specks=(0, 0),
        noise=0,
        frame=0,
        jpeg=0,
        wave=0.1,
    )
    for seed in range(40):
        drawn = draw(np.random.default_rng(seed), faces, calm)
        paper = np.median(drawn.picture, axis=(0, 1))
        ink = (np.abs(drawn.picture - paper).max(axis=2) > 60).any(axis=0)
        reach = round(0.2 * len(drawn.picture))
        for middle in drawn.centres:
            left = max(round(float(middle)) - reach, 0)
            assert ink[left : left + 2 * reach + 1].any()
        between = (drawn.centres[1:] + drawn.centres[:-1]) / 2
        assert not ink[between.astype(int)].all()


def test_gaps_may_be_uneven(faces: Faces) -> None:
    """Some letters of a text touch and others stand apart; without `uneven` gaps hardly differ."""
    even = replace(
        STYLES["clean"][1], gap=(0.6, 0.6), uneven=0, turn=0, shear=0, skew=0, length=(6, 6)
    )
    spreads = []
    for style in (even, replace(even, uneven=0.6)):
        draws = (draw(np.random.default_rng(seed), faces, style) for seed in range(30))
        steps = [np.diff(drawn.centres) / len(drawn.picture) for drawn in draws]
        spreads.append(np.mean([step.std() / step.mean() for step in steps]))
    assert spreads[1] > 1.5 * spreads[0]


def test_letters_differ_from_the_paper(faces: Faces) -> None:
    """Without strokes and noise there is always something to see."""
    bare = replace(FREE, strokes=(0, 0), specks=(0, 0), noise=0, papers={"plain": 1}, frame=0)
    for seed in range(60):
        picture = draw(np.random.default_rng(seed), faces, bare).picture.astype(int)
        paper = np.median(picture, axis=(0, 1))
        assert (np.abs(picture - paper).max(axis=2) > 15).mean() > 0.002


@pytest.mark.parametrize("paper", FREE.papers)
def test_a_paper_has_its_own_texture(paper: str) -> None:
    """Each paper but the plain one shows something, and all have colours that exist."""
    style = replace(FREE, papers={paper: 1})
    page = draw_paper(np.random.default_rng(0), style, (40, 120), np.full(3, 200, np.float32))
    assert page.min() >= 0
    assert page.max() <= 255
    assert (np.ptp(page, axis=(0, 1)).max() > 0) == (paper != "plain")


def test_scattered_letters_are_paler_than_the_text(faces: Faces) -> None:
    """They lie all over the page, in colours that are not far from the paper's."""
    paper = np.full(3, 200, np.float32)
    page = np.tile(paper, (40, 160, 1))
    scatter(np.random.default_rng(1), faces, replace(FREE, scattered=0), page, paper)
    assert (page == paper).all()
    scatter(np.random.default_rng(1), faces, replace(FREE, scattered=1), page, paper)
    changed = (page != paper).any(axis=2)
    assert all(part.any() for part in np.hsplit(changed, 4))
    assert np.abs(page - paper).max() <= 80


@pytest.mark.parametrize("fill", [name for name in FREE.fills if name != "shadow"])
def test_a_fill_writes_less_or_more_than_the_letters(fill: str) -> None:
    """Each fill but the shadow, which lies under them, has its own ink; there always is some."""
    letters = np.zeros((60, 120), np.uint8)
    letters[15:45, 20:40] = letters[15:45, 60:80] = 255
    style = replace(FREE, fills={fill: 1}, opacity=(1, 1))
    paper, colours = np.full(3, 255, np.float32), np.zeros((1, 1, 3), np.float32)
    for seed in range(20):
        picture = np.full((60, 120, 3), 255, np.float32)
        ink = write(np.random.default_rng(seed), style, picture, letters, colours, paper)
        assert (fill in {"solid", "outlined"}) == (ink == letters).all()
        assert (picture < 128).mean() > 0.02
        if fill == "reversed":
            assert (picture[20:40, 25:35] == 255).all()


def test_letters_meet_in_three_ways() -> None:
    """Where two overlap, one covers the other, they darken or they invert each other."""
    square = np.full((20, 20), 255, np.uint8)
    letters = [Letter(square, 10, 10), Letter(square, 20, 10)]
    met = {}
    for how in FREE.joins:
        style = replace(FREE, joins={how: 1})
        inks = np.zeros((2, 3), np.float32)
        ink, _ = join(np.random.default_rng(0), style, letters, inks, (40, 60))
        met[how] = int(ink[15, 15]), int(ink[15, 25]), int(ink[15, 35])
    assert met["cover"] == (255, 255, 255)
    assert met["invert"] == (255, 0, 255)
    one, both, other = met["darken"]
    assert one == other
    assert 90 < one < both


def test_what_nobody_can_read_is_known() -> None:
    """A text in the paper's colour, one among as strong clutter, and one that is covered."""
    ink = np.zeros((40, 100), np.uint8)
    ink[10:30, 20:80] = 255
    paper = np.full(3, 250, np.float32)
    empty = np.full((40, 100, 3), 250, np.float32)

    def legible(letters: float, clutter: float, covered: int) -> bool:
        written = empty.copy()
        written[ink > 0] = letters
        picture = written.copy()
        picture[::2][ink[::2] == 0] -= clutter
        picture[10 : 10 + covered, 20:80] = 250
        return is_legible(picture, written, empty, ink, paper)

    assert legible(100, 20, 0)
    assert not legible(245, 0, 0)
    assert not legible(100, 180, 0)
    assert legible(100, 20, 5)
    assert not legible(100, 20, 15)


def test_a_style_refuses_unknown_names() -> None:
    """A name that nothing draws would otherwise be passed over."""
    with pytest.raises(ValueError, match=r"papers are .* not \['clouds'\]"):
        replace(FREE, papers={"clouds": 1})


def test_only_legible_fonts_are_faces(faces: Faces) -> None:
    """Text faces are there, in small and bold; fonts of symbols alone are not."""
    assert {"DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif"} <= set(faces.names)
    assert not {"cmsy10", "cmex10", "STIXSizOneSymReg"} & set(faces.names)
    assert faces.ink.shape[:2] == (len(faces.names), len(CHARACTERS))


def test_folders_without_fonts_are_refused(tmp_path: Path) -> None:
    """An empty folder, and one with a file that only has the name of a font."""
    with pytest.raises(TrainingError, match="none of 0 font files"):
        read_faces(tmp_path)
    (tmp_path / "broken.ttf").write_text("no font")
    (tmp_path / ".partial-lato").mkdir()  # as a killed fetch leaves it
    shutil.copy(FONTS / "DejaVuSans.ttf", tmp_path / ".partial-lato")
    with pytest.raises(TrainingError, match="none of 1 font files"):
        read_faces(tmp_path)


def test_faces_survive_their_file(faces: Faces, tmp_path: Path) -> None:
    """What was saved is what is loaded; other files are refused with the reason."""
    file = tmp_path / "faces.npz"
    faces.save(file)
    loaded = load_faces(file)
    assert loaded.names == faces.names
    assert (loaded.ink == faces.ink).all()
    np.savez(tmp_path / "other.npz", names=np.array(["a"]), ink=np.zeros((1, 2, 3, 4), np.uint8))
    (tmp_path / "text.npz").write_text("no faces")
    (tmp_path / "damaged.npz").write_bytes(file.read_bytes()[:1000])
    for name, message in (
        ("other", "make them again"),
        ("text", "can't read"),
        ("damaged", "can't read"),
        ("no", "captcha-rt fonts"),
    ):
        with pytest.raises(TrainingError, match=message):
            load_faces(tmp_path / f"{name}.npz")


def test_the_command_collects_the_faces_of_a_folder(command, tmp_path: Path) -> None:
    """`--no-fetch` takes what lies there; the faces are used where the variable names them."""
    folder = tmp_path / "fonts"
    folder.mkdir()
    for name in ("DejaVuSans.ttf", "DejaVuSerif-Bold.ttf", "cmex10.ttf"):
        shutil.copy(FONTS / name, folder)
    result = command("fonts", folder, "--no-fetch")
    assert (result.returncode, result.stderr) == (0, "")
    assert "font files: 3, by licence: unknown 3" in result.stdout
    assert load_faces(folder / "faces.npz").names == ("DejaVuSans", "DejaVuSerif-Bold")
    nothing = command("fonts", tmp_path / "none", "--no-fetch")
    assert nothing.returncode == 2
    assert "Traceback" not in nothing.stderr


def test_a_fetch_gets_only_what_is_missing(tmp_path: Path) -> None:
    """One family is fetched by npm, with its licence; those that lie there are left alone."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    for family in families():
        if family != "lato":
            (tmp_path / family).mkdir()
    results = dict(fetch_fonts(tmp_path))
    if results["lato"] is not None:
        pytest.skip(f"npm can't fetch: {results['lato']}")
    assert set(results.values()) == {None}
    assert licence_of(tmp_path / "lato") == "OFL-1.1"
    assert {path.suffix for path in (tmp_path / "lato").iterdir()} == {"", ".woff"}
    assert not list(tmp_path.glob(".partial-*"))


def test_a_fetch_needs_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install, or to type."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InstallationError, match="--no-fetch"):
        next(fetch_fonts(tmp_path / "fonts"))
