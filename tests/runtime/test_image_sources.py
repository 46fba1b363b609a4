"""Pillow images, and pictures that come as text."""

from base64 import b64encode, urlsafe_b64encode
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from captcha_rt.errors import ImageDecodeError, RecipeError
from captcha_rt.image import decode_image
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Grey

RNG = np.random.default_rng(4)
RGBA = RNG.integers(0, 256, (20, 31, 4), np.uint8)
FORMATS = [
    suffix
    for suffix in (".png", ".jpg", ".bmp", ".gif", ".webp")
    if suffix != ".gif" or cv2.haveImageWriter(".gif")
]


def encoded(suffix: str) -> bytes:
    """A picture in a format."""
    return bytes(cv2.imencode(suffix, RGBA[..., :3])[1].tobytes())


def folded(text: bytes) -> bytes:
    """Base64 as mail has it."""
    return b"\r\n".join(text[i : i + 76] for i in range(0, len(text), 76)) + b"\n"


TEXTS = {
    "base64": b64encode,
    "without padding": lambda data: b64encode(data).rstrip(b"="),
    "URL-safe": urlsafe_b64encode,
    "with line breaks": lambda data: folded(b64encode(data)),
    "percent-encoded base64": lambda data: quote(b64encode(data), safe="").encode(),
    "in quotes": lambda data: b'"' + b64encode(data) + b'"',
    "a data URL": lambda data: b"data:image/png;base64," + b64encode(data),
    "a data URL with parameters": lambda data: b"DATA:image/x;name=a;BASE64," + b64encode(data),
    "a percent-encoded data URL": lambda data: b"data:image/png," + quote(data).encode(),
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("form", TEXTS)
def test_pictures_as_text(suffix: str, form: str, tmp_path: Path) -> None:
    """Base64 and data URLs of every format are decoded, as str, as bytes and in a file."""
    data = encoded(suffix)
    text, expected = TEXTS[form](data), decode_image(data)
    path = tmp_path / "picture.txt"
    path.write_bytes(b"\xef\xbb\xbf" + text)
    for source in (text, text.decode(), path, str(path)):
        np.testing.assert_array_equal(decode_image(source), expected)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 8000,
        "/9j/" + "A" * 8000 + "*",
        "data:image/png;base64," + "A" * 8000,
        "data:image/svg+xml;utf8,<svg>" + "a" * 8000 + "</svg>",
        b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8000)).decode(),
    ],
)
def test_texts_that_are_no_picture(text: str, tmp_path: Path) -> None:
    """A text that is no picture is refused in one short line, which doesn't repeat it."""
    path = tmp_path / "text"
    path.write_text(text, "utf-8")
    for source in (text, text.encode(), path):
        with pytest.raises(ImageDecodeError) as caught:
            decode_image(source)
        assert len(str(caught.value)) < 150 + len(str(path))
        assert "\n" not in str(caught.value)


PIL = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


def images() -> dict[str, Any]:
    """An image of each mode that Pillow saves as a PNG."""
    rgba = PIL.fromarray(RGBA)
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    palette = rgb.quantize(7)
    transparent, few = palette.copy(), palette.copy()
    transparent.info["transparency"] = 2
    few.info["transparency"] = bytes([0, 100, 255, 3, 255, 255, 9])
    level, colour = grey.copy(), rgb.copy()
    level.info["transparency"] = int(RGBA.shape[0])
    colour.info["transparency"] = tuple(map(int, RGBA[3, 4, :3]))
    deep = RNG.integers(0, 65536, (20, 31), np.uint16)
    return {
        "1": grey.convert("1"),
        "L": grey,
        "LA": rgba.convert("LA"),
        "P": palette,
        "P with a transparent colour": transparent,
        "P with alpha": few,
        "L with a transparent level": level,
        "RGB": rgb,
        "RGB with a transparent colour": colour,
        "RGBA": rgba,
        "I;16": PIL.fromarray(deep),
    }


@pytest.mark.parametrize("mode", images())
def test_pillow_images(mode: str) -> None:
    """A Pillow image of any mode is what the PNG is that Pillow saves."""
    image = images()[mode]
    file = BytesIO()
    image.save(file, "PNG")
    np.testing.assert_array_equal(decode_image(image), decode_image(file.getvalue()))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "PA", "RGBa", "La", "LAB"])
def test_pillow_modes_that_no_png_has(mode: str) -> None:
    """Other modes become RGB or RGBA, as Pillow converts them."""
    rgba = PIL.fromarray(RGBA)
    if mode == "LAB":
        values = np.full((5, 6, 3), (255, 0, 0), np.uint8)  # white
        assert decode_image(PIL.frombytes("LAB", (6, 5), values.tobytes())).min() >= 254
        return
    source = {"PA": "P", "La": "LA"}.get(mode, "RGBA" if mode == "RGBa" else "RGB")
    image = rgba.convert(source).convert(mode)
    through = image.convert("LA") if mode == "La" else image
    target = "RGBA" if mode in ("PA", "RGBa", "La") else "RGB"
    np.testing.assert_array_equal(decode_image(image), np.asarray(through.convert(target)))


def test_pillow_images_that_are_refused() -> None:
    """Floating point and too many pixels are refused, with what to do."""
    with pytest.raises(ImageDecodeError, match=r"mode F: scale its pixels to 0\.\.255"):
        decode_image(PIL.new("F", (3, 4)))
    deep = RNG.integers(0, 65536, (3, 4))  # which newer versions of Pillow don't save
    found = decode_image(PIL.fromarray(deep.astype(np.int32)))
    np.testing.assert_array_equal(found[..., 0], deep >> 8)
    with pytest.raises(ImageDecodeError, match="more than max_pixels=11"):
        decode_image(PIL.new("L", (3, 4)), max_pixels=11)
    cut = BytesIO(encoded(".png")[:-500])
    with pytest.raises(ImageDecodeError, match="Pillow image of mode RGB"):
        decode_image(PIL.open(cut))


def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little memory is an error of the picture, in decoding and in a recipe."""

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    picture = decode_image(encoded(".png"))
    monkeypatch.setattr(cv2, "cvtColor", fail)
    with pytest.raises(ImageDecodeError, match="not enough memory"):
        decode_image(encoded(".png"))
    with pytest.raises(RecipeError, match=r"step 'grey': not enough memory .*\(20, 31, 3\)"):
        Recipe((Grey(),)).apply(picture)
