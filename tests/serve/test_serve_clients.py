"""Clients that are not ours, unchanged: tritonclient and curl. kserve's is in check_kserve.py."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from .conftest import SAMPLE, TEXT

PICTURE = SAMPLE.read_bytes()


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_tritonclient(server, binary, compression):
    """It finds the model, solves one and several pictures, and gets errors as it expects them."""
    triton = pytest.importorskip("tritonclient.http")
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("default", "1")
    [tensor] = client.get_model_metadata("default")["inputs"]
    pictures = np.array([PICTURE, b"no picture", PICTURE], np.object_)
    image = triton.InferInput(tensor["name"], [len(pictures)], tensor["datatype"])
    image.set_data_from_numpy(pictures)
    wanted = [
        triton.InferRequestedOutput(name, binary_data=binary)
        for name in ("text", "confidence", "error")
    ]
    answer = client.infer(
        "default", [image], outputs=wanted, request_compression_algorithm=compression
    )
    texts = [text if isinstance(text, str) else text.decode() for text in answer.as_numpy("text")]
    assert texts == [TEXT, "", TEXT]
    assert answer.as_numpy("confidence").dtype == np.float32
    assert [bool(error) for error in answer.as_numpy("error")] == [False, True, False]
    with pytest.raises(triton.InferenceServerException, match="no model 'none'"):
        client.infer("none", [image])
    client.close()


def test_curl(server):
    """It sends a file as it is, in a form, and as the protocol's raw picture."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")

    def curl(path: str, *options: str) -> object:
        line = [program, "-sS", *options, server.address + path]
        done = subprocess.run(line, capture_output=True, check=True, timeout=60)
        return json.loads(done.stdout)

    assert curl("/solve", "--data-binary", f"@{SAMPLE}")["text"] == TEXT
    form = ("-F", f"file=@{SAMPLE}")
    assert [answer["text"] for answer in curl("/solve", *form, *form)] == [TEXT, TEXT]
    raw = ("-H", "Inference-Header-Content-Length: 0", "--data-binary", f"@{SAMPLE}")
    assert curl("/v2/models/default/infer", *raw)["outputs"][0]["data"] == [TEXT]
