"""The fonts that generators draw with: those that come with matplotlib."""

from pathlib import Path

import matplotlib as mpl
from PIL import ImageFont


def load_font(face: str, size: int) -> ImageFont.FreeTypeFont:
    """Loads a font.

    Args:
        face: The file's stem, such as `DejaVuSans-Bold`.
        size: The size in pixels.

    Raises:
        OSError: If matplotlib has no such font.
    """
    return ImageFont.truetype(str(Path(mpl.get_data_path(), "fonts", "ttf", f"{face}.ttf")), size)
