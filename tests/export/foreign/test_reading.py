"""Models of other exporters: what is found out of how they are read, without TensorFlow."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from striped import Dress, build, save, write_stripes

from captcha_rt import Solver, load_model
from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.bring import bring
from captcha_rt_export.foreign.onnx import load_onnx
from captcha_rt_export.foreign.recipes import parse_recipe
from captcha_rt_export.foreign.samples import find_samples
from captcha_rt_export.foreign.surgery import free_batch
from captcha_rt_export.foreign.ways import Told

Call = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="session")
def stripes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled pictures of stripes."""
    return write_stripes(tmp_path_factory.mktemp("striped") / "pictures")


def read_all(model: Path, folder: Path) -> int:
    """The number of pictures that a model file reads right."""
    solver = Solver(model, device="cpu")
    return sum(solver.solve(path).text == path.stem for path in sorted(folder.iterdir()))


@pytest.mark.parametrize(
    ("dress", "recipe"),
    [
        (Dress(), "grey:over_white,scale,resize:8x32"),
        (Dress(order="zk3a7W", blank="first", end=""), "grey:over_white,scale,resize:8x32"),
        (Dress(channels_first=True), "grey:over_white,scale,resize:8x32,channels_first"),
        (Dress(transposed=True), "grey:over_white,scale,resize:8x32,transpose"),
        (Dress(low=-1), "grey:over_white,scale,resize:8x32,stretch"),
        (Dress(high=255), "grey:over_white,scale,resize:8x32,stretch:low=0:high=255"),
        (Dress(low=1, high=0), "grey:over_white,scale,resize:8x32,stretch:low=1:high=0"),
        (Dress(time_first=True, end="LogSoftmax"), "grey:over_white,scale,resize:8x32"),
        (Dress(batch=1, time_first=True, channels_first=True), None),
        (Dress(batch=4), None),
        (Dress(opset=11, batch=1, time_first=True), None),
        (Dress(end="Sigmoid"), None),
        (Dress(end="ArgMax"), None),
        (Dress(kind=TensorProto.FLOAT16), None),
        (Dress(kind=TensorProto.DOUBLE), None),
    ],
    ids=str,
)
def test_how_a_network_is_read_is_found_out(
    call: Call, tmp_path: Path, stripes_folder: Path, dress: Dress, recipe: str | None
) -> None:
    """Order of characters, blank, axes and numbers are found, and the file reads every picture."""
    model, out = save(tmp_path / "net.onnx", dress), tmp_path / "out.onnx"
    result = call("export", model, "-o", out, "--pictures", stripes_folder)
    assert result.returncode == 0, result.stderr
    assert "24 of 24 pictures are read right" in result.stdout
    assert "same texts" in result.stdout
    assert read_all(out, stripes_folder) == 24
    manifest = load_model(out).manifest
    assert manifest.charset.characters == dress.order
    assert manifest.charset.blank == (0 if dress.blank == "first" else 6)
    if recipe is not None:
        from captcha_rt_export.foreign.recipes import in_short

        assert in_short(manifest.recipe) == recipe


def test_opencvs_order_of_colours_is_found(call: Call, tmp_path: Path) -> None:
    """A network that reads the blue channel first gets BGR."""
    folder = write_stripes(tmp_path / "pictures", colour=True)
    model, out = save(tmp_path / "net.onnx", Dress(channels=3)), tmp_path / "out.onnx"
    result = call("export", model, "-o", out, "--pictures", folder)
    assert "recipe: bgr,scale,resize:8x32: 24 of 24" in result.stdout, result.stderr
    assert read_all(out, folder) == 24


def test_the_card_says_where_a_model_came_from(
    call: Call, tmp_path: Path, stripes_folder: Path
) -> None:
    """The card names file and exporter, what was found out and on which pictures, but no path."""
    model, out = save(tmp_path / "net.onnx"), tmp_path / "out.onnx"
    call("export", model, "-o", out, "--pictures", stripes_folder, "--licence", "MIT")
    card = call("info", out, "--card").stdout
    assert "| file | net.onnx |" in card
    assert "| exporter | pytorch |" in card
    assert "trained elsewhere" in card
    assert "on which pictures this network learned is not known" in card
    assert "| pictures | 24 | 1.0000 |" in card
    assert "- Licence: MIT" in card
    assert str(tmp_path) not in card


def test_pictures_without_labels_are_enough_where_all_is_told(
    call: Call, tmp_path: Path, stripes_folder: Path
) -> None:
    """Recipe and characters told, the blank is found by how often it occurs."""
    folder = tmp_path / "unlabelled"
    folder.mkdir()
    for number, path in enumerate(sorted(stripes_folder.iterdir())):
        (folder / f"{number}.png").write_bytes(path.read_bytes())
    model, out = save(tmp_path / "net.onnx"), tmp_path / "out.onnx"
    told = ["--recipe", "grey,scale", "--charset", "3W7akz", "--decoder", "ctc"]
    result = call("export", model, "-o", out, "--pictures", folder, *told)
    assert result.returncode == 0, result.stderr
    assert "pictures: without labels" in result.stdout
    assert "decoder: ctc, blank 6; 6" in result.stdout  # some 60 % of the time steps
    assert read_all(out, stripes_folder) == 24


def test_a_class_that_no_picture_shows_is_named(call: Call, tmp_path: Path) -> None:
    """A class without a character is said, and the option that names it."""
    folder = write_stripes(tmp_path / "pictures", count=60, length=5)
    for path in folder.iterdir():
        if "z" in path.stem:
            path.unlink()
    model, out = save(tmp_path / "net.onnx"), tmp_path / "out.onnx"
    result = call("export", model, "-o", out, "--pictures", folder)
    assert "3W7ak\ufffd;" in result.stdout, result.stderr
    assert "class 5: no character is known" in result.stdout
    assert "--charset" in result.stdout


def test_several_heads_become_positions(call: Call, tmp_path: Path) -> None:
    """Outputs `(N, C)`, one for each character, are stacked and read by position."""
    proto = build(Dress(end=""))
    graph = proto.graph
    del graph.node[-1]
    del graph.output[:]
    make = onnx.helper.make_node
    for place in range(4):
        column = onnx.numpy_helper.from_array(np.int64(3 + 5 * place), f"c{place}")
        graph.initializer.append(column)
        graph.node.append(make("Gather", ["logits", f"c{place}"], [f"at{place}"], axis=1))
        graph.node.append(make("Softmax", [f"at{place}"], [f"head{place}"], axis=1))
        graph.output.append(
            onnx.helper.make_tensor_value_info(f"head{place}", TensorProto.FLOAT, [None, None])
        )
    folder = write_stripes(tmp_path / "pictures", length=4)
    model, out = tmp_path / "net.onnx", tmp_path / "out.onnx"
    onnx.save(proto, model)
    result = call("export", model, "-o", out, "--pictures", folder)
    assert result.returncode == 0, result.stderr
    assert load_model(out).manifest.output.shape == (None, 4, 7)
    assert read_all(out, folder) == 24


@pytest.mark.parametrize("axes", [[8, 32], [256]], ids=str)
def test_an_input_without_channels_gets_them(
    call: Call, tmp_path: Path, stripes_folder: Path, axes: list[int]
) -> None:
    """`(N, H, W)` is a grey picture; of one row of numbers the recipe says the sides."""
    proto = build(Dress())
    shape = onnx.numpy_helper.from_array(np.asarray([-1, 8, 32, 1], np.int64), "picture_shape")
    proto.graph.initializer.append(shape)
    proto.graph.node[0].input[0] = "picture"
    node = onnx.helper.make_node("Reshape", ["image", "picture_shape"], ["picture"])
    proto.graph.node.insert(0, node)
    value = onnx.helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *axes])
    proto.graph.input[0].CopyFrom(value)
    model, out = tmp_path / "net.onnx", tmp_path / "out.onnx"
    onnx.save(proto, model)
    export = ["export", model, "-o", out, "--pictures", stripes_folder]
    result = call(*export)
    if len(axes) == 1:
        assert "name the recipe that makes as many numbers, such as --recipe" in result.stderr
        result = call(*export, "--recipe", "grey,scale,resize:8x32")
    assert result.returncode == 0, result.stderr
    assert read_all(out, stripes_folder) == 24


def test_flat_scores_of_all_characters_become_positions(call: Call, tmp_path: Path) -> None:
    """One output with the scores of all characters side by side is cut at the texts' length."""
    proto = build(Dress(end=""))
    graph = proto.graph
    del graph.node[-1]
    columns = np.asarray([3, 8, 13, 18], np.int64)
    graph.initializer.append(onnx.numpy_helper.from_array(columns, "places"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.asarray([0, -1], np.int64), "flat"))
    make = onnx.helper.make_node
    graph.node.append(make("Gather", ["logits", "places"], ["four"], axis=1))
    graph.node.append(make("Reshape", ["four", "flat"], ["flattened"]))
    graph.node.append(make("Sigmoid", ["flattened"], ["y"]))
    graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 28]))
    folder = write_stripes(tmp_path / "pictures", length=4)
    model, out = tmp_path / "net.onnx", tmp_path / "out.onnx"
    onnx.save(proto, model)
    result = call("export", model, "-o", out, "--pictures", folder)
    assert result.returncode == 0, result.stderr
    assert load_model(out).manifest.output.shape == (None, 4, 7)
    assert read_all(out, folder) == 24


def test_glyphs_are_found(call: Call, tmp_path: Path, bars: Path, bars_array) -> None:
    """Of a network that reads one glyph, the cutting is found by the labels."""
    proto = onnx.load(bars)
    del proto.metadata_props[:]
    model, out = tmp_path / "net.onnx", tmp_path / "out.onnx"
    onnx.save(proto, model)
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for text in {"".join(rng.choice(list("abc"), 6)) for _ in range(20)}:
        cv2.imwrite(str(folder / f"{text}.png"), bars_array(text))
    result = call("export", model, "-o", out, "--pictures", folder)
    assert result.returncode == 0, result.stderr
    manifest = load_model(out).manifest
    assert (manifest.decoder, manifest.glyphs) == ("glyph", 6)
    assert read_all(out, folder) == len(list(folder.iterdir()))


def test_8_bits_are_measured_on_the_pictures(
    call: Call, tmp_path: Path, stripes_folder: Path
) -> None:
    """`--int8` needs labels; with them the file reads as many pictures as before."""
    model, out = save(tmp_path / "net.onnx"), tmp_path / "out.onnx"
    unlabelled = tmp_path / "unlabelled"
    unlabelled.mkdir()
    for number, path in enumerate(sorted(stripes_folder.iterdir())):
        (unlabelled / f"{number}.png").write_bytes(path.read_bytes())
    told = ["--recipe", "grey,scale", "--charset", "3W7akz", "--decoder", "ctc"]
    result = call("export", model, "-o", out, "--pictures", unlabelled, "--int8", *told)
    assert result.returncode == 3
    assert "--int8 needs labelled pictures" in result.stderr
    assert not out.exists()
    assert call("export", model, "-o", out, "--pictures", stripes_folder, "--int8").returncode == 0
    assert read_all(out, stripes_folder) == 24


def test_a_fixed_batch_is_freed_in_pytorchs_graphs() -> None:
    """First states of zeros, and shapes with time steps and batch in one axis, take any batch."""
    rng = np.random.default_rng(0)
    steps, size, hidden, classes = 6, 4, 3, 5
    weights = {
        "w": rng.normal(size=(2, 4 * hidden, size)),
        "r": rng.normal(size=(2, 4 * hidden, hidden)),
        "first": np.zeros((2, 1, hidden)),
        "dense": rng.normal(size=(2 * hidden, classes)),
    }
    shapes = {
        "joined": [steps, 1, 2 * hidden],
        "flat": [steps, 2 * hidden],
        "back": [steps, 1, classes],
    }
    make = onnx.helper.make_node
    nodes = [
        make("Transpose", ["image"], ["by_step"], perm=[1, 0, 2]),
        make(
            "LSTM",
            ["by_step", "w", "r", "", "", "first", "first"],
            ["read"],
            hidden_size=hidden,
            direction="bidirectional",
        ),
        make("Transpose", ["read"], ["both"], perm=[0, 2, 1, 3]),
        make("Reshape", ["both", "joined"], ["sequence"]),
        make("Reshape", ["sequence", "flat"], ["rows"]),
        make("MatMul", ["rows", "dense"], ["scored"]),
        make("Reshape", ["scored", "back"], ["y"]),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "crnn",
        [value("image", TensorProto.FLOAT, [1, steps, size])],
        [value("y", TensorProto.FLOAT, [steps, 1, classes])],
        [
            *(onnx.numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()),
            *(onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in shapes.items()),
        ],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    proto = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    fixed = onnxruntime.InferenceSession(proto.SerializeToString())
    free = onnxruntime.InferenceSession(free_batch(proto, 1).SerializeToString())
    rows = rng.random((3, steps, size), np.float32)
    expected = np.concatenate([fixed.run(None, {"image": row[None]})[0] for row in rows], axis=1)
    assert np.abs(free.run(None, {"image": rows})[0] - expected).max() < 1e-6


def test_a_vocabulary_in_the_file_is_taken(tmp_path: Path, stripes_folder: Path) -> None:
    """A `StringLookup`'s texts are the characters, `[UNK]` is U+FFFD; no label is needed."""
    network = load_onnx(save(tmp_path / "net.onnx", Dress(order="?3W7akz")))
    texts = ("[UNK]", *"3W7akz")
    network = replace(network, decoder="ctc", vocabulary=texts, blank=7)
    told = Told(recipe=parse_recipe("grey,scale"))
    samples = replace(find_samples(stripes_folder), labels=None)
    out = tmp_path / "out.onnx"
    brought = bring(network, samples, told, out)
    assert any("from the vocabulary in the file: \ufffd3W7akz" in note for note in brought.notes)
    assert read_all(out, stripes_folder) == 24


def test_the_characters_of_paddleocr_are_taken(
    call: Call, tmp_path: Path, stripes_folder: Path
) -> None:
    """A recogniser's file lists its characters; the blank stands before them, a space after."""
    proto = build(Dress(order="3W7akz?", blank="first"))
    entry = proto.metadata_props.add()
    entry.key, entry.value = "character", "3\nW\n7\na\nk\nz\n"
    model, out = tmp_path / "net.onnx", tmp_path / "out.onnx"
    onnx.save(proto, model)
    result = call("export", model, "-o", out, "--pictures", stripes_folder)
    assert "characters: from the vocabulary in the file: 3W7akz \n" in result.stdout, result.stderr
    charset = load_model(out).manifest.charset
    assert (charset.characters, charset.blank) == ("3W7akz ", 0)
    assert read_all(out, stripes_folder) == 24


def test_a_vocabulary_that_does_not_fit_is_named(tmp_path: Path, stripes_folder: Path) -> None:
    """With more texts than classes, the message says how many characters there have to be."""
    network = load_onnx(save(tmp_path / "net.onnx"))
    network = replace(network, decoder="ctc", vocabulary=tuple("3W7akzxy"), blank=6)
    with pytest.raises(ExportError, match=r"the vocabulary in the file has 8 .* so it takes 6"):
        bring(network, find_samples(stripes_folder), Told(), tmp_path / "out.onnx")
