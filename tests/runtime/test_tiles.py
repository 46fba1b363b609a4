"""Weights whose zero points a session moves where the processor has tiles."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from captcha_rt import Manifest, ManifestError, load_model, session, tiles
from captcha_rt.model import GENERAL
from captcha_rt.session import Session
from captcha_rt.tiles import MARK, has_tiles, move_zero_points


def scores(model: bytes, manifest: Manifest) -> bytes:
    """The scores of a model for one noisy picture, on the CPU."""
    noise = np.random.default_rng(0).random((1, *manifest.input.shape[1:]), np.float32)
    return Session(model, manifest, device="cpu").run(noise).tobytes()


@pytest.mark.parametrize("described", [True, False])
def test_scores_stay_to_the_bit(described: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the embedded general model, though onnxruntime computes it in another way."""
    model = load_model(GENERAL)
    assert model.manifest.graph is not None
    data = model.data if described else model.data[: model.manifest.graph.size]
    moved = move_zero_points(data)
    changed = np.frombuffer(moved, np.int8) - np.frombuffer(data, np.int8)
    assert set(changed.tolist()) == {0, 1}
    assert (changed == 1).mean() > 0.5  # most of the bytes are wide convolutions' weights
    manifest = replace(model.manifest, graph=None)
    monkeypatch.setattr(tiles, "has_tiles", lambda: False)  # else the session moves them itself
    assert scores(moved, manifest) == scores(data, manifest)


def test_a_session_moves_them_where_there_are_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """With tiles onnxruntime gets the moved model, and the file's bytes without."""
    model = load_model(GENERAL)
    given: list[bytes] = []
    load = session.import_onnxruntime().InferenceSession

    def keep(data: bytes, *arguments: object, **named: object) -> object:
        given.append(data)
        return load(data, *arguments, **named)

    monkeypatch.setattr(session.import_onnxruntime(), "InferenceSession", keep)
    for there in (True, False):
        monkeypatch.setattr(tiles, "has_tiles", lambda there=there: there)
        Session(model.data, model.manifest, device="cpu")
    assert given == [move_zero_points(model.data), model.data]


def test_other_models_stay(stripes: Path) -> None:
    """A model without marks is the same object afterwards, as is one in onnxruntime's format."""
    data = stripes.read_bytes()
    assert move_zero_points(data) is data
    own = b"\0\0\0\0ORTM" + MARK.encode()
    assert move_zero_points(own) is own
    with pytest.raises(ManifestError, match="cut off"):
        move_zero_points(load_model(GENERAL).data[:-100])


@pytest.mark.parametrize("part", ["type", "values"])
def test_all_marked_weights_are_moved_or_none(part: str) -> None:
    """The export writes signed bytes into `raw_data`; a model of other tensors stays as it is."""
    data = bytearray(load_model(GENERAL).data)
    found = re.search(rb"\x10\x03B([^\n]{1,2}?)" + re.escape(MARK.encode()), data)
    assert found is not None  # the type, and the length of the name
    if part == "type":
        data[found.start() + 1] = 2  # unsigned
    else:
        values = found.end(1) + found[1][0]
        assert data[values] == 9 << 3 | 2
        data[values] = 13 << 3 | 2
    odd = bytes(data)
    assert move_zero_points(odd) is odd


def test_linux_says_whether_there_are_tiles(tmp_path: Path) -> None:
    """The flags of the first processor count; without the file, as on macOS, there are none."""
    processors = tmp_path / "cpuinfo"
    assert not has_tiles(processors)
    has_tiles.cache_clear()
    for flags, there in (("avx512_vnni", False), ("amx_bf16 amx_tile amx_int8", True)):
        processors.write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\nbugs\t\t:\n", "ascii")
        assert has_tiles(processors) == there
        has_tiles.cache_clear()
    if Path("/proc/cpuinfo").exists():
        assert has_tiles() == (" amx_int8" in Path("/proc/cpuinfo").read_text("utf-8"))
