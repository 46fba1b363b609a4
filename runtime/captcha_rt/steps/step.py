"""What every step has in common."""

from dataclasses import Field, fields
from typing import Any, ClassVar, Final, Protocol, TypeAlias

from numpy.typing import NDArray

Picture: TypeAlias = NDArray[Any]
"""A picture `(H, W, C)`, or glyphs `(N, H, W, C)`; uint8 in 0..255, or float32 in 0..1."""

PART_OF_NAME: Final = {"setting": False}
"""The metadata of a field whose value is the step's name, so that JSON doesn't hold it twice."""


class Step(Protocol):
    """One step of a recipe: a frozen dataclass of plain settings, called with a picture.

    The constructor raises ValueError if a setting is out of range. A step may also have a method
    `show(picture)` that draws what the step found, `(H, W, 3)` uint8 RGB, for `captcha-rt explain`.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str:
        """The step's name in JSON, its key in `STEPS`."""

    def __call__(self, picture: Picture) -> Picture:
        """Changes a picture.

        Args:
            picture: `(H, W, C)`, or glyphs `(N, H, W, C)`. The step must not change the array in
                place.

        Returns:
            The new picture, which may be a view of the old one.

        Raises:
            RecipeError: If the step can't use this picture.
            ValueError: If the picture has a wrong shape or dtype.
        """


def settings(step: Step) -> dict[str, Any]:
    """Returns the settings of a step, as JSON values by name."""
    return {f.name: getattr(step, f.name) for f in fields(step) if f.metadata.get("setting", True)}


def check(name: str, value: int, low: int, high: int) -> None:
    """Checks a step's setting.

    Args:
        name: The setting's name, for the message.
        value: The setting.
        low: The lowest allowed value.
        high: The highest allowed value.

    Raises:
        ValueError: If the value is not a whole number in `low..high`.
    """
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} is a whole number in {low}..{high}, not {value!r}")
