"""Draws what the general reader learns from: `python -m benchmarks mixture`.

The command writes `benchmarks/results/mixture.png`, a row for each style of
`captcha_rt_train.generators.mixture.styles`. The faces are those of the file that `CAPTCHA_FACES`
names, or else matplotlib's few.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import RESULTS, command_parser
from captcha_rt.files import write_atomically

WIDTH, HEIGHT, GAP = 1400, 56, 6
"""The sheet's width, and the height of its rows with the gap between pictures, in pixels."""

_NAMES: Final = 90  # pixels of the column with the styles' names


def draw_sheet() -> NDArray[np.uint8]:
    """Draws the sheet, `(H, W, 3)` uint8, RGB; pictures are scaled to one height."""
    from captcha_rt_train.generators.mixture import chosen_faces, draw
    from captcha_rt_train.generators.mixture.styles import STYLES

    faces = chosen_faces()
    rows = []
    for number, (name, (_, style)) in enumerate(STYLES.items()):
        row = np.full((HEIGHT + GAP, WIDTH, 3), 128, np.uint8)
        cv2.putText(row, name, (4, HEIGHT // 2 + 5), 0, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        left, seed = _NAMES, 0
        while True:
            picture = draw(np.random.default_rng([number, seed]), faces, style).picture
            width = round(picture.shape[1] * HEIGHT / picture.shape[0])
            if left + width > WIDTH:
                break
            row[GAP:, left : left + width] = cv2.resize(picture, (width, HEIGHT))
            left, seed = left + width + GAP, seed + 1
        rows.append(row)
    return np.concatenate(rows)


def main(argv: Sequence[str], results: Path = RESULTS) -> None:
    """Writes the sheet."""
    command_parser("mixture", __doc__).parse_args(argv)
    png = cv2.imencode(".png", draw_sheet()[:, :, ::-1])[1]
    with write_atomically(results / "mixture.png") as path:
        path.write_bytes(png.tobytes())
