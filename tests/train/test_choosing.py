"""What `captcha-rt train` chooses without a preset, and the presets that it writes."""

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from captcha_rt_train.data.samples import Dataset
from captcha_rt_train.data.sources import read_dataset
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.presets import load_preset, preset_names, write_preset
from captcha_rt_train.training.choosing import LARGER, TRUNK, Choice, case_hint, choose
from captcha_rt_train.training.fitting import repeats

TEXTS = ("KHRT7", "XMAN4", "PETR9", "FLAG3", "HAND2", "MARK8", "NEXT6", "TRAM5")


def draw(text: str, *, width: int = 200, ink: tuple[int, ...] = (40, 40, 40)) -> NDArray[np.uint8]:
    """A picture `(60, width, 3)` of a text on white."""
    picture = np.full((60, width, 3), 255, np.uint8)
    cv2.putText(picture, text, (12, 42), cv2.FONT_HERSHEY_DUPLEX, 1.3, ink, 2, cv2.LINE_AA)
    return picture


def read(folder: Path, pictures: dict[str, NDArray[np.uint8]]) -> Dataset:
    folder.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        cv2.imwrite(str(folder / f"{name}.png"), picture)
    return read_dataset(folder, load_preset(TRUNK).recipe)


def chosen(folder: Path, pictures: dict[str, NDArray[np.uint8]]) -> Choice:
    return choose(read(folder, pictures), "own", 10, seed=0)


def test_grey_pictures_get_one_channel_and_their_aspect(tmp_path: Path) -> None:
    """The input is 48 rows and the columns of the widest pictures; the case of the labels stays."""
    choice = chosen(tmp_path, {text: draw(text) for text in TEXTS})
    assert choice.preset.recipe.to_json() == [
        {"step": "grey", "over_white": True},
        {"step": "fit", "height": 48, "width": 160},
        {"step": "scale"},
    ]
    assert (choice.preset.start, choice.preset.letters) == ("slim", "same")
    assert any(reason.startswith("channels: grey") for reason in choice.reasons)


def test_hard_pictures_get_the_larger_network(tmp_path: Path) -> None:
    """Unless the small one is asked for; easy ones never do."""
    rng, pictures = np.random.default_rng(0), {}
    for text in TEXTS:
        pictures[text] = draw(text)
        for x in range(10, 190, 9):
            top, bottom = (int(x + rng.integers(-20, 21)) for _ in range(2))
            cv2.line(pictures[text], (top, 0), (bottom, 59), (40, 40, 40), 3)
    hard = read(tmp_path / "hard", pictures)
    easy = read(tmp_path / "easy", {text: draw(text) for text in TEXTS})
    for dataset, small, name in ((hard, False, LARGER), (hard, True, TRUNK), (easy, False, TRUNK)):
        choice = choose(dataset, "own", 10, seed=0, small=small)
        assert (choice.preset.start, choice.preset.layers) == (name, load_preset(name).layers)
        [why] = (reason for reason in choice.reasons if reason.startswith("network: "))
        assert ("easy" if dataset is easy else "hard") in why


def test_colour_is_kept_where_grey_would_lose_the_characters(tmp_path: Path) -> None:
    """Letters whose grey is the background's grey are read in colour."""
    pictures = {}
    for text in TEXTS:
        ink = draw(text)
        page = np.full_like(ink, (150, 150, 150))
        # OpenCV's order: blue, green, red. This red is as light as the page.
        page[ink[:, :, 0] < 150] = (60, 110, 252)
        pictures[text] = page
    choice = chosen(tmp_path, pictures)
    assert choice.preset.recipe.to_json()[0] == {"step": "rgb"}


def test_the_alpha_channel_is_taken_where_only_it_shows_anything(tmp_path: Path) -> None:
    """White letters on nothing are blank over white."""
    pictures = {}
    for text in TEXTS:
        picture = np.full((60, 200, 4), 255, np.uint8)
        picture[:, :, 3] = 255 - draw(text)[:, :, 0]
        pictures[text] = picture
    choice = chosen(tmp_path, pictures)
    assert choice.preset.recipe.to_json()[0] == {"step": "channel", "index": 3}


def test_labels_in_the_other_case_start_with_the_rows_of_the_shown_letters(tmp_path: Path) -> None:
    """Capitals that were typed in lower case: the labels are kept, and it is said."""
    choice = chosen(tmp_path, {text.lower(): draw(text) for text in TEXTS})
    assert choice.preset.letters == "other"
    assert any("letters of the other case" in reason for reason in choice.reasons)


def test_long_texts_get_time_steps_for_doubled_characters(tmp_path: Path) -> None:
    """Where the aspect leaves too few columns, the picture is stretched."""
    texts = ("1122334455", "9988776655", "1010101010")
    choice = chosen(tmp_path, {text: draw(text, width=80) for text in texts})
    frame = choice.preset.recipe.to_json()[1]
    assert frame["step"] == "resize"
    assert frame["width"] / 4 >= 2 * 10 + 5


def test_mixed_sizes_get_a_frame_for_the_widest(tmp_path: Path) -> None:
    """All pictures fit into one frame, whatever their size."""
    pictures = {text: draw(text, width=200 + 20 * n) for n, text in enumerate(TEXTS)}
    choice = chosen(tmp_path, pictures)
    frame = choice.preset.recipe.to_json()[1]
    assert frame["step"] == "fit"
    assert 256 <= frame["width"] <= 272
    assert any("8 sizes" in reason for reason in choice.reasons)


@pytest.mark.parametrize(
    ("labels", "hint"),
    [(("abc", "def"), "lower case"), (("ABC", "DEF"), "upper case"), (("aBc", "dEf"), None)],
)
def test_labels_of_one_case_are_noticed(labels: tuple[str, ...], hint: str | None) -> None:
    """A hint for those whose labels were folded, and none where both cases are there."""
    found = case_hint(labels)
    assert (hint in found) if hint and found else found is hint


@pytest.mark.parametrize("name", preset_names())
def test_a_written_preset_is_read_as_it_was(name: str, tmp_path: Path) -> None:
    """Each preset survives being written and read, with its comments in front."""
    preset = load_preset(name)
    file = tmp_path / f"{name}.toml"
    file.write_text(write_preset(preset, 'why: "because"\n\nand more'), "utf-8")
    assert load_preset(str(file)) == preset
    assert file.read_text("utf-8").startswith('# why: "because"\n#\n# and more\n')


def test_a_written_preset_keeps_any_characters(tmp_path: Path) -> None:
    """Quotes, backslashes and other scripts in a charset survive."""
    preset = load_preset("slim")
    settings = replace(preset.settings, characters='a"\\\u00e9\uac00')
    changed = replace(preset, settings=settings, start="trunks/a \\ b.keras", letters="both")
    file = tmp_path / "slim.toml"
    file.write_text(write_preset(changed, ""), "utf-8")
    assert load_preset(str(file)) == changed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network = ", "can't read the preset"),
        ('network = "compact"', "can't read the preset"),
        ("speed = 3", "no setting speed"),
    ],
)
def test_a_preset_that_is_none_is_refused(text: str, message: str, tmp_path: Path) -> None:
    """The message names the file, or what is unknown in it."""
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(TrainingError, match=message):
        load_preset(str(file))


@pytest.mark.parametrize("copies", [5, 30, 124, 200, 225])
def test_it_trains_as_many_steps_as_it_says(tmp_path: Path, copies: int) -> None:
    """An epoch uses each picture equally often, so that its steps are no round number."""
    dataset = read(tmp_path, {text: draw(text) for text in TEXTS})
    many = replace(dataset, samples=dataset.samples * copies)
    choice = choose(many, "own", 10, seed=0)
    settings = choice.preset.settings
    learned = round(len(many.samples) * (1 - settings.validation))
    steps = math.ceil(learned * repeats(learned, 50, 32) / 32)
    assert int(choice.reasons[-1].split()[3]) == settings.epochs * steps
