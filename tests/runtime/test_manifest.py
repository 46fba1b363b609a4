import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from captcha_rt import (
    Charset,
    Manifest,
    ManifestError,
    ModelError,
    ModelNotFoundError,
    RecipeError,
    load_model,
)
from captcha_rt.manifest import FORMAT, Tensor
from captcha_rt.model import EMBEDDED, GENERAL, attach, detach
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Scale, Transpose


@pytest.fixture
def model(stripes: Path) -> bytes:
    return stripes.read_bytes()


@pytest.fixture
def manifest(stripes: Path) -> Manifest:
    return load_model(stripes).manifest


def change(model: bytes, **values: object) -> bytes:
    """Returns the model with other values in its description's JSON."""
    manifest = detach(model)
    text = manifest.to_json()
    changed = json.dumps({**json.loads(text), **values})
    return seal(model[: manifest.graph.size] + entry(changed))


def entry(value: str) -> bytes:
    """The metadata entry that holds a description."""
    found = b"\x0a\x0acaptcha_rt\x12" + varint(len(value.encode())) + value.encode()
    return b"\x72" + varint(len(found)) + found


def seal(model: bytes) -> bytes:
    """Appends the checksum over all bytes."""
    model += b"\x72\x55\x0a\x11captcha_rt_sha256\x12\x40"
    return model + hashlib.sha256(model).hexdigest().encode()


def unsealed(model: bytes) -> bytes:
    """The same model as a file of the format version 1, which has no checksum."""
    manifest = detach(model)
    return model[: manifest.graph.size] + entry(replace(manifest, format=1).to_json())


def varint(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80, number >> 7]) if number > 0x7F else bytes([number])


def test_a_model_file_says_what_it_is(manifest: Manifest) -> None:
    """Charset, blank, recipe, decoder, names and shapes all come from the file."""
    assert manifest.charset == Charset("abc", blank=0)
    assert manifest.decoder == "ctc"
    assert manifest.input == Tensor("image", (None, 16, 4, 1))
    assert manifest.output == Tensor("logits", (None, 16, 4))
    assert [step["step"] for step in manifest.recipe.to_json()] == [
        "grey",
        "scale",
        "resize",
        "transpose",
    ]


def test_a_description_survives_json(manifest: Manifest) -> None:
    """A description that was written to JSON is read back equal, also beyond ASCII."""
    described = replace(manifest, name="größe", training={"epochs": 3}, accuracy={"test": 0.5})
    assert Manifest.from_json(described.to_json()) == described


def test_glyphs_are_rows_of_the_batch(bars: Path) -> None:
    """Two pictures of six glyphs are twelve rows for the graph, and two texts of its scores."""
    manifest = load_model(bars).manifest
    assert manifest.glyphs == 6
    assert manifest.tensor_shape == (6, 23, 15, 1)
    tensors = np.zeros((2, 6, 23, 15, 1), np.float32)
    assert manifest.batch(tensors).shape == (12, 23, 15, 1)
    scores = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2, 2, 2, 2, 1, 1, 1]]
    assert [text for text, _ in manifest.decode(scores)] == ["abcabc", "cccbbb"]


def test_other_recipes_make_one_row(manifest: Manifest) -> None:
    """Without glyphs, the graph's input is the batch of tensors as it is."""
    assert manifest.glyphs is None
    assert manifest.tensor_shape == (16, 4, 1)
    tensors = np.zeros((2, 16, 4, 1), np.float32)
    assert manifest.batch(tensors) is tensors


def test_a_picture_is_prepared_for_the_graph(bars: Path, bars_array, stripes: Path) -> None:
    """The tensor has the graph's shape; another shape is an error that names both."""
    manifest = load_model(bars).manifest
    tensor = manifest.prepare(bars_array("abcabc"))
    assert (tensor.shape, tensor.dtype) == (manifest.tensor_shape, np.float32)
    as_it_is = replace(load_model(stripes).manifest, recipe=Recipe((Scale(), Transpose())))
    with pytest.raises(RecipeError, match=r"becomes \(17, 4, 1\), the model takes \(16, 4, 1\)"):
        as_it_is.prepare(np.zeros((4, 17, 1), np.uint8))


def test_a_temperature_changes_the_confidence_alone(manifest: Manifest) -> None:
    """Logits are divided by the temperature: above 1 confidences are lower, the texts stay."""
    scores = np.random.default_rng(0).normal(0, 4, (20, 16, 4)).astype(np.float32)
    plain = manifest.decode(scores)
    cooled = replace(manifest, temperature=2.0).decode(scores)
    assert cooled == manifest.decode(scores / 2)
    softmax = np.exp(scores / 2) / np.exp(scores / 2).sum(axis=2, keepdims=True)
    in_graph = replace(manifest, temperature=2.0, scores="probabilities").decode(softmax)
    for (_, a), (_, b) in zip(cooled, in_graph, strict=True):
        assert a.confidence == pytest.approx(b.confidence, rel=1e-4)
    assert [text for text, _ in cooled] == [text for text, _ in plain]
    pairs = [(a.confidence, b.confidence) for (_, a), (_, b) in zip(plain, cooled, strict=True)]
    assert all(warm > cool for warm, cool in pairs)


def test_every_flipped_byte_is_noticed(model: bytes, bars: Path) -> None:
    """A file with one bit changed anywhere is refused, whether in the graph or behind it."""
    rng = np.random.default_rng(0)
    for data in (model, bars.read_bytes()):
        for position in range(len(data)):
            damaged = bytearray(data)
            damaged[position] ^= 1 << rng.integers(8)
            with pytest.raises(ManifestError):
                detach(bytes(damaged))


@pytest.mark.parametrize("file", [EMBEDDED, GENERAL])
def test_the_embedded_models_are_covered(file: Path) -> None:
    """A changed bit of the embedded models is refused, too; so is any other letter in a value."""
    data = file.read_bytes()
    start = detach(data).graph.size
    for position in {*range(0, start, 20_011), *range(start, len(data), 37), len(data) - 1}:
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(ManifestError):
            detach(bytes(damaged))


def test_files_of_version_1_are_read(model: bytes, manifest: Manifest) -> None:
    """They have no checksum over all bytes, but the graph has one."""
    old = unsealed(model)
    assert detach(old) == replace(manifest, format=1)
    assert b"sha256" not in old.replace(b'"sha256"', b"")
    for position in range(old.index(b'{"format"')):
        damaged = bytearray(old)
        damaged[position] ^= 1
        with pytest.raises(ManifestError):
            detach(bytes(damaged))


def test_only_version_1_has_no_checksum(model: bytes) -> None:
    """A file of the version 2 without its checksum was cut off, and version 1 never had one."""
    with pytest.raises(ManifestError, match="cut off"):
        detach(model[: model.rindex(b"\x72\x55")])
    with pytest.raises(ManifestError, match="only format version 1"):
        detach(seal(unsealed(model)))


def test_a_second_description_is_refused(model: bytes, manifest: Manifest) -> None:
    """ONNX readers would see the one and captcha-rt the other, however the entry is written."""
    graph = model[: manifest.graph.size]
    value = manifest.to_json()
    swapped = b"\x12\x02{}\x0a\x0acaptcha_rt"
    for second in (entry(value), b"\x72" + varint(len(swapped)) + swapped, model[len(graph) :]):
        with pytest.raises(ManifestError, match="already holds a description"):
            attach(graph + second, manifest)
        with pytest.raises(ManifestError, match="descriptions"):
            detach(seal(graph + second + entry(value)))
    with pytest.raises(ManifestError):
        attach(model, manifest)


def test_the_name_of_a_tensor_is_no_description(manifest: Manifest) -> None:
    """A graph may hold the same bytes as a description's key, elsewhere than in its metadata."""
    node = b"\x0a\x0acaptcha_rt\x12\x01x"  # NodeProto: an input and an output
    graph = b"\x08\x08\x3a" + bytes([len(node) + 2]) + b"\x0a" + bytes([len(node)]) + node
    assert detach(attach(graph, manifest)).graph.size == len(graph)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"decoder": "ctc"', '"decoder": "ctc", "decoder": "ctc"'),
        ('"blank": 0', '"blank": 1, "blank": 0'),
        ('{"step": "grey"', '{"step": "rgb", "step": "grey"'),
        ('"accuracy": {}', '"accuracy": {"a": {"b": 1, "b": 2}}'),
    ],
)
def test_a_key_that_stands_twice_is_refused(manifest: Manifest, old: str, new: str) -> None:
    """Readers of JSON differ in which of the values they take."""
    text = manifest.to_json()
    with pytest.raises(ManifestError, match=r"key '.*' twice"):
        Manifest.from_json(text.replace(old, new))
    assert Manifest.from_json(text) == manifest


def test_every_cut_is_noticed(model: bytes) -> None:
    """A file that was cut off is refused, at whatever length."""
    for length in range(len(model)):
        with pytest.raises(ManifestError):
            detach(model[:length])


def test_bytes_slipped_in_are_noticed(model: bytes, manifest: Manifest) -> None:
    """Nothing fits between the graph and its description, or after it."""
    graph, description = model[: manifest.graph.size], model[manifest.graph.size :]
    for changed in (graph + b"\x00" + description, model + b"\x00"):
        with pytest.raises(ManifestError):
            detach(changed)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b'{"error": 404}', "JSON"),
        (bytes(range(256)) * 4, "no description of captcha-rt"),
    ],
)
def test_what_is_no_model_is_named(data: bytes, message: str) -> None:
    """The message says what the file looks like."""
    with pytest.raises(ManifestError, match=message):
        detach(data)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"format": FORMAT + 1},
            f"version {FORMAT + 1}; this captcha-rt reads up to version {FORMAT}",
        ),
        ({"format": "1"}, "version '1'"),
        ({"decoder": "magic"}, "unknown decoder 'magic'"),
        ({"scores": "votes"}, "unknown kind of scores 'votes'"),
        ({"charset": {"characters": "abc", "blank": None}}, "has a blank"),
        (
            {"charset": {"characters": "abcd", "blank": 0}},
            "does not fit .* 5 classes",
        ),
        ({"charset": {"characters": "aab", "blank": 0}}, "doubled"),
        ({"charset": 3}, "malformed"),
        ({"charset": {"characters": ["a", "b", "c"], "blank": 0}}, "characters are a text"),
        ({"charset": {"characters": "abc", "blank": True}}, "the blank is a class's number"),
        ({"charset": {"characters": "abc", "blank": 0.0}}, "the blank is a class's number"),
        ({"format": True}, "version True"),
        ({"name": 3}, "name and licence are texts"),
        ({"training": [1]}, "training and accuracy are objects"),
        ({"graph": {"size": "9", "sha256": 3}}, "a size and a SHA-256"),
        ({"input": {"name": "image", "shape": [1, 16, 4, 1]}}, "a free batch"),
        ({"input": {"name": "image", "shape": [None, None, 4, 1]}}, "are fixed"),
        ({"recipe": {}}, "a recipe is a list"),
        ({"recipe": []}, 'no step "scale"'),
        ({"recipe": [{"step": "sharpen"}]}, "unknown recipe step"),
        ({"input": {"name": "image"}}, "malformed"),
        ({"input": {"name": "image", "shape": [None, 16, 4, 1], "surprise": 1}}, "surprise"),
        ({"graph": None}, "which graph"),
        ({"surprise": 1}, "surprise"),
        ({"decoder": "glyph"}, "go together"),
        ({"temperature": 0}, r"the temperature is in 0\.001\.\.1000\.0, not 0"),
        ({"temperature": "1"}, r"the temperature is in .* not '1'"),
        ({"temperature": 5e-324}, r"the temperature is in .* not 5e-324"),
        ({"temperature": 1e300}, r"the temperature is in .* not 1e\+300"),
        ({"temperature": float("nan")}, r"the temperature is in .* not nan"),
        ({"name": "\ud800"}, "no Unicode"),
        ({"charset": {"characters": "ab\udc00", "blank": 0}}, "surrogate"),
        (
            {"input": {"name": "image", "shape": [None, 17, 4, 1]}},
            r"makes tensors of the shape \(16, 4, 1\), the model takes \(17, 4, 1\)",
        ),
        ({"min_confidence": 1.5}, r"the smallest confidence is in 0\.\.1: 1.5"),
        ({"min_confidence": None}, r"the smallest confidence is in 0\.\.1: None"),
        ({"recipe": [{"step": "glyphs"}, {"step": "scale"}]}, "go together"),
        ({"decoder": "position", "output": {"name": "logits", "shape": [None, 4]}}, "does not fit"),
    ],
)
def test_descriptions_that_can_not_be_used_are_refused(
    model: bytes, values: dict[str, object], message: str
) -> None:
    """An unknown version, and fields that are malformed or contradict each other, are named."""
    with pytest.raises(ManifestError, match=message):
        detach(change(model, **values))


def test_a_change_of_nothing_is_accepted(model: bytes, manifest: Manifest) -> None:
    """`change`, the helper of the test above, changes nothing but the values."""
    assert detach(change(model)) == manifest
    assert change(model) == model


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", "null", '"text"', "\x00", "[" * 3000])
def test_json_of_another_kind_is_refused(text: str) -> None:
    """Any JSON that is no description raises ManifestError."""
    with pytest.raises(ManifestError):
        Manifest.from_json(text)


def test_attach_describes_the_graph_it_is_given(manifest: Manifest) -> None:
    """Size and SHA-256 are computed anew, whatever the description said before."""
    graph = b"\x08\x08\x12\x07another"
    described = detach(attach(graph, manifest)).graph
    assert described is not None
    assert described.size == len(graph)
    assert described != manifest.graph


def test_a_missing_file_is_both_our_error_and_pythons(tmp_path: Path) -> None:
    """A missing file raises ModelNotFoundError, which is also a FileNotFoundError."""
    with pytest.raises(ModelNotFoundError, match=r"no model file at .*gone\.onnx"):
        load_model(tmp_path / "gone.onnx")
    assert issubclass(ModelNotFoundError, FileNotFoundError)


def test_an_impossible_path_is_a_model_error() -> None:
    """A path with a NUL raises ModelError."""
    with pytest.raises(ModelError, match="null"):
        load_model("a\0b")


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    """A folder in place of a file raises ModelError with its name."""
    with pytest.raises(ModelError, match=tmp_path.name):
        load_model(tmp_path)


def test_errors_name_the_file(tmp_path: Path) -> None:
    """The message names the model file, since a program may use several."""
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(ManifestError, match=r"broken\.onnx"):
        load_model(path)
