"""The form of ddddocr 1.6: a folder with a network, `model.onnx`, and a charset, `charset.json`.

ddddocr itself isn't needed for that. What it does with a picture is a few lines of Pillow, which
are repeated here, so that an export can be checked; a test compares them with ddddocr.
"""

import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from captcha_rt.decoders import ctc_greedy_decode
from captcha_rt.device import CPU
from captcha_rt.files import write_folder_atomically
from captcha_rt.manifest import Manifest
from captcha_rt.model import Model
from captcha_rt.session import import_onnxruntime
from captcha_rt_export.spread import spread
from captcha_rt_export.to.ddddocr_graph import (
    Frame,
    build,
    channels_of,
    characters_of,
    is_over_white,
)
from captcha_rt_export.to.source import MAX_CHECKED, Source, Taken, compare, read_texts

LEAST_SAME: Final = 0.98
"""The smallest part of the pictures that ddddocr has to read as captcha-rt does."""

_SIZES: Final = 3  # so many sizes of pictures are tried, the commonest


def write(source: Source, out: Path) -> Taken:
    """Writes the folder that ddddocr loads.

    ddddocr resizes by Lanczos, which changes what a network sees. So the network takes pictures of
    the size that most of them have, which ddddocr leaves as they are, and resizes by itself. Of
    several sizes, the one with which ddddocr reads most as captcha-rt does is taken.

    Args:
        source: The model.
        out: The folder to make.

    Returns:
        What was made and checked.

    Raises:
        ExportError: If ddddocr can't do what the model needs, or reads too many other texts.
        ModelError: If the model can't be loaded.
        ImageDecodeError: If a picture can't be decoded.
        RecipeError: If the recipe can't use a picture.
        OSError: If the folder is there already, or can't be written.
    """
    model = source.model()
    manifest = model.manifest
    samples = spread(source.samples(), MAX_CHECKED)
    wanted = read_texts(model, samples)
    frame, network, texts = _choose_frame(model, samples, wanted)
    who = "ddddocr" + _explain(samples, frame)
    same, only = compare(texts, wanted, samples, least=LEAST_SAME, who=who)
    charset = json.dumps(_charset(manifest, frame), ensure_ascii=False)
    with write_folder_atomically(out) as folder:
        (folder / "model.onnx").write_bytes(network)
        (folder / "charset.json").write_text(charset, "utf-8")
    over_white = ", png_fix=True" if is_over_white(manifest.recipe) else ""
    return Taken(
        name=source.name or manifest.name,
        size=len(network) + len(charset.encode()),
        pictures=len(samples),
        same=same,
        checked=f"ddddocr's way with pictures of {frame.width} x {frame.height} pixels",
        usage=(
            f'ddddocr.DdddOcr(show_ad=False, import_onnx_path="{out / "model.onnx"}", '
            f'charsets_path="{out / "charset.json"}").classification(data{over_white})'
        ),
        only_answer=only,
    )


def _choose_frame(
    model: Model, samples: list[Path], wanted: list[str]
) -> tuple[Frame, bytes, list[str]]:
    """Finds the size of pictures with which ddddocr reads most as captcha-rt does.

    Returns:
        The size, the network for it, and what ddddocr reads with it.

    Raises:
        ExportError: If ddddocr and a graph can't do what the model needs.
        RecipeError: If the recipe can't use pictures of one of the sizes.
    """
    manifest = model.manifest
    graph = model.data[: manifest.graph.size] if manifest.graph else model.data
    tried = []
    for frame in _frames(samples):
        network = build(graph, manifest, frame).SerializeToString()
        texts = _read_as_ddddocr(network, manifest, frame, samples)
        tried.append((frame, network, texts))
    return max(tried, key=lambda way: sum(map(str.__eq__, way[2], wanted)))


def _frames(samples: list[Path]) -> list[Frame]:
    """The commonest sizes of the pictures, the commonest first."""
    sizes: Counter[tuple[int, int]] = Counter()
    for path in samples:
        with Image.open(path) as picture:
            sizes[picture.size] += 1
    return [Frame(*size) for size, _ in sizes.most_common(_SIZES)]


def _explain(samples: list[Path], frame: Frame) -> str:
    """What ddddocr does to some of the pictures, where that may be why it reads them otherwise."""
    stretched = clear = 0
    for path in samples:
        with Image.open(path) as picture:
            stretched += picture.size != frame
            clear += picture.mode != "RGBA" and picture.has_transparency_data
    reasons = []
    if stretched:
        size = f"{frame.width} x {frame.height}"
        reasons.append(f"which stretches the {stretched} that are not of {size} pixels")
    if clear:
        reasons.append(f"which drops the transparency of the {clear} that are not RGBA")
    return f", {' and '.join(reasons)}," if reasons else ""


def _charset(manifest: Manifest, frame: Frame) -> dict[str, object]:
    """The charset's file."""
    return {
        "charset": characters_of(manifest),
        "word": False,
        "image": [frame.width, frame.height],
        "channel": channels_of(manifest.recipe),
    }


def _read_as_ddddocr(
    network: bytes, manifest: Manifest, frame: Frame, samples: list[Path]
) -> list[str]:
    """Reads pictures as ddddocr 1.6 does: `OCREngine.predict`, without what doesn't apply here."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(network, options, providers=[CPU])
    [image] = session.get_inputs()
    characters = characters_of(manifest)
    texts = []
    for path in samples:
        with Image.open(path) as opened:
            picture: Image.Image = opened.copy()
        if picture.mode == "RGBA" and is_over_white(manifest.recipe):  # the option `png_fix`
            white = Image.new("RGB", picture.size, (255, 255, 255))
            white.paste(picture, (0, 0), mask=picture)
            picture = white
        picture = picture.resize(frame, Image.Resampling.LANCZOS)
        if channels_of(manifest.recipe) == 1:
            with warnings.catch_warnings():  # of a palette's transparency, which ddddocr drops
                warnings.simplefilter("ignore", UserWarning)
                picture = picture.convert("L")
        pixels = np.asarray(picture).astype(np.float32) / np.float32(255)
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        [scores] = session.run(None, {image.name: pixels[None]})
        [decoded] = ctc_greedy_decode(scores, blank=0, kind="logits")
        texts.append("".join(characters[i] for i in decoded.ids))
    return texts
