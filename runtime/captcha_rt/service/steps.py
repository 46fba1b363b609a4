"""What a model makes of a picture, step by step, for the page."""

import base64
from typing import Any, Final

import cv2
import numpy as np

from captcha_rt.diagnostics.explain import choose_reading, to_rgb, trace
from captcha_rt.errors import CaptchaRTError
from captcha_rt.service.solve import public
from captcha_rt.solution import answer_to_json, reject_unsure
from captcha_rt.solver import Solver
from captcha_rt.steps import Picture

_LONGEST: Final = 1000  # pixels: larger pictures are thinned, as in `captcha-rt explain`


def show_steps(solver: Solver, image: bytes) -> dict[str, Any]:
    """Reads a picture and draws each step of the recipe of the model that answers.

    Args:
        solver: The model.
        image: The picture's file.

    Returns:
        An answer as `answer_to_json` makes it, or its error, with `"read"`, the text also where it
        is rejected, and `"steps"`: for each a name, the size of what it made, and a PNG as a data
        URL. After an error of a step there are the steps before it.
    """
    found: dict[str, Any] = {"steps": [], "read": ""}
    try:
        opened = solver.open(image)
        picture = opened.pixels
        found["steps"].append(_step(f"picture {_size(picture)}", picture))
        reader, seen, answer = choose_reading(solver, opened)
        if seen is not picture:
            found["steps"].append(_step(f"cut out anew {_size(seen)}", seen))
        for title, shown, turned in trace(reader.manifest, seen):
            found["steps"].append(_step(title, shown.transpose(1, 0, 2) if turned else shown))
        answer = answer or solver.solve(picture)  # which raises what is wrong
        found["read"] = answer.text
        found["confidence"] = answer.confidence
        found["characters"] = answer_to_json(answer)["characters"]
        return found | answer_to_json(reject_unsure(answer, None))
    except CaptchaRTError as error:
        return found | answer_to_json(public(error))


def _size(picture: Picture) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"


def _step(title: str, picture: Picture) -> dict[str, str]:
    if picture.ndim == 4:  # glyphs side by side
        picture = np.concatenate([*picture], axis=1)
    thinned = -(-max(picture.shape[:2]) // _LONGEST)
    rgb = to_rgb(picture[::thinned, ::thinned])
    _, png = cv2.imencode(".png", rgb[:, :, ::-1])
    url = "data:image/png;base64," + base64.b64encode(png.tobytes()).decode()
    return {"name": title, "picture": url}
