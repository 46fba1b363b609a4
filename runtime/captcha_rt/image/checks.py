"""The check of each format, and what a file is that has none of them."""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image.checked import Checked
from captcha_rt.image.png import check_png

# A program mostly reads pictures of one format. The modules of the others would take a twentieth of
# the start of `captcha-rt solve`.


def _check_jpeg(data: bytes, max_pixels: int) -> Checked:
    from captcha_rt.image.scans import check_jpeg

    return check_jpeg(data, max_pixels)


def _check_bmp(data: bytes, max_pixels: int) -> Checked:
    from captcha_rt.image.bmp import check_bmp

    return check_bmp(data, max_pixels)


def _check_gif(data: bytes, max_pixels: int) -> Checked:
    from captcha_rt.image.gif import check_gif

    return check_gif(data, max_pixels)


def _check_webp(data: bytes, max_pixels: int) -> Checked:
    from captcha_rt.image.webp import check_webp

    return check_webp(data, max_pixels)


CHECKS: Final[Mapping[str, Callable[[bytes, int], Checked]]] = {
    "PNG": check_png,
    "JPEG": _check_jpeg,
    "BMP": _check_bmp,
    "GIF": _check_gif,
    "WebP": _check_webp,
}
"""The checks by format: from the file's bytes and the largest number of pixels."""

_LATER: Final = ("animation", "bmp", "gif", "scans", "vp8", "vp8l", "webp")


def _load_all() -> None:
    for name in _LATER:
        import_module(f"captcha_rt.image.{name}")


if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
    # A child that is forked while another thread loads a module waits for that module for ever.
    os.register_at_fork(before=_load_all)

_MAGIC: Final = {  # of other files
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"%!PS": "EPS",
    b"%PDF": "PDF",
    b"PK\3\4": "a zip archive",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy file",
} | {bytes((8, version, tag)): "an ONNX model" for version in range(3, 16) for tag in b"\x12:"}

_TEXTS: Final = {  # in lower case
    b"<svg": "SVG text",
    b"<!doctype html": "HTML text",
    b"<html": "HTML text",
    b"<?xml": "XML or SVG text",
    b"{": "JSON text",
    b"data:": "a data URL that holds no such picture",
    b"version https://git-lfs": "a Git LFS pointer: run git lfs pull",
}
_TEXT_BYTES: Final = bytes((9, 10, 12, 13, *range(32, 127), *range(128, 256)))


def is_text(data: bytes) -> bool:
    """Whether the first bytes are text in UTF-8 or a similar encoding."""
    return not data[:512].translate(None, _TEXT_BYTES)


def not_a_picture(data: bytes) -> ImageDecodeError:
    """The error for data of no known format: it says what was found."""
    found = next((name for magic, name in _MAGIC.items() if data.startswith(magic)), "")
    if data[4:8] == b"ftyp":
        found = "AVIF, HEIC or a video"
    elif not found and is_text(data):
        text = data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        found = next((name for start, name in _TEXTS.items() if text.startswith(start)), "text")
    found = found or f"unknown data that begins with {data[:8].hex(' ')}"
    return ImageDecodeError(f"not a PNG, JPEG, BMP, GIF or WebP picture: found {found}")
