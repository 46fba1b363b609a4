"""GIFs that clear the table of their codes all the time, as some captcha libraries write them."""

import io
import struct
import time
from contextlib import suppress

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image import decode_image

Pixels = NDArray[np.uint8]
Codes = list[tuple[int, int]]  # (code, its width)

COLOURS = np.random.default_rng(7).permutation(256 * 3).reshape(256, 3).astype(np.uint8)
PASSES = [(0, 8), (4, 8), (2, 4), (1, 2)]
pytestmark = pytest.mark.skipif(
    not cv2.haveImageWriter(".gif"), reason="this OpenCV is built without GIF"
)


def packed(codes: Codes) -> bytes:
    """Codes as bytes, the lowest bit first."""
    bits = [code >> bit & 1 for code, width in codes for bit in range(width)]
    return bytes(np.packbits(np.array(bits, np.uint8), bitorder="little"))


def lzw(pixels: bytes, bits: int, every: int, *, literal: bool = False, end: bool = True) -> Codes:
    """Codes with a clear code before the first, and again after `every` codes.

    A table that is full stays as it is until then. With `literal` each pixel has its own code.
    """
    clear = 1 << bits
    roots = {bytes((value,)): value for value in range(clear)}
    table, codes, width, count, at = roots.copy(), [(clear, bits + 1)], bits + 1, 0, 0
    while at < len(pixels):
        if count == every:
            codes.append((clear, width))
            table, width, count = roots.copy(), bits + 1, 0
        size = 1
        while not literal and pixels[at : at + size + 1] in table and at + size < len(pixels):
            size += 1
        codes.append((table[pixels[at : at + size]], width))
        count += 1
        entries = clear + 1 + count  # in the table of who decodes
        if entries < 4096:
            table.setdefault(pixels[at : at + size + 1], entries)
            width = max(width, entries.bit_length())
        at += size
    return [*codes, (clear + 1, width)] if end else codes


def frame(
    data: bytes,
    size: tuple[int, int],
    bits: int,
    *,
    place: tuple[int, int] = (0, 0),
    flags: int = 0,
) -> bytes:
    """A frame of width and height, and its data."""
    blocks = [data[i : i + 255] for i in range(0, len(data), 255)]
    return (
        struct.pack("<BHHHHB", 0x2C, *place, *size, flags)
        + (COLOURS[::-1][: 2 << (flags & 7)].tobytes() if flags & 0x80 else b"")
        + bytes((bits,))
        + b"".join(bytes((len(block),)) + block for block in blocks)
        + b"\0"
    )


def gif(frames: bytes, size: tuple[int, int], bits: int = 8) -> bytes:
    """A GIF with a global colour table of 2 ** bits colours."""
    screen = struct.pack("<HHBBB", *size, 0x80 | bits - 1, 0, 0)
    return b"GIF89a" + screen + COLOURS[: 1 << bits].tobytes() + frames + b";"


def noise(width: int, height: int, bits: int = 8) -> Pixels:
    """Random levels, (H, W), some of them in runs."""
    rng = np.random.default_rng((width, height, bits))
    levels = rng.integers(0, 1 << bits, width * height, dtype=np.uint8)
    half = len(levels) // 2
    levels[:half] = np.repeat(levels[:half], 5)[:half]
    return levels.reshape(height, width)


def still(codes: Codes, width: int, height: int, bits: int = 8) -> bytes:
    """A GIF of one frame that covers it."""
    return gif(frame(packed(codes), (width, height), bits), (width, height), bits)


def by_pillow(file: bytes, mode: str = "RGB") -> Pixels:
    """The pixels as Pillow decodes them."""
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    return np.asarray(pillow.open(io.BytesIO(file)).convert(mode))


def refusal(file: bytes) -> str:
    """The message of the error that a file must cause."""
    with pytest.raises(ImageDecodeError) as caught:
        decode_image(file)
    return str(caught.value)


def seconds(file: bytes) -> float:
    """The time that a picture takes, the best of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        with suppress(ImageDecodeError):
            decode_image(file)
        times.append(time.process_time() - start)
    return min(times)


@settings(max_examples=100, deadline=None)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 40)),
    bits=st.integers(2, 8),
    every=st.sampled_from([1, 2, 3, 5, 17, 100, 5000]),
    literal=st.booleans(),
    interlaced=st.booleans(),
    end=st.booleans(),
)
def test_clear_codes_at_any_distance(
    size: tuple[int, int], bits: int, every: int, literal: bool, interlaced: bool, end: bool
) -> None:
    """Whatever the distance of the clear codes is, the pixels are those that Pillow sees."""
    levels = noise(*size, bits)
    stored = levels
    if interlaced:
        stored = np.concatenate([levels[start::step] for start, step in PASSES])
    codes = lzw(stored.tobytes(), bits, every, literal=literal, end=end)
    file = gif(frame(packed(codes), size, bits, flags=0x40 * interlaced), size, bits)
    picture = decode_image(file)
    np.testing.assert_array_equal(picture, COLOURS[levels])
    np.testing.assert_array_equal(picture, by_pillow(file))


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("literal", [False, True])
def test_clear_codes_where_the_codes_get_wider(bits: int, literal: bool) -> None:
    """Around the last code of the narrowest width, each distance of the clear codes is right."""
    levels = noise(60, 50, bits)
    pixels = levels.tobytes()
    begin = lzw(pixels[:20], bits, 1, end=False)  # many clear codes, as it seems
    for every in range(max((1 << bits) - 4, 1), (1 << bits) + 3):
        codes = begin + lzw(pixels[20:], bits, every, literal=literal)
        np.testing.assert_array_equal(decode_image(still(codes, 60, 50, bits)), COLOURS[levels])


def test_a_wide_clear_code_before_the_last_pixel() -> None:
    """A clear code that is wider than those before isn't taken for one of their width."""
    levels = noise(417, 1, 4) // 2
    pixels = levels.tobytes()
    codes = lzw(pixels[:-16], 4, 1, end=False) + lzw(pixels[-16:], 4, 15, literal=True, end=False)
    assert codes[-2] == (16, 6)
    np.testing.assert_array_equal(decode_image(still(codes, 417, 1, 4)), COLOURS[levels])


@pytest.mark.parametrize("pixels", [1799, 1800, 9000])
def test_deferred_clear_codes(pixels: int) -> None:
    """After many clear codes, a table that is filled and kept is read to the end."""
    start, rest = noise(60, 60), noise(9, pixels // 9)
    codes = lzw(start.tobytes(), 8, 2, end=False) + lzw(rest.tobytes(), 8, pixels)
    width, levels = 9, np.append(start, rest).reshape(-1, 9)
    np.testing.assert_array_equal(decode_image(still(codes, width, len(levels))), COLOURS[levels])


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("left", [0, 6])
@pytest.mark.parametrize("local", [0, 0x87])
@pytest.mark.parametrize("transparent", [None, 0])
def test_what_a_frame_has(every: int, left: int, local: int, transparent: int | None) -> None:
    """Colours, place and transparency are those of the same frame with a clear code at its start.

    So is each frame of an animation.
    """
    first, second = noise(70, 40), noise(80, 50)
    control = b""
    if transparent is not None:
        first[:, ::7] = transparent
        control = b"\x21\xf9\4\5\0\0" + bytes((transparent,)) + b"\0"
    files = []
    for distance in (every, 10_000):
        parts = [packed(lzw(part.tobytes(), 8, distance)) for part in (first, second)]
        below = control + frame(parts[0], (70, 40), 8, place=(left, left), flags=local)
        files.append(gif(below + control + frame(parts[1], (80, 50), 8), (80, 50)))
    many, few = (decode_image(file) for file in files)
    np.testing.assert_array_equal(many, few)
    mode = "RGBA" if many.shape[2] == 4 else "RGB"
    area = (slice(left, left + 40), slice(left, left + 70))  # outside, Pillow has no background
    found, expected = many[area], by_pillow(files[0], mode)[area]
    shown = first != transparent
    np.testing.assert_array_equal(found[shown], expected[shown])
    np.testing.assert_array_equal(found[..., 3:], expected[..., 3:])
    many, few = (decode_image(file, merge=np.concatenate) for file in files)
    assert len(many) == 2 * 50
    np.testing.assert_array_equal(many, few)


def test_lines_that_end_with_their_blocks() -> None:
    """A line of 200 pixels in a block of 250 bytes, and the end code in one of its own."""
    levels = noise(200, 70, 4)
    data = packed(lzw(levels.tobytes(), 4, 1, literal=True))
    assert data[-1] == 0x11
    blocks = b"".join(b"\xfa" + data[i : i + 250] for i in range(0, len(data) - 1, 250))
    shown = struct.pack("<BHHHHBB", 0x2C, 0, 0, 200, 70, 0, 4) + blocks + b"\1\x11\0"
    file = gif(shown, (200, 70), 4)
    assert len(file) == 17_646
    np.testing.assert_array_equal(decode_image(file), COLOURS[levels])


# Damage


def damaged_codes() -> dict[str, tuple[Codes, str]]:
    """Codes for 40 x 40 pixels of 4 bits, and what the message says of them."""
    pixels = noise(40, 40, 4).tobytes()
    number = "its data doesn't make 1600 pixels"
    cases: dict[str, tuple[Codes, str]] = {}
    for name, literal, every in (("literals", True, 1), ("table", False, 3)):
        codes = lzw(pixels, 4, every, literal=literal)
        cases |= {
            f"{name}, a pixel less": (lzw(pixels[:-1], 4, every, literal=literal), number),
            f"{name}, a pixel more": (lzw(pixels + b"\0", 4, every, literal=literal), number),
            f"{name}, no end and less": (codes[:-9], number),
            f"{name}, an early end": ([*codes[:700], (17, 5), *codes[700:]], number),
            f"{name}, more after the end": ([*codes, (0, 8), (0, 8), (0, 8)], number),
            f"{name}, an unknown code": (
                [*codes[:-2], (16, 5), (2, 5), (31, 5), (17, 5)],
                "a code of 31, with 18 in the table",
            ),
            f"{name}, no pixel first": (
                [*codes[:-2], (16, 5), (18, 5), (17, 5)],
                "a code of 18, with 18 in the table",
            ),
        }
    cases["only clear codes"] = ([(16, 5)] * 3000, number)
    cases["only end codes"] = ([(16, 5)] * 300 + [(17, 5)] * 300, number)
    cases["the end first"] = ([(17, 5)] + [(16, 5)] * 3000, number)
    cases["the end at once"] = ([(17, 5), (16, 5)] * 300, number)
    return cases


DAMAGED = damaged_codes()


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_codes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes that aren't those of the frame's pixels are refused before OpenCV sees them."""
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("OpenCV was asked to decode"))
    codes, message = DAMAGED[name]
    assert refusal(still(codes, 40, 40, 4)) == f"GIF damaged: {message}"


def test_a_byte_after_the_end() -> None:
    """One byte more than the end code's is let pass, as by OpenCV."""
    levels = noise(40, 40, 4)
    for literal, every in ((True, 1), (False, 3)):
        codes = [*lzw(levels.tobytes(), 4, every, literal=literal), (0, 8)]
        np.testing.assert_array_equal(decode_image(still(codes, 40, 40, 4)), COLOURS[levels])


def test_what_is_left_of_the_last_byte() -> None:
    """Without an end code, the last byte's unused bits are no pixels."""
    levels = noise(31, 30, 2)
    codes = lzw(levels.tobytes(), 2, 1, end=False)
    assert -sum(width for _, width in codes) % 8 >= 3  # room for a code
    np.testing.assert_array_equal(decode_image(still(codes, 31, 30, 2)), COLOURS[levels])


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(2, 8), st.sampled_from([1, 2, 5]), st.booleans())
def test_changed_codes(data: st.DataObject, bits: int, every: int, literal: bool) -> None:
    """Changed data is refused, or is the picture that OpenCV makes of it."""
    codes = lzw(noise(40, 20, bits).tobytes(), bits, every, literal=literal)
    changed = bytearray(packed(codes))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    del changed[len(changed) - data.draw(st.sampled_from([0, 0, 1, 9])) :]
    file = gif(frame(bytes(changed), (40, 20), bits), (40, 20), bits)
    with suppress(ImageDecodeError):
        picture = decode_image(file)
        expected = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR_RGB)
        if expected is not None:  # it refuses some bytes after the end
            np.testing.assert_array_equal(picture, expected)


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=300), st.integers(0, 12))
def test_random_codes(data: bytes, bits: int) -> None:
    """Random data, and random data after many clear codes, is a picture or an ImageDecodeError."""
    for codes in (data, packed([(1 << bits, bits + 1)] * 300) + data):
        with suppress(ImageDecodeError):
            picture = decode_image(gif(frame(codes, (20, 20), bits), (20, 20)))
            assert picture.shape == (20, 20, 3)


# Limits


@pytest.mark.parametrize(
    ("width", "height", "bits", "limit"),
    [(400, 251, 4, 1824), (1000, 1000, 4, 15_881), (40, 40, 9, 281), (40, 40, 1, 281)],
    ids=["100,400 pixels", "a million pixels", "pixels of nine bits", "pixels of one bit"],
)
def test_too_many_clear_codes(width: int, height: int, bits: int, limit: int) -> None:
    """A large frame has to be one that OpenCV decodes fast; so has one of 1 or 9 bits a pixel."""
    codes = packed([(1 << bits, bits + 1)] * (limit + 1))
    frames = frame(codes, (width, height), bits)
    assert refusal(gif(frames, (width, height))) == (
        f"GIF with more than {limit} clear codes for {width * height} pixels: convert it to PNG"
    )


@pytest.mark.parametrize("bits", [2, 8])
def test_time_is_bounded(bits: int) -> None:
    """The worst frame takes 60 ms, the worst captcha 7 ms; the limits are five times that."""
    for width, height, limit in ((400, 250, 0.3), (200, 70, 0.035)):
        levels = noise(width, height, bits)
        size = 2 * width * height
        for codes in (
            lzw(levels.tobytes(), bits, 3),
            [(1 << bits, bits + 1)] * (8 * size // (bits + 1)),
            [*lzw(levels.tobytes(), bits, 1)[:-2], (1 << bits, bits + 1), (1 << bits, bits + 1)],
        ):
            assert seconds(still(codes, width, height, bits)) < limit


def test_no_clear_code_reaches_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV, which takes 15 µs for each clear code, gets the same data as of one clear code."""
    seen = []
    decode = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *given: seen.append(given[0]) or decode(*given))
    levels = noise(200, 70, 4)
    for bits, every in ((8, 14_000), (4, 1)):
        file = still(lzw(levels.tobytes(), bits, every, literal=True), 200, 70, bits)
        np.testing.assert_array_equal(decode_image(file), COLOURS[levels])
    start = [file.index(b"\x2c\0\0\0\0\xc8\0\x46\0\0\x08") for file in map(bytes, seen)]
    assert seen[0][start[0] :].tobytes() == seen[1][start[1] :].tobytes()
