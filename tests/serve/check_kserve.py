"""Solves a picture with kserve's client: `python tests/serve/check_kserve.py PICTURE`.

kserve needs a protobuf before 7, and TensorFlow a newer one: so `nox -s clients` runs this in an
environment of its own, with the wheel.
"""

import asyncio
import base64
import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


def main(picture: Path) -> None:
    """Starts a service, and asks it for the text that is the picture's name."""
    line = [sys.executable, "-m", "captcha_rt", "serve", "--port", "0", "--workers", "1"]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        try:
            address = json.loads(service.stderr.readline())["address"]
            while "ready" not in service.stderr.readline():
                pass
            asyncio.run(ask(address, picture.read_bytes(), picture.stem))
        finally:
            service.terminate()
    assert service.returncode == 0
    sys.stdout.write("kserve's client reads the picture\n")


async def ask(address: str, picture: bytes, text: str) -> None:
    """Asks for health, and infers in binary and in JSON; an error has to arrive as one."""
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    assert await client.is_server_live(address)
    assert await client.is_server_ready(address)
    assert await client.is_model_ready(address, "default")
    for value, binary in ((picture, True), (base64.b64encode(picture).decode(), False)):
        tensor = InferInput("image", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([value], np.object_), binary_data=binary)
        request = InferRequest("default", [tensor])
        found = await client.infer(address, request, model_name="default")
        [texts] = [tensor for tensor in found.outputs if tensor.name == "text"]
        [read] = texts.as_numpy()
        assert (read.decode() if isinstance(read, bytes) else read) == text
    try:
        await client.infer(address, request, model_name="none")
        status = 200
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
    assert status == 404


if __name__ == "__main__":
    main(Path(sys.argv[1]))
