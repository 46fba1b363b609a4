import pytest
from hypothesis import given
from hypothesis import strategies as st

from captcha_rt import Charset, CharsetError

charsets = st.builds(
    lambda characters, place: Charset(
        "".join(characters), None if place is None else round(place * len(characters))
    ),
    st.lists(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40, unique=True),
    st.none() | st.floats(0, 1),
)


@given(charsets, st.data())
def test_encode_then_decode_gives_the_text_back(charset: Charset, data: st.DataObject) -> None:
    """Any text of a charset comes back, whatever class the blank is; no id is the blank."""
    text = data.draw(st.text(charset.characters, max_size=12))
    ids = charset.encode(text)
    assert charset.decode(ids) == text
    assert charset.blank not in ids
    assert all(0 <= i < charset.classes for i in ids)


@pytest.mark.parametrize(
    ("blank", "ids"), [(None, [0, 1, 2]), (0, [1, 2, 3]), (1, [0, 2, 3]), (3, [0, 1, 2])]
)
def test_classes_skip_the_blank(blank: int | None, ids: list[int]) -> None:
    """The classes of characters after the blank are one higher."""
    assert Charset("abc", blank).encode("abc") == ids


def test_foreign_characters_are_named() -> None:
    """The error says which characters the charset lacks."""
    with pytest.raises(CharsetError, match=r"'xz'.*'abc'.*'xz'"):
        Charset("abc").encode("xz")


@pytest.mark.parametrize("ids", [[0], [4], [-1]])
def test_ids_without_character_are_refused(ids: list[int]) -> None:
    """The blank and ids out of range have no character."""
    with pytest.raises(CharsetError, match="no character"):
        Charset("abc", blank=0).decode(ids)


@pytest.mark.parametrize(
    ("characters", "blank"), [("", None), ("aba", None), ("ab", 3), ("ab", -1)]
)
def test_impossible_charsets_are_refused(characters: str, blank: int | None) -> None:
    """No characters, a character twice, and a blank out of range are errors at once."""
    with pytest.raises(CharsetError):
        Charset(characters, blank)
