"""`captcha-rt export --to ddddocr`: the folder that ddddocr loads, and what it reads with it."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from PIL import Image

from captcha_rt import Charset, Recipe, Solver, decode_image, load_model
from captcha_rt.manifest import Manifest, Tensor
from captcha_rt.model import EMBEDDED, GENERAL, attach, detach
from captcha_rt.steps import (
    Channel,
    Crop,
    Denoise,
    Fit,
    Frames,
    Grey,
    Resize,
    Rgb,
    Scale,
    Transpose,
)
from captcha_rt_export.errors import ExportError
from captcha_rt_export.to import ddddocr as form
from captcha_rt_export.to.ddddocr_graph import Frame, build
from captcha_rt_export.to.source import Source

MAKE = runpy.run_path(str(Path(__file__).parent.parent / "models" / "make_models.py"))


def load(folder: Path):
    """Ddddocr with the model of a folder."""
    ddddocr = pytest.importorskip("ddddocr", reason="ddddocr is in the group dev, on Linux")
    files = {"import_onnx_path": folder / "model.onnx", "charsets_path": folder / "charset.json"}
    return ddddocr.DdddOcr(show_ad=False, **{name: str(file) for name, file in files.items()})


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred drawn pictures of captcha_v2's kind, on transparent paper."""
    kaptcha = pytest.importorskip("captcha_rt_train.generators.kaptcha")
    folder = tmp_path_factory.mktemp("drawn")
    kaptcha.write_samples(folder, 200, seed=3)
    for path in folder.iterdir():
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        clear = np.dstack(
            [*[np.zeros_like(grey)] * 3, 255 - grey]
        )  # black ink, paper without alpha
        cv2.imwrite(str(path), clear)
    return folder


@pytest.mark.parametrize(("source", "model"), [("default", EMBEDDED), ("general", GENERAL)])
def test_ddddocr_reads_the_same_texts(
    source: str, model: Path, drawn: Path, tmp_path: Path
) -> None:
    """With the exported embedded models ddddocr reads 98 % of 200 pictures as captcha-rt does."""
    out = tmp_path / "out"
    taken = form.write(Source(Path(source), pictures=drawn), out)
    assert taken.same >= 0.98 * taken.pictures == 196
    assert "png_fix=True" in taken.usage
    reader, solver = load(out), Solver(model)
    files = sorted(drawn.iterdir())
    texts = [reader.classification(file.read_bytes(), png_fix=True) for file in files]
    wanted = [answer.text for answer in solver.solve_batch(files)]
    same = sum(a == b for a, b in zip(texts, wanted, strict=True))
    assert same == taken.same
    assert len(set(wanted)) > 150


@pytest.mark.parametrize("kind", ["court", "metu"])
def test_on_real_pictures_too(captcha_data: Path, kind: str, tmp_path: Path) -> None:
    """Of each real kind, ddddocr reads 98 % of 200 pictures as captcha-rt does."""
    files = sorted(f for f in (captcha_data / kind).rglob("*") if f.suffix in (".png", ".jpg"))
    files = files[:: len(files) // 200][:200]
    folder = tmp_path / "pictures"
    folder.mkdir()
    for file in files:
        (folder / file.name).symlink_to(file)
    form.write(Source(Path("default"), pictures=folder), tmp_path / "out")
    reader, solver = load(tmp_path / "out"), Solver(EMBEDDED)
    texts = [reader.classification(file.read_bytes(), png_fix=True) for file in files]
    wanted = [answer.text for answer in solver.solve_batch(files)]
    assert sum(a == b for a, b in zip(texts, wanted, strict=True)) >= 196


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA"])
def test_pictures_are_prepared_as_ddddocr_does(mode: str, drawn: Path, tmp_path: Path) -> None:
    """The check gives ddddocr's own texts for pictures of every mode and of other sizes."""
    out = tmp_path / "out"
    form.write(Source(Path("default"), pictures=drawn), out)
    reader = load(out)
    manifest = load_model(EMBEDDED).manifest
    files = []
    for number, file in enumerate(sorted(drawn.iterdir())[:12]):
        white = Image.new("RGB", (200, 50), "white")
        picture = Image.open(file)
        white.paste(picture, mask=picture)
        files.append(tmp_path / f"{number}.png")
        white.convert(mode).resize((200 + 9 * number, 50 + number)).save(files[-1])
    network = (out / "model.onnx").read_bytes()
    texts = form._read_as_ddddocr(network, manifest, Frame(200, 50), files)
    assert texts == [reader.classification(file.read_bytes(), png_fix=True) for file in files]
    assert len(set(texts)) > 3


def by_position(blank: int | None) -> bytes:
    """The model of `stripes`, but it reads a character, or with a blank none, of each column."""
    letters = "abcd" if blank is None else "abc"
    levels = np.asarray(MAKE["LEVELS"], np.float32)
    slope, bias = 120 * levels[None], -60 * levels**2
    nodes = [
        helper.make_node("ReduceMean", ["image", "height"], ["columns"], keepdims=0),
        helper.make_node("MatMul", ["columns", "slope"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Softmax", ["sum"], ["scores"], axis=-1),
    ]
    order = [0, 1, 2, 3] if blank != 3 else [1, 2, 3, 0]
    constants = {"height": np.asarray([2]), "slope": slope[:, order], "bias": bias[order]}
    manifest = Manifest(
        name="positions",
        charset=Charset(letters, blank=blank),
        recipe=Recipe((Grey(), Scale(), Resize(4, 16), Transpose())),
        decoder="position",
        scores="probabilities",
        input=Tensor("image", (None, 16, 4, 1)),
        output=Tensor("scores", (None, 16, 4)),
    )
    return MAKE["build"](nodes, constants, manifest)


@pytest.mark.parametrize("blank", [None, 0, 3])
def test_doubled_characters_stay(blank: int | None, stripes_png, tmp_path: Path) -> None:
    """ddddocr, which merges repeats, reads doubled characters of a model that reads by position."""
    model = tmp_path / "positions.onnx"
    model.write_bytes(by_position(blank))
    for columns in ("aabbccaabbccabca", "--aabbcc--abcabc", "cccccccccccccccc"):
        (tmp_path / f"{columns}.png").write_bytes(stripes_png(columns))
    taken = form.write(Source(model, pictures=tmp_path), tmp_path / "out")
    assert (taken.same, taken.pictures) == (3, 3)
    assert len(Solver(model).solve(tmp_path / "cccccccccccccccc.png").text) == 16
    reader = load(tmp_path / "out")
    for file in tmp_path.glob("*.png"):
        assert reader.classification(file.read_bytes()) == Solver(model).solve(file).text


@pytest.mark.parametrize("blank", [0, 2, 3])
def test_the_blank_comes_first(blank: int, stripes: Path, stripes_png, tmp_path: Path) -> None:
    """Wherever a CTC model has its blank, the new graph has it as class 0, which ddddocr drops."""
    loaded = load_model(stripes)
    proto = onnx.load_from_string(loaded.data[: loaded.manifest.graph.size])
    order = [1, 2, 3]
    order.insert(blank, 0)  # where the classes of `stripes` go
    for constant in proto.graph.initializer:
        if constant.name in ("slope", "bias"):
            values = onnx.numpy_helper.to_array(constant)[..., order]
            constant.CopyFrom(onnx.numpy_helper.from_array(values, constant.name))
    model = tmp_path / "model.onnx"
    manifest = replace(loaded.manifest, charset=Charset("abc", blank=blank), graph=None)
    model.write_bytes(attach(proto.SerializeToString(), manifest))
    for text in ("abc", "cab", "bb"):
        (tmp_path / f"{text}.png").write_bytes(stripes_png("-".join(text).ljust(16, "-")))
        assert Solver(model).solve(tmp_path / f"{text}.png").text == text
    taken = form.write(Source(model, pictures=tmp_path), tmp_path / "out")
    assert (taken.same, taken.pictures) == (3, 3)
    charset = json.loads((tmp_path / "out" / "charset.json").read_text("utf-8"))
    assert charset == {"charset": ["", *"abc"], "word": False, "image": [16, 4], "channel": 1}


RECIPES = [
    (Grey(), Scale(), Resize(31, 47)),
    (Frames(pick=0), Grey(), Resize(31, 47), Scale(), Transpose()),
    (Grey(), Scale(), Crop(3, 2, 40, 20), Resize(31, 47), Transpose()),
    (Rgb(), Fit(48, 90), Scale()),
    (Rgb(), Fit(10, 20), Scale()),
    (Grey(), Fit(33, 60), Scale()),
    (Channel(), Scale()),
]


@pytest.mark.parametrize("steps", RECIPES, ids=lambda steps: "-".join(s.name for s in steps))
@pytest.mark.parametrize("shape", [(25, 50), (42, 61), (96, 180)])
def test_the_nodes_do_what_the_recipe_does(steps: tuple, shape: tuple[int, int]) -> None:
    """The nodes before a graph make of ddddocr's picture the recipe's tensor, bytes to the bit."""
    recipe = Recipe(steps)
    rng = np.random.default_rng(0)
    names = {step.name for step in steps}
    channels = 4 if "channel" in names else 1 if "grey" in names else 3
    picture = rng.integers(0, 256, (*shape, channels), np.uint8)
    wanted = recipe.apply(picture)
    height, width, depth = wanted.shape
    manifest = Manifest(
        name="copy",
        charset=Charset("".join(map(chr, range(1000, 1000 + width * depth - 1))), blank=0),
        recipe=recipe,
        decoder="ctc",
        scores="logits",
        input=Tensor("image", (None, *wanted.shape)),
        output=Tensor("copy", (None, height, width * depth)),
    )
    nodes = [helper.make_node("Reshape", ["image", "shape"], ["copy"])]
    made = MAKE["build"](nodes, {"shape": np.asarray([0, height, width * depth])}, manifest)
    size = detach(made).graph.size
    network = build(made[:size], manifest, Frame(shape[1], shape[0])).SerializeToString()
    session = onnxruntime.InferenceSession(network)
    tensor = (picture.astype(np.float32) / np.float32(255)).transpose(2, 0, 1)[None]
    [found] = session.run(None, {session.get_inputs()[0].name: tensor})
    assert np.abs(found.reshape(wanted.shape) - wanted).max() < 1e-6


def test_a_grey_picture_gets_three_channels(drawn: Path) -> None:
    """A model for colours reads grey pictures, of which ddddocr passes on one channel."""
    loaded = load_model(GENERAL)
    network = build(loaded.data[: loaded.manifest.graph.size], loaded.manifest, Frame(200, 50))
    session = onnxruntime.InferenceSession(network.SerializeToString())
    file = sorted(drawn.iterdir())[0]
    grey = decode_image(file)[:, :, 3:]
    pixels = (255 - grey).astype(np.float32).transpose(2, 0, 1)[None] / 255
    name = session.get_inputs()[0].name
    one = session.run(None, {name: pixels})[0]
    three = session.run(None, {name: np.repeat(pixels, 3, axis=1)})[0]
    assert np.array_equal(one, three)


def test_what_neither_can_do_is_refused(stripes: Path, bars: Path) -> None:
    """A step without an equal in ddddocr or ONNX is named, and so is a model that reads glyphs."""
    loaded = load_model(stripes)
    denoising = replace(loaded.manifest.recipe, steps=(Denoise(), *loaded.manifest.recipe.steps))
    manifest = replace(loaded.manifest, recipe=denoising)
    with pytest.raises(ExportError, match="the step 'denoise', which neither ddddocr"):
        build(loaded.data, manifest, Frame(16, 4))
    with pytest.raises(ExportError, match="one glyph at a time"):
        build(load_model(bars).data, load_model(bars).manifest, Frame(150, 50))


def test_other_texts_are_refused(
    stripes: Path, stripes_png, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If ddddocr would read other texts, the message shows one, and there is no folder."""
    (tmp_path / "a.png").write_bytes(stripes_png("abc-------------"))
    characters = ["", *"cba"]
    monkeypatch.setattr(form, "characters_of", lambda _: characters)
    with pytest.raises(ExportError, match=r"only 0 of 1 .*it reads 'cba', captcha-rt 'abc'"):
        form.write(Source(stripes, pictures=tmp_path), tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"a.png"}


def test_the_command_says_what_to_type(call, stripes: Path, stripes_png, tmp_path: Path) -> None:
    """The command prints its check and the call of ddddocr; mistakes are one line each."""
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    for text in ("abc", "ca", "b"):
        (pictures / f"{text}.png").write_bytes(stripes_png(text.ljust(16, "-")))
    options = ("--to", "ddddocr", "-o", out)
    done = call("export", stripes, *options, "--pictures", pictures)
    assert done.returncode == 0, done.stderr
    assert "reads 3 of 3 pictures as captcha-rt does" in done.stdout
    assert f'ddddocr.DdddOcr(show_ad=False, import_onnx_path="{out}/model.onnx"' in done.stdout
    for source, added, code, message in (
        (stripes, ("--pictures", pictures), 2, "is there already"),
        (stripes, (), 3, "--pictures FOLDER"),
        (stripes, ("--pictures", pictures, "--int8"), 3, "--int8 and --min-confidence need a run"),
        (tmp_path / "none.onnx", (), 3, "the embedded models are named default and general"),
        (pictures, (), 3, "holds no finished run"),
    ):
        failed = call("export", source, *options, *added)
        assert failed.returncode == code
        assert message in failed.stderr
        assert failed.stderr.count("\n") == 1
    assert sorted(path.name for path in out.iterdir()) == ["charset.json", "model.onnx"]
