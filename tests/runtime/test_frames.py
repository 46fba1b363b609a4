"""Animations: how many frames there are, how they are composed, and what a recipe makes of them."""

import io
import json
import struct
import subprocess
import sys
import zlib
from base64 import b64encode
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from captcha_rt import Recipe, RecipeError, Solver
from captcha_rt.errors import CaptchaRTError, ImageDecodeError
from captcha_rt.image import decode_image, open_image
from captcha_rt.image.png import SIGNATURE, chunk
from captcha_rt.image.webp import riff
from captcha_rt.solution import answer_to_json
from captcha_rt.steps import Frames

SAMPLE = Path(__file__).parents[1] / "samples" / "dnwnb.png"
PIL = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
needs_gif = pytest.mark.skipif(not cv2.haveImageWriter(".gif"), reason="OpenCV without GIF")


def halves() -> list[NDArray[np.uint8]]:
    """A sample in two frames, RGB: each shows half of the text, the rest is white."""
    whole = np.repeat(decode_image(SAMPLE), 3, axis=2)
    frames = [whole.copy(), whole.copy()]
    frames[0][:, 88:] = 255
    frames[1][:, :88] = 255
    return frames


def animated(suffix: str, tmp_path: Path) -> Path:
    """The halves as an animation that Pillow writes."""
    first, second = map(PIL.fromarray, halves())
    path = tmp_path / f"halves{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {}
    first.save(path, save_all=True, append_images=[second], duration=50, **options)
    return path


SUFFIXES = [pytest.param(".gif", marks=needs_gif), ".webp", ".png"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_blends_and_picks(suffix: str, tmp_path: Path) -> None:
    """Each frame and each blend is what it is of the frames that Pillow wrote."""
    path, (first, second) = animated(suffix, tmp_path), halves()
    expected = {
        0: first,
        1: second,
        "last": second,
        "darkest": np.minimum(first, second),
        "lightest": np.maximum(first, second),
        "mean": np.rint(np.mean([first, second], axis=0)),
    }
    assert open_image(path).frames == 2
    for pick, picture in expected.items():
        found = decode_image(path, merge=Frames(pick))
        assert found.dtype == np.uint8
        assert np.abs(found.astype(int) - picture).max() <= (8 if suffix == ".gif" else 1)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_answers_say_how_many_frames_there_are(suffix: str, tmp_path: Path) -> None:
    """An answer from one frame of several says so, alone and in a batch; others don't."""
    path, solver = animated(suffix, tmp_path), Solver()
    answer = solver.solve(path)
    assert answer.frames == 2
    assert answer_to_json(answer)["frames"] == 2
    still, again = solver.solve_batch([SAMPLE, path])
    assert not isinstance(still, CaptchaRTError)
    assert not isinstance(again, CaptchaRTError)
    assert (still.frames, again.frames) == (1, 2)
    assert "frames" not in answer_to_json(still)
    assert solver.solve(PIL.open(path)).frames == 2


def apng(frames: list[tuple[NDArray[np.uint8], int, int, int, int]]) -> bytes:
    """An animated PNG of RGBA frames: pixels, left, top, dispose, blend."""
    height, width = frames[0][0].shape[:2]
    parts = [
        SIGNATURE,
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)),
        chunk(b"acTL", struct.pack(">II", len(frames), 0)),
    ]
    number = 0
    for index, (pixels, left, top, dispose, blend) in enumerate(frames):
        rows, columns = pixels.shape[:2]
        control = struct.pack(">IIIIIHHBB", number, columns, rows, left, top, 1, 10, dispose, blend)
        data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
        number += 1
        parts.append(chunk(b"fcTL", control))
        if index:
            parts.append(chunk(b"fdAT", struct.pack(">I", number) + data))
            number += 1
        else:
            parts.append(chunk(b"IDAT", data))
    return b"".join([*parts, chunk(b"IEND")])


def solid(height: int, width: int, *rgba: int) -> NDArray[np.uint8]:
    """A picture in one colour."""
    return np.full((height, width, 4), rgba, np.uint8)


@pytest.mark.parametrize(
    ("dispose", "blend", "inside", "outside"),
    [
        (0, 1, [0, 0, 255, 255], [255, 0, 0, 255]),  # left there, seen through the last frame
        (1, 1, [0, 0, 0, 0], [255, 0, 0, 255]),  # made transparent
        (2, 1, [255, 0, 0, 255], [255, 0, 0, 255]),  # as it was before
        (0, 0, [0, 0, 0, 0], [255, 0, 0, 255]),  # the last frame replaces it
    ],
)
def test_disposal_and_blending(
    dispose: int, blend: int, inside: list[int], outside: list[int]
) -> None:
    """A frame of a part leaves, clears or restores its area, and lies over it or replaces it."""
    data = apng(
        [
            (solid(6, 8, 255, 0, 0, 255), 0, 0, 0, 0),
            (solid(2, 3, 0, 0, 255, 255), 4, 1, dispose, 1),
            (solid(2, 3, 0, 0, 0, 0), 4, 1, 0, blend),
        ]
    )
    last = decode_image(data, merge=Frames("last"))
    found = last if last.shape[2] == 4 else np.dstack([last, np.full(last.shape[:2], 255)])
    assert found[1, 4].tolist() == inside
    assert found[5, 0].tolist() == outside
    assert open_image(data).frames == 3


def test_frames_are_bounded() -> None:
    """All frames together have at most `max_pixels`; frames beyond the picture are damage."""
    frames = [(solid(6, 8, 1, 2, 3, 255), 0, 0, 0, 0)] * 5
    assert decode_image(apng(frames), max_pixels=5 * 48, merge=Frames()).shape == (6, 8, 3)
    with pytest.raises(ImageDecodeError, match="more than 4 frames of 8 x 6 pixels: together"):
        decode_image(apng(frames), max_pixels=4 * 48, merge=Frames())
    outside = [frames[0], (solid(2, 3, 0, 0, 0, 255), 6, 0, 0, 0)]
    with pytest.raises(ImageDecodeError, match="its frame 1 isn't within the picture"):
        decode_image(apng(outside), merge=Frames())


@needs_gif
def test_there_are_at_most_a_thousand_frames() -> None:
    """Tiny frames cost more than their pixels; 1,000 are read, more are refused."""
    frames = [PIL.new("L", (4, 4), n % 2 * 255) for n in range(1001)]
    for count in (1000, 1001):
        out = io.BytesIO()
        frames[0].save(out, "GIF", save_all=True, append_images=frames[1:count])
        if count == 1000:
            assert decode_image(out.getvalue(), merge=Frames()).shape == (4, 4, 3)
        else:
            with pytest.raises(ImageDecodeError, match="more than 1000 frames"):
                decode_image(out.getvalue(), merge=Frames())


def test_damaged_frame_of_a_webp() -> None:
    """An animated WebP with a frame that is no picture is refused by a recipe that needs it."""
    sides = (7).to_bytes(3, "little") + (5).to_bytes(3, "little")
    still = cv2.imencode(".webp", solid(6, 8, 9, 9, 9, 255)[..., :3], [64, 101])[1].tobytes()
    good = bytes(6) + sides + bytes(4) + still[12:]
    bad = bytes(6) + sides + bytes(4) + b"VP8L\x04\0\0\0abcd"
    head = [(b"VP8X", b"\x02\0\0\0" + sides), (b"ANIM", bytes(6))]
    data = riff([*head, (b"ANMF", good), (b"ANMF", bad)])
    with pytest.raises(CaptchaRTError):
        decode_image(data, merge=Frames())


def test_the_step() -> None:
    """The step comes first or not at all, refuses what it can't pick, and keeps still pictures."""
    recipe = Recipe.from_json([{"step": "frames", "pick": "darkest"}, {"step": "scale"}])
    assert recipe.merge == Frames("darkest")
    assert recipe.to_json()[0] == {"step": "frames", "pick": "darkest"}
    assert Recipe.from_json([{"step": "scale"}]).merge is None
    with pytest.raises(RecipeError, match="first step"):
        Recipe.from_json([{"step": "scale"}, {"step": "frames"}])
    for pick in ("first", -1, 2.5, True, None):
        with pytest.raises(RecipeError, match="frames"):
            Recipe.from_json([{"step": "frames", "pick": pick}])
    picture = np.zeros((3, 4, 1), np.uint8)
    assert Frames(7)(picture) is picture
    with pytest.raises(RecipeError, match="has 2 frames; this model reads frame 7"):
        Frames(7)(np.zeros((2, 3, 4, 1), np.uint8))


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs the command line."""
    command = [sys.executable, "-m", "captcha_rt", "solve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line(tmp_path: Path) -> None:
    """`solve` says on stderr that it read one frame of several, and in the JSON how many."""
    path = animated(".png", tmp_path)
    done = run(str(path), str(SAMPLE), "--jsonl", "--min-confidence", "0")
    assert done.stderr == f"captcha-rt: {path}: read the first of 2 frames\n"
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["frames"] == 2
    assert "frames" not in second


def test_the_command_line_takes_text() -> None:
    """`solve` reads base64, and doesn't repeat a long text that is no picture."""
    text = b64encode(SAMPLE.read_bytes()).decode()
    assert run(text).stdout == "dnwnb\n"
    done = run("x" * 8000)
    assert done.returncode == 1
    assert len(done.stderr) < 400
    assert done.stderr.count("\n") == 1
