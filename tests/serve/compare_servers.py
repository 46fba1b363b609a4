"""Asks two servers of the Open Inference Protocol the same, and compares the answers.

python tests/serve/compare_servers.py 127.0.0.1:8000/default 127.0.0.1:8001/default PICTURE...

The servers may be `captcha-rt serve` and NVIDIA's Triton with what `captcha-rt deploy triton`
wrote. All answers have to be the same; of refusals only the class of the status, since the protocol
says no more. What differs is printed, with exit code 1.
"""

import http.client
import json
import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import tritonclient.http as triton

OUTPUTS: Final = ("text", "confidence", "error")
LENGTH: Final = "Inference-Header-Content-Length"

Ask = Callable[["Server"], Any]


class Server:
    """A server, and the name of a model that it has."""

    def __init__(self, where: str) -> None:
        """Takes `HOST:PORT/MODEL`."""
        self.address, _, self.model = where.partition("/")
        self.client = triton.InferenceServerClient(self.address, network_timeout=30)

    def close(self) -> None:
        """Closes the connections: Triton waits for them when it ends."""
        self.client.close()

    def post(self, body: bytes, header_length: object = None) -> tuple[int, bytes, str | None]:
        """Sends a body as it is; returns the status, the body and how much of it is JSON."""
        headers = {"Content-Type": "application/json"}
        if header_length is not None:
            headers = {LENGTH: str(header_length)}
        connection = http.client.HTTPConnection(self.address, timeout=30)
        with closing(connection):
            connection.request("POST", f"/v2/models/{self.model}/infer", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers.get(LENGTH)


def infer(server: Server, files: Sequence[bytes], **options: Any) -> Any:
    """What a server answers to files, by tritonclient."""
    names = options.pop("outputs", OUTPUTS)
    binary = options.pop("binary", True)
    found = server.client.infer(
        options.pop("model", server.model),
        [_image(files, binary=binary)],
        outputs=[triton.InferRequestedOutput(name, binary_data=binary) for name in names],
        **options,
    )
    return _outputs(found)


def _outputs(found: Any) -> Any:
    answer = found.get_response()
    return {
        "id": answer.get("id", ""),
        "outputs": {
            tensor["name"]: (tensor["datatype"], tensor["shape"], _values(found, tensor["name"]))
            for tensor in answer["outputs"]
        },
    }


def _image(files: Sequence[bytes], *, binary: bool = True) -> Any:
    image = triton.InferInput("image", [len(files), 1], "BYTES")
    # JSON has no bytes: tritonclient sends texts then, which both servers read as base64.
    image.set_data_from_numpy(np.array(files, np.object_)[:, None], binary_data=binary)
    return image


def _values(found: Any, name: str) -> list[Any]:
    values = found.as_numpy(name).ravel().tolist()
    if name == "confidence":
        return [round(value, 5) for value in values]
    return [value.decode() if isinstance(value, bytes) else value for value in values]


def raw(server: Server, picture: bytes) -> Any:
    """The answer to a body that is one picture; Triton's is binary, that of `serve` in JSON."""
    status, data, header_length = server.post(picture, 0)
    assert status == 200, data
    length = None if header_length is None else int(header_length)
    return _outputs(server.client.parse_response_body(data, header_length=length))


def refused(server: Server, body: Any, header_length: object = None) -> Any:
    """The class of the status that a body of JSON, or of bytes, gets; errors have a text."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, answer, _ = server.post(data, header_length)
    error = json.loads(answer)["error"]
    assert isinstance(error, str), answer
    assert error
    return status // 100


def not_answered(server: Server, body: Any) -> Any:
    """Whether a body is refused at all: what is no JSON as the protocol has it is 500 in Triton."""
    return refused(server, body) in (4, 5)


def tensor(**changes: Any) -> dict[str, Any]:
    """A request of one text that is no picture, with changes to its tensor."""
    return {
        "inputs": [
            {"name": "image", "datatype": "BYTES", "shape": [1, 1], "data": ["eA=="]} | changes
        ]
    }


KNOWN: Final = (
    *({"length": 4}, {"allowed": "0123456789"}, {"allowed": "abc", "length": 3}),
    *({"min_confidence": 0}, {"min_confidence": 1}, {"min_confidence": 0.5}),
    *({"evaluate_sum": True}, {"evaluate_sum": False}),
)
"""Parameters of requests."""

WRONG: Final = (
    *({"length": 0}, {"length": "x"}, {"allowed": ""}, {"allowed": "\u2603"}),
    *({"min_confidence": 2}, {"min_confidence": "x"}, {"evaluate_sum": "x"}),
)
"""Parameters that are refused."""

TENSORS: Final[dict[str, dict[str, Any]]] = {
    "another datatype": {"datatype": "UINT8", "data": [1]},
    "an unknown datatype": {"datatype": "x"},
    "another input": {"name": "x"},
    "three axes": {"shape": [1, 1, 1]},
    "two in a row": {"shape": [1, 2], "data": ["eA=="] * 2},
    "less data than the shape": {"shape": [2, 1]},
    "more data than the shape": {"data": ["eA=="] * 2},
    "too many": {"shape": [500, 1], "data": ["eA=="] * 500},
}
"""What is wrong with the input."""

BODIES: Final[dict[str, Any]] = {
    "no input": {"inputs": []},
    "two inputs": {"inputs": tensor()["inputs"] * 2},
    "a negative shape": tensor(shape=[-1, 1]),
    "a shape of text": tensor(shape="x"),
    "a shape with fractions": tensor(shape=[1.5, 1]),
    "data that are numbers": tensor(data=[1]),
    "no data": tensor(data=None),
    "no JSON": b"x",
    "no object": b"[]",
    "cut JSON": json.dumps(tensor()).encode()[:-2],
}
"""What the protocol doesn't know at all."""


def metadata(server: Server) -> Any:
    """The tensors that a server says a model has."""
    found = server.client.get_model_metadata(server.model)
    return {key: sorted(map(str, found[key])) for key in ("inputs", "outputs", "versions")}


def health(server: Server) -> Any:
    """Whether a server says that it and its models live and are ready."""
    client, model = server.client, server.model
    return (
        client.is_server_live(),
        client.is_server_ready(),
        *(client.is_model_ready(model), client.is_model_ready(model, "1")),
        *(client.is_model_ready("none"), client.is_model_ready(model, "7")),
    )


def raised(server: Server, files: Sequence[bytes] = (b"x",), **options: Any) -> Any:
    """The class of the status that tritonclient raises."""
    try:
        infer(server, files, **options)
    except triton.InferenceServerException as error:
        return error.status()[0], bool(error.message())
    return "answered"


def cases(pictures: Sequence[bytes]) -> dict[str, Ask]:
    """What is asked, by name; of the pictures the model reads at least two."""
    one, two, *_ = pictures
    mixed = [one, b"", b"no picture", one[:60], two]
    asked: dict[str, Ask] = {
        "health": health,
        "metadata": metadata,
        "each picture": lambda server: [infer(server, [picture]) for picture in pictures],
        "several": partial(infer, files=[*pictures][:8]),
        "broken ones among them": partial(infer, files=mixed),
        "one of many pixels": partial(infer, files=[one, _huge()]),
        "outputs in JSON": partial(infer, files=mixed, binary=False),
        "one output": partial(infer, files=[one], outputs=["text"]),
        "outputs in another order": partial(infer, files=[one], outputs=["error", "text"]),
        "an id": partial(infer, files=[one], request_id="seven"),
        "a version": partial(infer, files=[one], model_version="1"),
        "a body that is a picture": partial(raw, picture=one),
        "a body that is no picture": partial(raw, picture=b"no picture"),
        "an unknown model": partial(raised, model="none"),
        "an unknown version": partial(raised, model_version="7"),
        "an unknown output": partial(raised, outputs=["none"]),
    }
    for coding in ("gzip", "deflate"):
        sent = {"request_compression_algorithm": coding, "response_compression_algorithm": coding}
        asked[coding] = partial(infer, files=[one], **sent)
    for known in KNOWN:
        asked[f"known: {known}"] = partial(infer, files=mixed, parameters=known)
    for wrong in WRONG:
        asked[f"wrong: {wrong}"] = partial(raised, parameters=wrong)
    for name, changes in TENSORS.items():
        asked[name] = partial(refused, body=tensor(**changes))
    for name, body in BODIES.items():
        asked[name] = partial(not_answered, body=body)
    for name, (body, length) in _binary_bodies(one).items():
        asked[name] = partial(refused, body=body, header_length=length)
    asked["one picture, after all this"] = partial(infer, files=[one])
    return asked


def _binary_bodies(picture: bytes) -> dict[str, tuple[bytes, int]]:
    """Bodies with wrong binary tensors, each with the length of its JSON."""
    data = len(picture).to_bytes(4, "little") + picture

    def binary(size: int, sent: bytes, shape: Sequence[int] = (1, 1)) -> tuple[bytes, int]:
        declared = tensor(shape=shape, parameters={"binary_data_size": size})
        del declared["inputs"][0]["data"]
        head = json.dumps(declared).encode()
        return head + sent, len(head)

    head = json.dumps(tensor()).encode()
    return {
        "a head beyond the body": (head, len(head) + 1),
        "a negative head": (head, -1),
        "fewer bytes than they are": binary(len(data) - 1, data),
        "more bytes than they are": binary(len(data) + 9, data),
        "bytes that are cut": binary(len(data) - 9, data[:-9]),
        "a picture of 4 GB": binary(8, b"\xff\xff\xff\xff1234"),
        "two pictures that are one": binary(len(data), data, (2, 1)),
        "one picture that is two": binary(2 * len(data), 2 * data),
    }


def _huge() -> bytes:
    """A PNG of 30,000 by 30,000 pixels, which its data don't fill."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0))]
    parts += [(b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def differences(first: str, second: str, pictures: Sequence[bytes]) -> tuple[int, list[str]]:
    """Asks both servers; returns how many questions there are, and where the answers differ."""
    asked, found = cases(pictures), []
    with closing(Server(first)) as one, closing(Server(second)) as other:
        for name, ask in asked.items():
            a, b = _answer(ask, one), _answer(ask, other)
            if a != b:
                found.append(f"{name}:\n  {first}: {a}\n  {second}: {b}")
    return len(asked), found


def _answer(ask: Ask, server: Server) -> Any:
    try:
        return ask(server)
    except (triton.InferenceServerException, OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    except (AssertionError, ValueError) as error:
        return f"{type(error).__name__}: {error!s:.300}"


def main(first: str, second: str, *files: str) -> int:
    """Compares two servers, and prints what differs; returns the exit code."""
    asked, found = differences(first, second, [Path(file).read_bytes() for file in files])
    sys.stdout.write("".join(f"{line}\n" for line in found))
    sys.stdout.write(f"{asked} questions, {len(found)} answered differently\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
