"""No picture within the limits costs much more than an honest one of its size."""

import json
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from captcha_rt import Recipe, Solver, load_model
from captcha_rt.errors import ImageDecodeError, RecipeError
from captcha_rt.image import decode_image
from captcha_rt.image.png import SIGNATURE, chunk
from captcha_rt.manifest import Manifest
from captcha_rt.model import attach

SIDE = 340
NOISE = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def encoded(suffix: str, *options: int) -> bytes:
    """An honest picture."""
    return bytes(cv2.imencode(suffix, NOISE, options)[1].tobytes())


def png(data: bytes, *extra: bytes, interlaced: int = 0) -> bytes:
    """A PNG of 340 x 340 RGB pixels."""
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, interlaced)
    return b"".join(
        [SIGNATURE, chunk(b"IHDR", header), *extra, chunk(b"IDAT", data), chunk(b"IEND")]
    )


def zeros(megabytes: int) -> bytes:
    """Deflated zeros."""
    pack = zlib.compressobj(9)
    return b"".join(pack.compress(bytes(2**20)) for _ in range(megabytes)) + pack.flush()


def seconds(data: bytes) -> float:
    """The time that a picture takes, the best of three."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        with suppress(ImageDecodeError):
            decode_image(data)
        times.append(time.perf_counter() - start)
    return min(times)


PROGRESSIVE = encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
BOMBS: dict[str, Callable[[], tuple[bytes, bytes]]] = {
    "PNG, 200 MB of zeros": lambda: (png(zeros(200)), encoded(".png")),
    "PNG, 200 MB in passes": lambda: (png(zeros(200), interlaced=1), encoded(".png")),
    "PNG, chunks": lambda: (png(zeros(1), *[chunk(b"eXIf", b"MM")] * 9000), encoded(".png")),
    "JPEG, segments": lambda: (
        encoded(".jpg").replace(b"\xff\xdb", b"\xff\xdd\0\4\0\0" * 9000 + b"\xff\xdb", 1),
        encoded(".jpg"),
    ),
    "JPEG, scans": lambda: (
        PROGRESSIVE[:-2] + PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2] * 80 + b"\xff\xd9",
        PROGRESSIVE,
    ),
    "WebP, chunks": lambda: (
        encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 80) + b"junk\0\0\0\0" * 9000,
        encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 80),
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A bomb costs at most ten times what an honest picture costs, and writes nothing."""
    bomb, honest = BOMBS[name]()
    assert seconds(bomb) < 10 * seconds(honest)
    assert capfd.readouterr().err == ""


def test_data_behind_the_pixels_of_a_png_is_ignored() -> None:
    """A PNG with more data than pixels is the same picture, whether the data is short or long."""
    rows = b"".join(b"\0" + row.tobytes() for row in NOISE)
    for more in (0, 1, 10_000, 10_000_000):
        picture = decode_image(png(zlib.compress(rows + bytes(more))))
        np.testing.assert_array_equal(picture, NOISE)


def test_pngs_with_less_data_than_pixels_are_refused() -> None:
    """A long PNG whose data ends too early is refused."""
    rows = b"".join(b"\0" + row.tobytes() for row in NOISE)
    with pytest.raises(ImageDecodeError, match="its pixels are not"):
        decode_image(png(zlib.compress(rows[:-1])))


def test_the_checksum_of_the_data_of_a_png_counts() -> None:
    """A PNG is refused if the checksum at the end of its data is wrong; not if it is missing."""
    rows = b"".join(b"\0" + row.tobytes() for row in NOISE)
    data = zlib.compress(rows)
    for wrong in (data[:-1] + bytes([data[-1] ^ 1]), zlib.compress(rows[::-1])[:-4] + data[-4:]):
        with pytest.raises(ImageDecodeError, match="its pixels are not"):
            decode_image(png(wrong))
    np.testing.assert_array_equal(decode_image(png(data[:-4])), NOISE)


def test_large_pictures_are_refused_before_the_recipe_runs() -> None:
    """A picture of which the recipe can't make the model's input is refused in a moment."""
    steps = [{"step": "denoise"}, {"step": "scale"}]
    description = {
        "format": 1,
        "name": "x",
        "charset": {"characters": "ab", "blank": 2},
        "recipe": steps,
        "decoder": "ctc",
        "scores": "logits",
        "input": {"name": "i", "shape": [None, 48, 140, 3]},
        "output": {"name": "o", "shape": [None, 20, 3]},
    }
    manifest = Manifest.from_json(json.dumps(description))
    start = time.perf_counter()
    with pytest.raises(RecipeError, match=r"\(2000, 2000, 3\), the model takes \(48, 140, 3\)"):
        manifest.prepare(np.zeros((2000, 2000, 4), np.uint8))
    assert time.perf_counter() - start < 0.1


def test_a_size_of_no_use_is_refused_from_the_header(stripes: Path, tmp_path: Path) -> None:
    """A model that takes pictures of one size refuses others before it decodes their pixels."""
    model = load_model(stripes)
    recipe = Recipe.from_json([{"step": "grey"}, {"step": "scale"}, {"step": "transpose"}])
    plain = tmp_path / "plain.onnx"
    graph = model.data[: model.manifest.graph.size]
    plain.write_bytes(attach(graph, replace(model.manifest, recipe=recipe)))
    large = cv2.imencode(".bmp", np.zeros((1500, 2000), np.uint8))[1].tobytes()
    for file in (large, cv2.imencode(".png", np.zeros((1500, 2000), np.uint8))[1].tobytes()):
        with pytest.raises(RecipeError, match=r"2000 x 1500 pixels becomes .*, the model takes"):
            Solver(plain).solve(file)
    assert Solver(plain).solve(np.full((4, 16), 255, np.uint8)).text == ""


def test_png_data_of_no_use_is_refused_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    """Also where all checksums are right: no zlib data, an unknown filter, an unknown method."""
    header = struct.pack(">IIBBBBB", 4, 1, 8, 0, 0, 0, 0)
    unknown = struct.pack(">IIBBBBB", 4, 1, 8, 0, 0, 0, 2)
    rows = zlib.compress(b"\x05abcd")
    for ihdr, data in ((header, b"no zlib"), (header, rows), (unknown, zlib.compress(bytes(5)))):
        parts = [SIGNATURE, chunk(b"IHDR", ihdr), chunk(b"IDAT", data), chunk(b"IEND")]
        with pytest.raises(ImageDecodeError, match="PNG damaged"):
            decode_image(b"".join(parts))
    assert capfd.readouterr().err == ""
