"""The recipes that are tried where none is named: the few that fit the input's shape."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final

from captcha_rt_export.errors import ExportError

_GREY: Final = ("grey:over_white", "grey", "channel:3")
_COLOUR: Final = ("rgb", "bgr", "grey:over_white,rgb")
_NUMBERS: Final = ("", "stretch:-1:1", "stretch:0:255", "stretch:1:0", "stretch:1:-1")
"""What comes after `scale`: 0..1, -1..1, 0..255, and inverted 0..1 and -1..1."""

_IMAGENET: Final = "normalize:mean=0.485/0.456/0.406:std=0.229/0.224/0.225"
_CLEANED: Final = ("remove_artifacts,clip", "remove_artifacts:erased=195:filled=90,clip", "clip")


def candidates(shape: Sequence[int | None], glyphs: int | None = None) -> list[str]:
    """Lists recipes for an input, the likelier ones first.

    Args:
        shape: The input's axes after the batch.
        glyphs: The number of characters of a picture that is to be cut into glyphs; None where the
            network sees the whole picture.

    Returns:
        The recipes in the short language.

    Raises:
        ExportError: If the shape is none of a picture, so that the recipe has to be named.
    """
    known = [size for size in shape if size is not None]
    if len(known) < len(shape) or len(shape) != 3:
        raise ExportError(
            f"the network takes {tuple(shape)}, which doesn't say what a picture has to become: "
            "name the steps, such as --recipe grey,scale,resize:50x200"
        )
    first = known[2] not in (1, 3) and known[0] in (1, 3)  # the channels stand first
    channels = known[0] if first else known[2]
    if channels not in (1, 3):
        raise ExportError(
            f"the network takes {tuple(shape)}, pictures of {channels} channels: name the steps "
            "that make them by --recipe"
        )
    height, width = known[1:] if first else known[:2]
    end = ["channels_first"] if first else []
    numbers = (*_NUMBERS, _IMAGENET) if channels == 3 else _NUMBERS
    if glyphs is not None:
        cut = f"glyphs:count={glyphs}:height={height}:width={width}"
        made = product(["grey"], _CLEANED, [cut], ["scale"], numbers)
        return [_joined([*parts, *end]) for parts in made]
    colours = _GREY if channels == 1 else _COLOUR
    return [
        _joined([*parts, *end])
        for numbers_, layout, colour in product(numbers, _layouts(height, width), colours)
        for parts in [_placed(colour, numbers_, layout)]
    ]


def _layouts(height: int, width: int) -> Iterator[tuple[str, str]]:
    """How a picture gets its size, and whether it is turned; upright captchas are wide."""
    upright = [(f"resize:{height}x{width}", ""), (f"fit:{height}x{width}", "")]
    turned = [
        (f"resize:{width}x{height}", "transpose"),
        (f"fit:{width}x{height}", "transpose"),
    ]
    yield from upright if width >= height else turned
    yield from turned if width >= height else upright


def _placed(colour: str, numbers: str, layout: tuple[str, str]) -> list[str]:
    size, turned = layout
    if size.startswith("fit"):  # on bytes
        return [colour, size, "scale", numbers, turned]
    return [colour, "scale", size, numbers, turned]


def _joined(parts: Sequence[str]) -> str:
    return ",".join(filter(None, parts))
