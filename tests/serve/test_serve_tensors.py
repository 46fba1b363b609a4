"""The parser of the Open Inference Protocol, without a server: it reads or refuses."""

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captcha_rt.service.refusal import Refusal
from captcha_rt.service.tensors import LENGTH_HEADER, OUTPUTS, read_request, write_response

WORDS = (
    *("inputs", "outputs", "parameters", "id", "name", "datatype", "shape", "data", "image"),
    *("text", "BYTES", "binary_data_size", "binary_data", "content_type", "base64"),
)
NAMES = st.sampled_from(WORDS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)
TENSOR = st.fixed_dictionaries(
    {"name": st.just("image") | JSON, "datatype": st.just("BYTES") | JSON},
    optional={
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
        "data": st.lists(st.text(max_size=9), max_size=3) | JSON,
        "parameters": st.dictionaries(NAMES, st.integers(0, 40) | JSON, max_size=2) | JSON,
    },
)
REQUEST = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=2) | JSON},
    optional=dict.fromkeys(("outputs", "parameters", "id"), JSON),
)


@settings(max_examples=400)
@given(values=REQUEST | JSON, binary=st.binary(max_size=40), shift=st.integers(-2, 2))
def test_whatever_is_sent_is_read_or_refused(values, binary, shift):
    """No request makes another exception; what is read has as many pictures as it says."""
    header = json.dumps(values).encode()
    try:
        asked = read_request(header + binary, str(len(header) + shift), 8)
    except Refusal as refusal:
        status, message = refusal.status, refusal.message
    else:
        status, message = 200, ""
        assert len(asked.pictures) == asked.shape[0] <= 8
        assert set(asked.outputs) <= set(OUTPUTS)
    assert status in (200, 400, 413)
    assert len(message) < 300


@given(body=st.binary(max_size=200), length=st.none() | st.text(max_size=6))
def test_any_bytes_are_read_or_refused(body, length):
    """Bytes of no form, and headers of no number, are refused."""
    try:
        asked = read_request(body, length, 8)
    except Refusal:
        return
    assert asked.pictures == [body]


@given(texts=st.lists(st.text(max_size=5), min_size=1, max_size=4), binary=st.booleans())
def test_an_answer_can_be_read_back(texts, binary):
    """What is written in binary has the lengths that the JSON before it names."""
    count = len(texts)
    parameters = {"binary_data_output": binary}
    tensor = {"name": "image", "datatype": "BYTES", "shape": [count], "data": texts}
    request = json.dumps({"id": "a", "inputs": [tensor], "parameters": parameters}).encode()
    asked = read_request(request, None, 8)
    found = {"text": texts, "confidence": [0.5] * count, "error": [""] * count}
    body, length = write_response("m", asked, found)
    values = json.loads(body[:length])
    assert (values["id"], values["model_name"]) == ("a", "m")
    if not binary:
        assert values["outputs"][0]["data"] == texts
        return
    rest = body[length:]
    for output in values["outputs"]:
        size = output["parameters"]["binary_data_size"]
        data, rest = rest[:size], rest[size:]
        if output["name"] == "confidence":
            assert struct.unpack(f"<{count}f", data) == (0.5,) * count
    assert rest == b""


def test_the_header_has_the_protocols_name():
    """Clients look for this header in lower case."""
    assert LENGTH_HEADER == "inference-header-content-length"
    with pytest.raises(Refusal):
        read_request(b"{}", None, 8)
