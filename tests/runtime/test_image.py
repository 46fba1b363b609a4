import os
import re
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Never

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image import MAX_BYTES, MAX_SIDE, decode, decode_image

Pixels = NDArray[np.uint8]

RNG = np.random.default_rng(20)
HEIGHT, WIDTH = 9, 14
GREY = RNG.integers(0, 256, (HEIGHT, WIDTH, 1), dtype=np.uint8)
RGB = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
RGBA = RNG.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
LEVELS = RNG.integers(0, 128, (HEIGHT, WIDTH), dtype=np.uint8)  # of a GIF
PALETTE = RNG.integers(0, 256, (128, 3), dtype=np.uint8)
SMOOTH = np.dstack([np.add.outer(np.arange(40), np.arange(60)) * k % 256 for k in (1, 2, 1)])
SMOOTH = SMOOTH.astype(np.uint8)

HAS_GIF = cv2.haveImageWriter(".gif")
needs_gif = pytest.mark.skipif(not HAS_GIF, reason="this OpenCV is built without GIF")


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def ihdr(width: int, height: int, depth: int = 8, colour: int = 0, interlaced: int = 0) -> bytes:
    """The signature and the header of a PNG."""
    body = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", body)


def png(
    samples: NDArray[Any], colour: int, depth: int = 8, extra: bytes = b"", passes: Any = None
) -> bytes:
    """A PNG of samples (H, W, C) of a colour type and depth, with chunks before its data."""
    raw = b""
    for x, y, dx, dy in passes or [(0, 0, 1, 1)]:
        part = samples[y::dy, x::dx]
        bits = part[..., np.newaxis] >> np.arange(depth - 1, -1, -1) & 1
        rows = np.packbits(bits.reshape(len(part), -1).astype(bool), axis=1)
        raw += b"".join(b"\0" + row.tobytes() for row in rows)
    header = ihdr(samples.shape[1], samples.shape[0], depth, colour, passes is not None)
    return header + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND")


def encoded(suffix: str, pixels: Pixels, *options: int) -> bytes:
    """What OpenCV writes for RGB, RGBA or grey pixels."""
    code = {1: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[pixels.shape[2]]
    stored = pixels if code is None else cv2.cvtColor(pixels, code)
    return bytes(cv2.imencode(suffix, stored, options)[1].tobytes())


def webp(pixels: Pixels) -> bytes:
    """A lossless WebP."""
    return encoded(".webp", pixels, cv2.IMWRITE_WEBP_QUALITY, 101)


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP container."""
    body = b"WEBP" + b"".join(
        k + struct.pack("<I", len(b)) + b + b"\0" * (len(b) % 2) for k, b in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def vp8x(flags: int, width: int, height: int) -> tuple[bytes, bytes]:
    """The header chunk of an extended WebP."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X", bytes((flags, 0, 0, 0)) + sides


def bmp(
    pixels: bytes,
    width: int,
    height: int,
    bits: int,
    compression: int = 0,
    after: bytes = b"",
    header: int = 40,
) -> bytes:
    """A BMP; `after` the header of 40 bytes are masks, the rest of a larger one, or colours."""
    if header == 12:
        head = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        head = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, *[0] * 5)
    head += after
    return (
        b"BM"
        + struct.pack("<IHHI", 14 + len(head) + len(pixels), 0, 0, 14 + len(head))
        + head
        + pixels
    )


def gif_frame(levels: Pixels, left: int = 0, top: int = 0, data: bytes | None = None) -> bytes:
    """One GIF frame; with a clear code after 100 pixels a code is exactly one byte."""
    flat = levels.tobytes()
    runs = [flat[i : i + 100] for i in range(0, len(flat), 100)]
    codes = data if data is not None else b"".join(b"\x80" + run for run in runs) + b"\x81"
    blocks = [codes[i : i + 255] for i in range(0, len(codes), 255)]
    descriptor = struct.pack("<BHHHHB", 0x2C, left, top, levels.shape[1], levels.shape[0], 0)
    return descriptor + b"\7" + b"".join(bytes((len(b),)) + b for b in blocks) + b"\0"


def gif(*parts: bytes, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A GIF with the global colour table PALETTE."""
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0xE6, 0, 0)
        + PALETTE.tobytes()
        + b"".join(parts)
        + b";"
    )


def exif(orientation: int) -> bytes:
    """An EXIF block with nothing but an orientation."""
    return b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHHI", 0x0112, 3, 1, orientation, 0, 0)


def jpeg_with(segment: bytes, picture: bytes) -> bytes:
    """A JPEG with one more segment behind its start marker."""
    return picture[:2] + segment + picture[2:]


def app1(orientation: int) -> bytes:
    """The JPEG segment of an EXIF orientation."""
    body = b"Exif\0\0" + exif(orientation)
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


JPEG = encoded(".jpg", SMOOTH)
PROGRESSIVE = encoded(".jpg", SMOOTH, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
WEBP = webp(RGB)
GIF = gif(gif_frame(LEVELS))
SAMPLES = {
    "PNG": png(RGBA, 6),
    "PNG with a palette": png(
        GREY % 4, 3, 2, chunk(b"PLTE", bytes(range(12))) + chunk(b"tRNS", b"\0\x80")
    ),
    "JPEG": JPEG,
    "progressive JPEG": PROGRESSIVE,
    "BMP": encoded(".bmp", RGB),
    "BMP with a palette": encoded(".bmp", GREY),
    "lossless WebP": WEBP,
    "lossy WebP": encoded(".webp", SMOOTH, cv2.IMWRITE_WEBP_QUALITY, 60),
} | ({"GIF": GIF} if HAS_GIF else {})


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the test fail if anything reaches OpenCV's decoder."""

    def fail(*_: object) -> Never:
        pytest.fail("OpenCV was asked to decode")

    monkeypatch.setattr(cv2, "imdecode", fail)


def refusal(source: Any, **options: int) -> str:
    """The message of the error that a source must cause."""
    with pytest.raises(ImageDecodeError) as caught:
        decode_image(source, **options)
    return str(caught.value)


# What the formats hold


def rgb_of_grey(samples: NDArray[Any], alpha: NDArray[Any]) -> Pixels:
    """RGBA of grey (H, W, 1) and alpha (H, W, 1)."""
    return np.concatenate([samples] * 3 + [alpha], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        pytest.param(0, GREY, id="grey"),
        pytest.param(2, RGB, id="RGB"),
        pytest.param(6, RGBA, id="RGBA"),
    ],
)
def test_png_keeps_its_channels(colour: int, expected: Pixels) -> None:
    """A PNG comes out as it is stored: grey as 1 channel, RGB as 3, RGBA as 4, in that order."""
    picture = decode_image(png(expected, colour))
    np.testing.assert_array_equal(picture, expected)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous


def test_grey_with_alpha_becomes_rgba() -> None:
    """Grey with alpha becomes RGBA with three equal colours and the alpha as it is."""
    samples = np.concatenate([GREY, RGB[..., :1]], axis=2)
    expected = rgb_of_grey(GREY, RGB[..., :1])
    np.testing.assert_array_equal(decode_image(png(samples, 4)), expected)


def test_invisible_pixels_keep_their_colours() -> None:
    """Alpha is never composited or premultiplied: colours under alpha 0 survive."""
    pixels = RGBA.copy()
    pixels[..., 3] = 0
    np.testing.assert_array_equal(decode_image(png(pixels, 6)), pixels)
    np.testing.assert_array_equal(decode_image(png(pixels, 6))[..., :3], RGBA[..., :3])


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits_of_grey_span_the_whole_range(depth: int) -> None:
    """Grey of 1, 2 or 4 bits is scaled so that its largest value is 255."""
    samples = GREY >> 8 - depth
    expected = samples * (255 // (2**depth - 1))
    np.testing.assert_array_equal(decode_image(png(samples, 0, depth)), expected)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_becomes_its_colours(depth: int) -> None:
    """A palette becomes RGB, and with a tRNS chunk RGBA; entries it doesn't name are opaque."""
    samples = GREY >> 8 - depth
    palette = RNG.integers(0, 256, (2**depth, 3), dtype=np.uint8)
    plte = chunk(b"PLTE", palette.tobytes())
    expected = palette[samples[..., 0]]
    np.testing.assert_array_equal(decode_image(png(samples, 3, depth, plte)), expected)
    alpha = np.full(2**depth, 255, np.uint8)
    alpha[:2] = 0, 128
    with_alpha = decode_image(png(samples, 3, depth, plte + chunk(b"tRNS", b"\0\x80")))
    np.testing.assert_array_equal(with_alpha[..., :3], expected)
    np.testing.assert_array_equal(with_alpha[..., 3], alpha[samples[..., 0]])


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_become_their_high_byte(colour: int, channels: int) -> None:
    """Of 16 bits the high byte is kept, neither rounded nor clipped."""
    samples = RNG.integers(0, 65536, (HEIGHT, WIDTH, channels), dtype=np.uint16)
    samples[0, 0] = 0x12FF
    expected = (samples >> 8).astype(np.uint8)
    if channels == 2:
        expected = rgb_of_grey(expected[..., :1], expected[..., 1:])
    np.testing.assert_array_equal(decode_image(png(samples, colour, 16)), expected)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_transparent_grey_level_becomes_alpha(depth: int) -> None:
    """A grey PNG with a tRNS level is RGBA: alpha 0 at exactly that level, 255 elsewhere."""
    samples = RNG.integers(0, 2**depth, (HEIGHT, WIDTH, 1), dtype=np.uint16)
    level = int(samples[3, 4, 0])
    samples[0, 0] = level ^ 1  # a neighbour, with the same high byte in 16 bits
    data = png(samples, 0, depth, chunk(b"tRNS", struct.pack(">H", level)))
    grey = samples >> 8 if depth == 16 else samples * (255 // (2**depth - 1))
    expected = rgb_of_grey(grey, np.where(samples == level, 0, 255))
    np.testing.assert_array_equal(decode_image(data), expected)


@pytest.mark.parametrize("depth", [8, 16])
def test_transparent_colour_becomes_alpha(depth: int) -> None:
    """An RGB PNG with a tRNS colour is RGBA: alpha 0 at exactly that colour."""
    samples = RNG.integers(0, 2**depth, (HEIGHT, WIDTH, 3), dtype=np.uint16)
    trns = chunk(b"tRNS", struct.pack(">HHH", *samples[3, 4].tolist()))
    picture = decode_image(png(samples, 2, depth, trns))
    np.testing.assert_array_equal(picture[..., :3], samples >> (depth - 8))
    np.testing.assert_array_equal(
        picture[..., 3], np.where((samples == samples[3, 4]).all(axis=2), 0, 255)
    )


def test_interlaced_png() -> None:
    """An interlaced PNG comes out like a plain one."""
    adam7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    data = png(RGB, 2, passes=[*adam7, (0, 1, 1, 2)])
    np.testing.assert_array_equal(decode_image(data), RGB)


def test_animated_png_gives_its_still_picture() -> None:
    """An APNG is read as the still picture that a viewer without animation shows."""
    control = chunk(b"acTL", struct.pack(">II", 1, 0))
    frame = struct.pack(">IIIIIHHBB", 0, 4, 4, 2, 2, 1, 10, 0, 0)
    other = chunk(b"fcTL", frame) + chunk(
        b"fdAT", struct.pack(">I", 1) + zlib.compress(bytes(4 * 13))
    )
    data = png(RGB, 2, extra=control)
    data = data[:-12] + other + data[-12:]
    np.testing.assert_array_equal(decode_image(data), RGB)


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
def test_jpeg_is_grey_or_rgb(options: tuple[int, ...]) -> None:
    """A JPEG of one component is grey, one of three RGB, baseline or progressive."""
    picture = decode_image(encoded(".jpg", SMOOTH, *options))
    assert picture.shape == SMOOTH.shape
    red = np.zeros_like(SMOOTH)
    red[..., 0] = 255
    assert decode_image(encoded(".jpg", red, *options))[20, 30].tolist() == pytest.approx(
        [255, 0, 0], abs=2
    )
    grey = decode_image(encoded(".jpg", SMOOTH[..., :1], *options))
    assert grey.shape == (*SMOOTH.shape[:2], 1)


ORIENTED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_orientation_is_applied(orientation: int, channels: int) -> None:
    """Each of the eight EXIF orientations of a JPEG is turned to what viewers show."""
    plain = encoded(".jpg", SMOOTH[..., :channels])
    picture = decode_image(jpeg_with(app1(orientation), plain))
    np.testing.assert_array_equal(picture, ORIENTED[orientation](decode_image(plain)))
    assert picture.flags.c_contiguous


@pytest.mark.parametrize("orientation", ORIENTED)
def test_png_orientation_is_applied(orientation: int) -> None:
    """Each of the eight EXIF orientations of a PNG is turned to what viewers show, alpha too."""
    data = png(RGBA, 6, extra=chunk(b"eXIf", exif(orientation)))
    np.testing.assert_array_equal(decode_image(data), ORIENTED[orientation](RGBA))


def test_webp_orientation_is_ignored() -> None:
    """The EXIF orientation of a WebP is ignored with every version of OpenCV."""
    data = riff(vp8x(0x08, WIDTH, HEIGHT), (b"VP8L", WEBP[20:]), (b"EXIF", exif(6)))
    np.testing.assert_array_equal(decode_image(data), RGB)


def test_bmp_is_grey_or_rgb() -> None:
    """A BMP is grey if its palette is, and RGB otherwise."""
    np.testing.assert_array_equal(decode_image(encoded(".bmp", GREY)), GREY)
    np.testing.assert_array_equal(decode_image(encoded(".bmp", RGB)), RGB)


def test_bmp_stored_from_the_top() -> None:
    """A negative height means that the first row is the top one."""
    rows = np.pad(RGB[..., ::-1].reshape(HEIGHT, -1), ((0, 0), (0, -3 * WIDTH % 4)))
    np.testing.assert_array_equal(decode_image(bmp(rows.tobytes(), WIDTH, -HEIGHT, 24)), RGB)


def test_bmp_with_the_shortest_header_keeps_its_colours() -> None:
    """A BMP with the header of OS/2, which OpenCV alone would turn to grey, is RGB."""
    data = bmp(bytes([10, 20, 30, 40, 50, 60, 0, 0]), 2, 1, 24, header=12)
    assert decode_image(data).tolist() == [[[30, 20, 10], [60, 50, 40]]]


MASKS = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)


@pytest.mark.parametrize(
    ("header", "compression", "after", "expected"),
    [
        pytest.param(40, 0, b"", [30, 20, 10], id="no masks"),
        pytest.param(40, 3, MASKS, [30, 20, 10], id="masks without alpha"),
        pytest.param(56, 3, MASKS + bytes(4), [30, 20, 10], id="an empty mask for alpha"),
        pytest.param(56, 3, MASKS + b"\0\0\0\xff", [30, 20, 10, 40], id="a mask for alpha"),
    ],
)
def test_bmp_of_32_bits_has_alpha_only_by_a_mask(
    header: int, compression: int, after: bytes, expected: list[int]
) -> None:
    """The fourth byte of a BMP's pixel is alpha if the header says so, and padding if not."""
    data = bmp(bytes([10, 20, 30, 40]), 1, 1, 32, compression, after, header)
    assert decode_image(data)[0, 0].tolist() == expected


def test_run_length_bmp() -> None:
    """A BMP in run-length code is read, though its size can't be told from its header."""
    palette = b"".join(bytes((i, 0, 255 - i, 0)) for i in range(256))
    data = bmp(b"\x02\x07\xc0\x09\0\0\xc2\x08\0\1", 194, 20, 8, 1, palette)
    rows = [[0] * 194] * 18 + [[8] * 194, [7] * 2 + [9] * 192]
    expected = [[[255 - i, 0, i] for i in row] for row in rows]
    assert decode_image(data).tolist() == expected


@needs_gif
def test_gif_is_rgb() -> None:
    """A GIF becomes the colours of its palette."""
    np.testing.assert_array_equal(decode_image(GIF), PALETTE[LEVELS])


@needs_gif
def test_gif_with_a_transparent_colour_is_rgba() -> None:
    """A GIF with a transparent colour is RGBA, with alpha 0 exactly there."""
    control = b"\x21\xf9\4\1\0\0" + bytes((LEVELS[3, 4],)) + b"\0"
    picture = decode_image(gif(b"\x21\xfe\2hi\0", control, gif_frame(LEVELS)))
    shown = LEVELS[3, 4] != LEVELS
    np.testing.assert_array_equal(picture[..., 3], np.where(shown, 255, 0))
    np.testing.assert_array_equal(picture[shown][:, :3], PALETTE[LEVELS][shown])


@needs_gif
def test_first_frame_of_a_gif() -> None:
    """Of an animated GIF the first frame is read, whatever the others are."""
    control = b"\x21\xf9\4\1\0\0\0\0"
    later = control + gif_frame(LEVELS[::-1]) + b"what follows is not looked at"
    np.testing.assert_array_equal(decode_image(gif(gif_frame(LEVELS), later)), PALETTE[LEVELS])


@needs_gif
def test_gif_frame_smaller_than_the_picture() -> None:
    """A frame that covers a part is placed there, on the background colour."""
    picture = decode_image(gif(gif_frame(LEVELS, 2, 1), width=WIDTH + 5, height=HEIGHT + 3))
    assert picture.shape == (HEIGHT + 3, WIDTH + 5, 3)
    np.testing.assert_array_equal(picture[1 : 1 + HEIGHT, 2 : 2 + WIDTH], PALETTE[LEVELS])
    np.testing.assert_array_equal(picture[0], np.tile(PALETTE[0], (WIDTH + 5, 1)))


def test_gif_without_a_gif_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """An OpenCV without GIF (4.11 from PyPI) is answered with what to install."""
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    monkeypatch.setattr(cv2, "haveImageWriter", lambda _: False)
    assert "pip install 'opencv-python-headless>=4.12'" in refusal(GIF)


def test_webp_is_rgb_or_rgba() -> None:
    """A WebP is RGB or RGBA, in the plain or the extended container."""
    with_alpha = webp(RGBA)
    visible = RGBA[..., 3] > 0  # lossless WebP may drop what nobody sees
    np.testing.assert_array_equal(decode_image(WEBP), RGB)
    np.testing.assert_array_equal(decode_image(with_alpha)[visible], RGBA[visible])
    extended = riff(vp8x(0x10, WIDTH, HEIGHT), (b"VP8L", with_alpha[20:]))
    np.testing.assert_array_equal(decode_image(extended)[visible], RGBA[visible])
    lossy = decode_image(SAMPLES["lossy WebP"])
    assert lossy.shape == SMOOTH.shape


def test_first_frame_of_a_webp() -> None:
    """Of an animated WebP the first frame is read."""
    frames = [
        (b"ANMF", bytes(6) + vp8x(0, WIDTH, HEIGHT)[1][4:] + bytes(4) + webp(pixels)[12:])
        for pixels in (RGB, RGB[::-1].copy())
    ]
    data = riff(vp8x(0x02, WIDTH, HEIGHT), (b"ANIM", bytes(6)), *frames)
    np.testing.assert_array_equal(decode_image(data), RGB)


@pytest.mark.parametrize("name", SAMPLES)
def test_bytes_after_the_end_are_ignored(name: str) -> None:
    """Bytes after the end of a picture change nothing."""
    expected = decode_image(SAMPLES[name])
    np.testing.assert_array_equal(decode_image(SAMPLES[name] + b"\r\n<!-- x -->"), expected)


def test_one_pixel() -> None:
    """A picture of one pixel is a picture."""
    assert decode_image(png(GREY[:1, :1], 0)).shape == (1, 1, 1)
    assert decode_image(webp(RGB[:1, :1])).shape == (1, 1, 3)


# Where a picture comes from


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_bytes_in_every_form(wrap: Callable[[bytes], bytes]) -> None:
    """A picture is read alike from bytes, bytearray and memoryview."""
    np.testing.assert_array_equal(decode_image(wrap(SAMPLES["PNG"])), RGBA)


def test_strided_memoryview() -> None:
    """A memoryview need not be contiguous."""
    every_other = bytes(
        b for pair in zip(SAMPLES["PNG"], SAMPLES["PNG"], strict=True) for b in pair
    )
    np.testing.assert_array_equal(decode_image(memoryview(every_other)[::2]), RGBA)


@pytest.mark.parametrize("kind", [str, Path])
def test_paths(kind: Callable[[Path], str | Path], tmp_path: Path) -> None:
    """A path is read as str and as PathLike, and its suffix doesn't matter."""
    path = tmp_path / "bürö.png"
    path.write_bytes(WEBP)
    np.testing.assert_array_equal(decode_image(kind(path)), RGB)


def test_text_named_png(tmp_path: Path) -> None:
    """The error for a file that is no picture names the file and what is in it."""
    path = tmp_path / "captcha.png"
    path.write_text("<!DOCTYPE html><html>Too many requests</html>")
    assert re.search(r"captcha\.png: not a PNG, .*: found HTML text$", refusal(path))


def test_missing_file(tmp_path: Path) -> None:
    """A missing file is an ImageDecodeError that names it, caused by the FileNotFoundError."""
    with pytest.raises(ImageDecodeError, match=r"^no such file: .*gone\.png$") as caught:
        decode_image(tmp_path / "gone.png")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_folder(tmp_path: Path) -> None:
    """The error for a folder says that it is one."""
    assert refusal(tmp_path) == f"is a folder: {tmp_path}"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system")
def test_pipe_and_device(tmp_path: Path) -> None:
    """A pipe that nobody writes to and a device without end are refused instead of read."""
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe").startswith("is a pipe or a device")
    assert refusal("/dev/zero").startswith("is a pipe or a device")


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read is an ImageDecodeError, caused by the PermissionError."""
    path = tmp_path / "secret.png"
    path.write_bytes(WEBP)

    def refuse(self: Path, _: str) -> Never:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageDecodeError, match=r"can't read .*denied.*secret\.png") as caught:
        decode_image(path)
    assert isinstance(caught.value.__cause__, PermissionError)


@pytest.mark.parametrize("path", ["a\0b.png", "x" * 100_000], ids=["NUL", "too long"])
def test_impossible_path(path: str) -> None:
    """A string that can't be a path is an ImageDecodeError with a short message."""
    assert len(refusal(path)) < 400


@pytest.mark.parametrize("source", [None, 3, 2.5, [1, 2], object()])
def test_other_types(source: Any) -> None:
    """Any other type is an error that says what is expected."""
    with pytest.raises(
        ImageDecodeError, match="expected a path, the bytes of an image file, a NumPy array or a "
    ):
        decode_image(source)


# Arrays


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_uint8_array_is_taken_over(shape: tuple[int, ...]) -> None:
    """A contiguous uint8 array is taken over without a copy, two dimensions becoming three."""
    array = RNG.integers(0, 256, shape, dtype=np.uint8)
    picture = decode_image(array)
    assert picture.shape == (*shape, 1)[:3]
    assert np.shares_memory(picture, array)
    np.testing.assert_array_equal(picture.ravel(), array.ravel())


@pytest.mark.parametrize(
    "view", [RGB[:, ::-1], RGB.transpose(1, 0, 2), RGB[::2, 1:5], GREY[..., 0].T]
)
def test_array_is_made_contiguous(view: Pixels) -> None:
    """A strided view is copied into a contiguous picture."""
    picture = decode_image(view)
    assert picture.flags.c_contiguous
    np.testing.assert_array_equal(picture.squeeze(), view)


def test_bool_array() -> None:
    """False is 0 and True is 255."""
    assert decode_image(np.array([[False, True]])).tolist() == [[[0], [255]]]


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_uint16_array(dtype: str) -> None:
    """Of uint16 in either byte order the high byte is kept."""
    picture = decode_image(np.array([[0x12FF, 0xFF00, 0x00FF]], dtype))
    assert picture.tolist() == [[[0x12], [0xFF], [0]]]
    assert picture.dtype == np.uint8


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int64", "complex64", "O"])
def test_array_of_another_type(dtype: str) -> None:
    """Floats and other integers are refused: nobody knows their range."""
    message = refusal(np.ones((5, 7), dtype))
    assert "expected uint8, uint16 or bool; scale it to 0..255" in message


@pytest.mark.parametrize("shape", [(), (5,), (5, 7, 2), (5, 7, 5), (3, 5, 7), (1, 5, 7, 3)])
def test_array_of_another_shape(shape: tuple[int, ...]) -> None:
    """An array that is no picture is refused with its shape."""
    message = refusal(np.zeros(shape, np.uint8))
    assert message.startswith(f"array of shape {shape}: expected (H, W), ")


@pytest.mark.parametrize("shape", [(0, 7), (5, 0, 3), (0, 0)])
def test_empty_array(shape: tuple[int, ...]) -> None:
    """An array without pixels is refused."""
    assert "there is no picture in it" in refusal(np.zeros(shape, np.uint8))


def test_large_array() -> None:
    """Arrays have the size limits of files."""
    assert decode_image(RGB, max_pixels=HEIGHT * WIDTH).shape == RGB.shape
    assert "more than max_pixels=125" in refusal(RGB, max_pixels=HEIGHT * WIDTH - 1)
    assert "a side is longer" in refusal(np.zeros((1, MAX_SIDE + 1), np.uint8))


def test_subclass_of_array() -> None:
    """Subclasses of ndarray become plain arrays."""
    assert type(decode_image(np.ma.masked_array(GREY[..., 0]))) is np.ndarray


# Not a picture


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "EPS"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF, HEIC or a video"),
        (b"PK\3\4\x14\0\0\0", "a zip archive"),
        (b"\x89HDF\r\n\x1a\n\0", "an HDF5 file"),
        (b"\x93NUMPY\1\0v\0", "a NumPy file"),
        (b"\x08\x08\x12\x07tf2onnx\x1a\x06", "an ONNX model"),
        (b"\x08\x0a:\xb0\x01", "an ONNX model"),
        (b"\n <HTML><body>", "HTML text"),
        (b"<svg xmlns=", "SVG text"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><svg", "XML or SVG text"),
        (b'{"error": 1}', "JSON text"),
        (b"data:image/svg+xml;base64,PHN2Zz4=", "a data URL that holds no such picture"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer: run git lfs pull"),
        (b"Zugriff verweigert, zu viele Anfragen", "text"),
        ("доступ запрещён".encode(), "text"),
        (b"BMW is a make of cars, not a bitmap", "text"),
        (b"I want: WEBP, or another picture.", "text"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "unknown data that begins with 52 49 46 46 24 00 00 00"),
        (b"\0", "unknown data that begins with 00"),
    ],
)
@pytest.mark.usefixtures("no_decoding")
def test_what_was_found_instead(data: bytes, found: str) -> None:
    """Data of other formats never reaches OpenCV; the error says what was found."""
    assert refusal(data) == f"not a PNG, JPEG, BMP, GIF or WebP picture: found {found}"


def test_empty(tmp_path: Path) -> None:
    """Empty bytes are an error, and so is an empty file, with its name."""
    assert refusal(b"") == "empty: 0 bytes"
    (tmp_path / "empty.png").touch()
    assert refusal(tmp_path / "empty.png") == f"{tmp_path / 'empty.png'}: empty: 0 bytes"


# Too large


def headers(width: int, height: int) -> dict[str, bytes]:
    """Makes a file of every kind of header, with 1,000 more bytes that are never looked at."""
    sof = struct.pack(">HBHHB", 11, 8, height & 0xFFFF, width & 0xFFFF, 1) + b"\1\x11\0"
    start = JPEG.index(b"\xff\xc0")
    sides = (width - 1 & 0x3FFF) | (height - 1 & 0x3FFF) << 14 | 1 << 28  # with alpha
    scaled = [side & 0x3FFF | 0x4000 for side in (width, height)]  # for display only
    files = {
        "PNG": ihdr(width, height),
        "PNG, 1 bit": ihdr(width, height, 1),
        "BMP": bmp(b"", width, height, 24),
        "BMP from the top": bmp(b"", width, -height, 24),
        "BMP of OS/2": bmp(b"", width & 0xFFFF, height & 0xFFFF, 1, header=12),
        "GIF": gif(width=width & 0xFFFF, height=height & 0xFFFF),
        "JPEG": JPEG[:start] + b"\xff\xc0" + sof,
        "progressive JPEG": JPEG[:start] + b"\xff\xc2" + sof,
        "JPEG, arithmetic": JPEG[:start] + b"\xff\xc9" + sof,
        "JPEG with two frame headers": JPEG[: start + 19] + b"\xff\xc0" + sof + JPEG[start + 19 :],
        "JPEG with fill bytes": JPEG[:start] + b"xyz\xff\0\xff\xd0\xff\xff\xff\xc0" + sof,
        "JPEG with a short segment": JPEG[:start] + b"\xff\xfe\0\0\xff\xc0" + sof,
        "extended WebP": riff(vp8x(0, width or 1 << 24, height or 1 << 24)),
        "lossless WebP": riff((b"VP8L", b"\x2f" + struct.pack("<I", sides))),
        "lossy WebP": riff((b"VP8 ", b"\0\0\0\x9d\1\x2a" + struct.pack("<HH", *scaled))),
    }
    return {name: data + bytes(1000) for name, data in files.items()}


@pytest.mark.parametrize("name", headers(9, 9))
@pytest.mark.usefixtures("no_decoding")
def test_too_many_pixels(name: str) -> None:
    """A header that claims too many pixels is refused before anything is decoded."""
    assert re.search(
        r"^\w+ of 13000 x 12000 pixels: more than max_pixels=4000000$",
        refusal(headers(13000, 12000)[name]),
    )


@pytest.mark.parametrize("name", ["PNG", "BMP", "BMP of OS/2", "GIF", "JPEG", "lossy WebP"])
@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (0, 0)])
@pytest.mark.usefixtures("no_decoding")
def test_no_pixels(name: str, width: int, height: int) -> None:
    """A header that claims no pixels is refused before anything is decoded."""
    message = refusal(headers(width, height)[name])
    assert f"of {width} x {height} pixels: there is no picture in it" in message


@pytest.mark.parametrize("name", ["PNG", "BMP", "BMP from the top", "GIF", "JPEG", "extended WebP"])
@pytest.mark.usefixtures("no_decoding")
def test_too_long(name: str) -> None:
    """A side too long for OpenCV's functions is refused, however few the pixels."""
    assert "65535 x 1 pixels: a side is longer" in refusal(headers(65535, 1)[name])
    assert "1 x 65535 pixels: a side is longer" in refusal(headers(1, 65535)[name])


def test_negative_bmp_width() -> None:
    """A BMP with a negative width is refused."""
    assert "there is no picture in it" in refusal(bmp(bytes(400), -5, 5, 24))


@pytest.mark.usefixtures("no_decoding")
def test_png_bomb_is_not_inflated() -> None:
    """900 million pixels in 110 kB, which cost OpenCV 1.7 GB, cost less than a megabyte here."""
    row = zlib.compressobj(9)
    data = b"".join(row.compress(bytes(3751 * 300)) for _ in range(100)) + row.flush()
    bomb = ihdr(30_000, 30_000, 1) + chunk(b"IDAT", data) + chunk(b"IEND")
    assert 100_000 < len(bomb) < 120_000
    tracemalloc.start()
    message = refusal(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message == "PNG of 30000 x 30000 pixels: more than max_pixels=4000000"
    assert peak < 1_000_000


@pytest.mark.parametrize("name", SAMPLES)
def test_max_pixels_is_the_largest_that_is_read(name: str) -> None:
    """Exactly max_pixels pass, one more doesn't."""
    height, width = decode_image(SAMPLES[name]).shape[:2]
    decode_image(SAMPLES[name], max_pixels=height * width)
    assert f"more than max_pixels={height * width - 1}" in refusal(
        SAMPLES[name], max_pixels=height * width - 1
    )


def test_frame_that_does_not_fit_its_webp() -> None:
    """A frame larger than its WebP's header says isn't decoded into anything."""
    large = webp(np.zeros((300, 300, 3), np.uint8))[12:]
    still = riff(vp8x(0, 10, 10), (large[:4], large[8:]))
    frame = bytes(6) + vp8x(0, 10, 10)[1][4:] + bytes(4) + large
    animated = riff(vp8x(2, 10, 10), (b"ANIM", bytes(6)), (b"ANMF", frame))
    assert "WebP damaged" in refusal(still)
    assert "WebP damaged" in refusal(animated)


@pytest.mark.parametrize("frame", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)])
@pytest.mark.usefixtures("no_decoding")
def test_frame_that_does_not_fit_its_gif(frame: tuple[int, int, int, int]) -> None:
    """A frame that leaves its GIF's canvas is refused before anything is decoded."""
    left, top, wider, higher = frame
    data = gif(gif_frame(np.zeros((HEIGHT + higher, WIDTH + wider), np.uint8), left, top))
    assert refusal(data) == "GIF damaged: its frame 0 isn't within the picture"


@needs_gif
def test_the_frame_that_does_not_fit_is_named() -> None:
    """Where all frames are asked for, the message names the one that is wrong."""
    frame = np.zeros((HEIGHT, WIDTH), np.uint8)
    data = gif(gif_frame(frame), gif_frame(frame, left=1))
    assert decode_image(data).shape[:2] == frame.shape
    with pytest.raises(ImageDecodeError, match="GIF damaged: its frame 1 isn't within"):
        decode_image(data, merge=lambda frames: frames[-1])


@pytest.mark.usefixtures("no_decoding")
def test_more_data_than_the_pixels_of_a_png_need() -> None:
    """A small PNG whose data would take seconds to inflate is refused before that."""
    data = ihdr(10, 10) + chunk(b"IDAT", bytes(9 * 100 + 4097)) + chunk(b"IEND")
    assert refusal(data) == "PNG damaged: 4997 bytes of data for 10 x 10 pixels"


def test_stored_png_fits() -> None:
    """The data of a PNG without compression isn't too much for it."""
    raw = b"".join(b"\0" + bytes(8) for _ in range(3000))
    data = ihdr(1, 3000, 16, 6) + chunk(b"IDAT", zlib.compress(raw, 0)) + chunk(b"IEND")
    assert decode_image(data).shape == (3000, 1, 4)


def test_png_chunks_that_make_no_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text, profiles and animation, which can unfold to gigabytes, never reach OpenCV."""
    seen = []
    decode = cv2.imdecode

    def spy(data: Pixels, flags: int) -> Any:
        seen.append(data.tobytes())
        return decode(data, flags)

    monkeypatch.setattr(cv2, "imdecode", spy)
    kinds = (b"zTXt", b"iTXt", b"tEXt", b"iCCP", b"acTL", b"gAMA", b"sBIT", b"unKn")
    extra = b"".join(chunk(kind, b"a\0\0" + zlib.compress(bytes(9000))) for kind in kinds)
    np.testing.assert_array_equal(decode_image(png(RGB, 2, extra=extra)), RGB)
    decode_image(png(RGB, 2))  # the same file without them
    assert seen[0] == seen[1]


def test_jpeg_scans() -> None:
    """A progressive JPEG that repeats a scan, at 1 ms each for OpenCV, is refused."""
    last = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
    assert refusal(PROGRESSIVE[:-2] + 100 * last + b"\xff\xd9") == (
        "JPEG damaged: more than 50 scans"
    )
    sequential = JPEG.replace(b"\xff\xda\0\x0c\3\1\0\2\x11\3\x11", b"\xff\xda\0\x08\1\1\0")
    assert sequential != JPEG
    last = sequential[sequential.rindex(b"\xff\xda") : -2]
    assert refusal(sequential[:-2] + 100 * last + b"\xff\xd9") == (
        "JPEG damaged: more than 50 scans"
    )


@pytest.mark.usefixtures("no_decoding")
@pytest.mark.parametrize(
    ("side", "limit", "message"),
    [
        (30, 270, "GIF damaged: its data doesn't make 900 pixels"),
        (
            1000,
            15_881,
            "GIF with more than 15881 clear codes for 1000000 pixels: convert it to PNG",
        ),
    ],
)
def test_gif_of_clear_codes(side: int, limit: int, message: str) -> None:
    """A GIF that only clears its table, at 15 µs a byte for OpenCV, is refused before that."""
    frame = gif_frame(np.zeros((side, side), np.uint8), data=b"\x80" * (limit + 1))
    assert refusal(gif(frame, width=side, height=side)) == message


@pytest.mark.usefixtures("no_decoding")
@pytest.mark.parametrize(("side", "limit"), [(30, 3274), (320, 205_824)])
def test_more_data_than_the_pixels_of_a_gif_need(side: int, limit: int) -> None:
    """A GIF with more data than 12 bits per pixel is refused; a small one may have 18."""
    frame = gif_frame(np.zeros((side, side), np.uint8), data=b"\0" * limit)
    assert re.search(
        rf"^GIF of \d+ bytes, limit {limit}: convert it to PNG$",
        refusal(gif(frame, width=side, height=side)),
    )


@needs_gif
def test_noisy_gif_fits() -> None:
    """The data of the least compressible GIF isn't too much for it."""
    levels = RNG.integers(0, 128, (200, 300), dtype=np.uint8)
    data = gif(gif_frame(levels), width=300, height=200)
    np.testing.assert_array_equal(decode_image(data), PALETTE[levels])


@pytest.mark.usefixtures("no_decoding")
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ihdr(9, 9) + chunk(b"tEXt") * 10_001, "PNG damaged: more than 1234 chunks"),
        (b"\xff\xd8" + b"\xff\xfe\0\2" * 10_001, "JPEG damaged: more than 10000 segments"),
        (gif(b"\x21\xfe" + b"\1x" * 10_001), "GIF damaged: more than 10000 sub-blocks"),
        (gif(b"\x21\xfe\1x\0" * 101), "GIF damaged: more than 100 extensions"),
    ],
    ids=["PNG", "JPEG", "GIF", "GIF extensions"],
)
def test_endless_structure(data: bytes, message: str) -> None:
    """A file with more than 10,000 tiny parts is refused."""
    assert refusal(data) == message


@pytest.mark.usefixtures("no_decoding")
def test_too_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More bytes than the limit are refused unread and uncopied."""
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    tracemalloc.start()
    message = refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert message == f"{path}: {MAX_BYTES + 1} bytes: more than the limit of {MAX_BYTES}"
    monkeypatch.setattr(decode, "MAX_BYTES", 100)
    for kind in (bytes, bytearray, memoryview):
        assert refusal(kind(bytes(101))) == "101 bytes: more than the limit of 100"


# Cut off and damaged


@pytest.mark.parametrize("name", SAMPLES)
def test_cut_off_anywhere(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A file cut off at any length is an error, found before OpenCV writes to stderr about it."""
    data = SAMPLES[name]
    for length in range(len(data)):
        message = refusal(data[:length])
        if length >= 26:  # the longest that is needed to know the format and the size
            assert "cut off: it should go on after its" in message
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("no_decoding")
def test_cut_off_jpeg_with_a_thumbnail() -> None:
    """The end marker of a thumbnail inside of a JPEG isn't taken for the JPEG's own."""
    data = jpeg_with(b"\xff\xe1\0\6\xff\xd8\xff\xd9", JPEG)
    assert "JPEG cut off" in refusal(data[:-10])


@pytest.mark.usefixtures("no_decoding")
def test_cut_off_gif_without_a_gif_decoder() -> None:
    """A GIF cut off at any length is an error, whatever OpenCV can."""
    for length in range(13, len(GIF)):
        assert "GIF cut off" in refusal(GIF[:length])


def test_flipped_bit_in_a_png(capfd: pytest.CaptureFixture[str]) -> None:
    """No flipped bit of a PNG gets past its checksums, or as far as OpenCV's stderr."""
    data = SAMPLES["PNG with a palette"]
    for position in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            refusal(flipped)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", [b"IHDR", b"tRNS", b"IDAT", b"tEXt", b"IEND"])
def test_wrong_checksum(kind: bytes) -> None:
    """A chunk with a wrong checksum is named, one that makes no pixels, too."""
    extra = chunk(b"PLTE", bytes(768)) + chunk(b"tRNS", b"\0") + chunk(b"tEXt", b"a\0b")
    data = bytearray(png(GREY, 3, extra=extra))
    start = data.index(kind)
    (length,) = struct.unpack_from(">I", data, start - 4)
    data[start + 4 + length] ^= 1
    assert refusal(data) == f"PNG damaged: wrong checksum of its {kind!r} chunk"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ihdr(9, 9)[:8] + png(GREY, 0)[33:], "PNG damaged: it doesn't begin with an IHDR chunk"),
        (ihdr(9, 9) + chunk(b"IEND"), "PNG damaged: 0 bytes of data for 9 x 9 pixels"),
        (b"\xff\xd8\xff\xda\0\2\0\0\xff\xd9", "JPEG damaged: no frame header"),
        (bmp(bytes(400), 9, 9, 24, 4), "BMP of compression 4: convert it to PNG"),
        (
            bmp(bytes(400), 9, 9, 32, 3, MASKS[::-1]),
            "BMP with unusual colour masks: convert it to PNG",
        ),
        (gif(), "GIF damaged: no frame where one should be"),
        (riff((b"JUNK", bytes(30))), "WebP damaged: it begins with a b'JUNK' chunk"),
    ],
)
def test_damaged_structure(data: bytes, message: str) -> None:
    """Damage of the structure is named, and never reaches OpenCV."""
    assert refusal(data + bytes(20)) == message


@pytest.mark.parametrize("data", [b"", zlib.compress(bytes(9)), b"\x78\x9c" + b"\xff" * 50])
def test_damaged_pixels(data: bytes) -> None:
    """Pixels that can't be decoded are an error, not a half picture."""
    message = refusal(ihdr(9, 9) + chunk(b"IDAT", data + bytes(1)) + chunk(b"IEND"))
    assert message == "PNG damaged: its structure is whole, its pixels are not"


def test_errors_of_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever OpenCV throws becomes an ImageDecodeError, with the cause."""

    def fail(*_: object) -> Never:
        raise cv2.error("Insufficient memory")

    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(ImageDecodeError, match="Insufficient memory") as caught:
        decode_image(WEBP)
    assert isinstance(caught.value.__cause__, cv2.error)


def check(data: bytes) -> None:
    """Checks that the bytes give a valid picture or an ImageDecodeError."""
    try:
        picture = decode_image(data, max_pixels=100_000)
    except ImageDecodeError as error:
        assert str(error)  # noqa: PT017
    else:
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] in (1, 3, 4)
        assert 0 < picture.shape[0] * picture.shape[1] <= 100_000
        assert picture.flags.c_contiguous


STARTS = [b"", *(data[:n] for data in [*SAMPLES.values(), GIF] for n in (8, 20, 40))]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(STARTS), st.binary(max_size=200))
def test_random_bytes(start: bytes, data: bytes) -> None:
    """Random bytes, also behind a right beginning, are a picture or an ImageDecodeError."""
    check(start + data)


@settings(max_examples=500, deadline=None)
@given(st.data(), st.sampled_from(sorted(SAMPLES)))
def test_changed_bytes(data: st.DataObject, name: str) -> None:
    """A picture with up to three changed bytes is a picture or an ImageDecodeError."""
    damaged = bytearray(SAMPLES[name])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(damaged))


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=80), st.integers(0, 5), st.integers(0, 5))
def test_random_png_data(data: bytes, width: int, height: int) -> None:
    """Random pixel data with the right checksums is a picture or an ImageDecodeError."""
    check(ihdr(width, height) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND"))
