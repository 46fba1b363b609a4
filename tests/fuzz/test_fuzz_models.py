"""Model files with random damage: always a ModelError, or the answer of the model as it was."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captcha_rt import ModelError, RecipeError, Solver
from captcha_rt.model import EMBEDDED, GENERAL, detach, load_model

MODELS = Path(__file__).parents[1] / "models"
FILES = (MODELS / "bars.onnx", MODELS / "stripes.onnx", EMBEDDED, GENERAL)
KEY = b"\x0a\x0acaptcha_rt\x12"
CHECKSUM = b"\x72\x55\x0a\x11captcha_rt_sha256\x12\x40"

Damage = Callable[[np.random.Generator, bytes], bytes]


def flip(rng: np.random.Generator, data: bytes) -> bytes:
    """One to five bits."""
    changed = bytearray(data)
    for position in rng.integers(len(data), size=rng.integers(1, 6)):
        changed[position] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def cut(rng: np.random.Generator, data: bytes) -> bytes:
    """A part is missing at the end, at the start or inside."""
    start, end = sorted(rng.integers(len(data) + 1, size=2).tolist())
    return [data[:start], data[end:], data[:start] + data[end:]][rng.integers(3)]


def repeat(rng: np.random.Generator, data: bytes) -> bytes:
    """A piece stands a second time, behind itself or at the end."""
    start, end = sorted(rng.integers(len(data) + 1, size=2).tolist())
    piece = data[start:end]
    return data[:end] + piece + data[end:] if rng.random() < 0.5 else data + piece


def splice(rng: np.random.Generator, data: bytes) -> bytes:
    """The first part of one file, and the last of another."""
    other = FILES[rng.integers(len(FILES))].read_bytes()
    return data[: rng.integers(len(data) + 1)] + other[rng.integers(len(other) + 1) :]


def shuffle(rng: np.random.Generator, data: bytes) -> bytes:
    """The graph, the description, the checksum and foreign metadata, in another order or number."""
    size = detach(data).graph.size
    graph, rest = data[:size], data[size:]
    foreign = b"\x72\x08\x0a\x01k\x12\x03abc"
    pieces = [graph, rest[: -64 - len(CHECKSUM)], rest[-64 - len(CHECKSUM) :], foreign]
    chosen = rng.integers(len(pieces), size=rng.integers(1, 6))
    return b"".join(pieces[index] for index in chosen)


def overwrite(rng: np.random.Generator, data: bytes) -> bytes:
    """Random bytes over a few of the file's."""
    start = int(rng.integers(len(data)))
    noise = rng.bytes(int(rng.integers(1, 40)))
    return data[:start] + noise + data[start + len(noise) :]


DAMAGES: tuple[Damage, ...] = (flip, cut, repeat, splice, shuffle, overwrite)


@pytest.fixture(scope="module")
def whole() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in FILES}


def test_every_bit(budget, figures, whole: dict[Path, bytes]) -> None:
    """A file with any one bit flipped is refused; the small files are tried whole, and in order."""
    refused = Counter[str]()
    bits = {path: 8 * len(data) for path, data in whole.items()}
    small = [(path, bit) for path in FILES[:2] for bit in range(bits[path])]
    for rng in budget:
        chosen = [(path, int(rng.integers(bits[path]))) for path in FILES[2:]]
        chosen += small[(budget.count - 1) * 50 : budget.count * 50]
        if budget.count * 50 > len(small):  # every bit of the large ones, in the time that is left
            first = 20 * (budget.count - len(small) // 50)
            chosen += [(EMBEDDED, bit % bits[EMBEDDED]) for bit in range(first, first + 20)]
        for path, bit in chosen:
            damaged = bytearray(whole[path])
            damaged[bit // 8] ^= 1 << bit % 8
            with pytest.raises(ModelError):
                detach(bytes(damaged))
            refused[path.name] += 1
    figures |= {"refused": dict(refused), "bits": {path.name: n for path, n in bits.items()}}


def test_damaged_files(budget, figures, whole: dict[Path, bytes]) -> None:
    """A damaged file is refused, or it is the file itself."""
    seen = Counter[str]()
    for rng in budget:
        path = FILES[rng.integers(len(FILES))]
        damage = DAMAGES[rng.integers(len(DAMAGES))]
        damaged = damage(rng, whole[path])
        try:
            detach(damaged)
        except ModelError:
            seen[f"{damage.__name__} refused"] += 1
        else:
            assert damaged in whole.values()
            seen[f"{damage.__name__} changed nothing"] += 1
    figures |= seen


def seal(graph: bytes, value: bytes) -> bytes:
    """A model file of the version 2 with any value as its description, and a right checksum."""
    entry = KEY + varint(len(value)) + value
    model = graph + b"\x72" + varint(len(entry)) + entry + CHECKSUM
    return model + hashlib.sha256(model).hexdigest().encode()


def varint(number: int) -> bytes:
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 10**30, 0.0, -0.5, 1e-320, 1e308, "", "a", "\ud800"),
    *([], {}, [1], [None, 4], {"step": "grey"}, "logits", "probabilities", "ctc", "position"),
    *("glyph", "abc", "cba", "abcd", "\x00\x01\x02", [None, 16, 4, 1], 32767, [{"step": "scale"}]),
)
"""Values that stand in place of others; some of them fit."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to each value in a value of JSON."""
    yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


def change(rng: np.random.Generator, text: str) -> bytes:
    """Changes a description: other values, missing or added ones, doubled keys, other bytes."""
    if rng.random() < 0.2:
        return DAMAGES[rng.integers(3)](rng, text.encode())
    described = json.loads(text)
    for _ in range(rng.integers(1, 3)):
        found = [*places(described)][1:]
        *path, last = found[rng.integers(len(found))]
        holder = described
        for key in path:
            holder = holder[key]
        odd = deepcopy(ODD[rng.integers(len(ODD))])  # what it is put into may change, too
        match rng.integers(4):
            case 0 if isinstance(holder, dict):
                del holder[last]
            case 1 if isinstance(holder, dict):
                holder[str(odd)] = odd
            case 2 if isinstance(holder, list):
                holder.insert(last, odd)
            case _:
                holder[last] = odd
    changed = json.dumps(described)
    if rng.random() < 0.1:  # a key twice
        changed = changed.replace('"name":', '"name": "x", "name":')
    return changed.encode()


def test_changed_descriptions(budget, figures, tmp_path: Path, stripes_png, bars_array) -> None:
    """Any JSON with a right checksum is a model that answers, or an error of the family."""
    seen = Counter[str]()
    path = tmp_path / "changed.onnx"
    pictures = {"stripes": stripes_png("-aa--bb--cc-----"), "bars": bars_array("abcabc")}
    for rng in budget:
        name = ("stripes", "bars")[rng.integers(2)]
        model = load_model(MODELS / f"{name}.onnx")
        graph = model.data[: model.manifest.graph.size]
        path.write_bytes(seal(graph, change(rng, model.manifest.to_json())))
        try:
            solver = Solver(path)
        except ModelError as error:
            seen[type(error).__name__] += 1
            continue
        try:
            answer = solver.solve(pictures[name])
        except (ModelError, RecipeError) as error:
            seen[f"loaded, then {type(error).__name__}"] += 1
            continue
        seen["answered"] += 1
        assert 0 <= answer.confidence <= 1
        assert all(0 <= character.confidence <= 1 for character in answer.characters)
        assert set(answer.text) <= set(solver.manifest.charset.characters)
        answer.text.encode()
    figures |= seen
