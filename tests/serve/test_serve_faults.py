"""What strangers send: after each attack the process lives, and answers the next good request."""

import base64
import contextlib
import gzip
import json
import random
import socket
import struct
import threading
import time
import zlib

import cv2
import numpy as np
import pytest

from .conftest import SAMPLE

PICTURE = SAMPLE.read_bytes()
INFER = "/v2/models/default/infer"
OFTEN = 200


@pytest.fixture(autouse=True)
def lives(server):
    """After each test of this module the shared server answers."""
    yield
    server.solves()
    assert server.process.poll() is None


def tensor(**changes: object) -> dict:
    """A good input but for some changes; None takes a value away."""
    values = {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["x"]} | changes
    return {name: value for name, value in values.items() if value is not None}


def asked(**changes: object) -> bytes:
    """A good request but for some changes."""
    return json.dumps({"inputs": [tensor()]} | changes).encode()


WRONG_JSON = {
    "malformed": b'{"inputs": [',
    "no object": b"[1]",
    "deep": b"[" * 90_000,
    "deep in an object": b'{"a":' * 50_000,
    "not UTF-8": b'{"id": "\xff"}',
    "long number": b'{"id": ' + b"9" * 10_000 + b"}",
    "many values": b'{"a": [' + b"0," * 200_000 + b"0]}",
    "half a pair": b'{"inputs": [{"name": "\\ud800"}]}',
    "no input": b"{}",
    "empty inputs": asked(inputs=[]),
    "inputs of another type": asked(inputs={"image": 1}),
    "unknown input": asked(inputs=[tensor(name="picture")]),
    "doubled input": asked(inputs=[tensor(), tensor()]),
    "wrong datatype": asked(inputs=[tensor(datatype="FP32")]),
    "negative shape": asked(inputs=[tensor(shape=[-1])]),
    "shape of a float": asked(inputs=[tensor(shape=[1.0])]),
    "shape of a text": asked(inputs=[tensor(shape=["1"])]),
    "shape of true": asked(inputs=[tensor(shape=[True])]),
    "shape of zero": asked(inputs=[tensor(shape=[0], data=[])]),
    "shape of two": asked(inputs=[tensor(shape=[2])]),
    "shape of too many axes": asked(inputs=[tensor(shape=[1, 1, 1])]),
    "no shape": asked(inputs=[tensor(shape=None)]),
    "no data": asked(inputs=[tensor(data=None)]),
    "data of numbers": asked(inputs=[tensor(data=[1])]),
    "doubled output": asked(outputs=[{"name": "text"}, {"name": "text"}]),
    "unknown output": asked(outputs=[{"name": "texts"}]),
    "id of a number": asked(id=7),
    "parameters of a list": asked(parameters=[]),
    "unknown length": asked(parameters={"length": "many"}),
}


@pytest.mark.parametrize("name", WRONG_JSON)
def test_wrong_json_is_a_400(server, name):
    """A request that breaks the protocol gets a line that says where, without a path."""
    status, found, _ = server.ask("POST", INFER, WRONG_JSON[name])
    assert status == 400, found
    assert 0 < len(found["error"]) < OFTEN
    assert "/" not in found["error"].replace("/v2", "")
    assert "Traceback" not in found["error"]


def test_numbers_beyond_all_bounds_allocate_nothing(server):
    """A shape of 2^63 pictures, or of more than allowed, is refused at once."""
    before = server.memory()
    for count in (2**63, 10**30, 17):
        status, _, _ = server.ask("POST", INFER, asked(inputs=[tensor(shape=[count])]))
        assert status == 413
    assert server.memory() < before + 20e6


def binary(data: bytes, size: object = None, shape: object = (1,)) -> tuple[bytes, int]:
    """A request with a binary tensor, and the length of its JSON."""
    size = len(data) if size is None else size
    one = tensor(shape=list(shape), data=None, parameters={"binary_data_size": size})
    header = json.dumps({"inputs": [one]}).encode()
    return header + data, len(header)


GOOD = struct.pack("<I", len(PICTURE)) + PICTURE
WRONG_BINARY = {
    "size too large": binary(GOOD, len(GOOD) + 1),
    "size too small": binary(GOOD, 4),
    "negative size": binary(GOOD, -1),
    "size of a text": binary(GOOD, "9"),
    "prefix of all ones": binary(b"\xff" * 4 + PICTURE),
    "prefix that is cut": binary(GOOD[:2]),
    "picture that is cut": binary(GOOD[:-5]),
    "bytes after the picture": binary(GOOD + b"x"),
    "one of two": binary(GOOD, shape=(2,)),
}


@pytest.mark.parametrize("name", WRONG_BINARY)
def test_wrong_binary_tensors_are_a_400(server, name):
    """A size or a length that doesn't fit the bytes is refused."""
    body, length = WRONG_BINARY[name]
    status, found, _ = server.ask("POST", INFER, body, Inference_Header_Content_Length=str(length))
    assert status == 400, found


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "999999", "9" * 50, "", "1, 2"])
def test_a_wrong_header_length_is_a_400(server, length):
    """A header length beyond the body, negative, or no number is refused."""
    body, _ = binary(GOOD)
    status, _, _ = server.ask("POST", INFER, body, Inference_Header_Content_Length=length)
    assert status == 400


def test_bodies_beyond_the_limit_are_a_413(server):
    """A claim of a large body, a chunked one and a bomb are refused, and memory stays as it is."""
    before = server.memory()
    claim = b"POST /solve HTTP/1.1\r\nHost: 1\r\nContent-Length: %d\r\n\r\n"
    assert b" 413 " in server.send(claim % 10**18)[:30]
    assert b" 413 " in server.send(claim % 2_000_000)[:30]
    bomb = gzip.compress(bytes(200_000_000), 1)
    assert server.ask("POST", "/solve", bomb, Content_Encoding="gzip")[0] == 413
    status, _, headers = server.ask("POST", "/solve", iter([bytes(300_000)] * 4))
    assert (status, headers["connection"]) == (413, "close")
    assert server.memory() < before + 30e6


@pytest.mark.parametrize(
    ("coding", "status"), [("gzip", 400), ("deflate", 400), ("br", 415), ("gzip, gzip", 415)]
)
def test_damaged_or_unknown_compression(server, coding, status):
    """What is damaged is a 400; a coding that isn't known is a 415."""
    assert server.ask("POST", "/solve", PICTURE, Content_Encoding=coding)[0] == status
    cut = gzip.compress(PICTURE)[:-9]
    assert server.ask("POST", "/solve", cut, Content_Encoding="gzip")[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/solve", 405),
        ("DELETE", INFER, 405),
        ("GET", "/none", 404),
        ("POST", "/v2/models/none/infer", 404),
        ("GET", "/v2/models/default/versions/2", 404),
        ("GET", "/v2/models/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/v2/models/%2e%2e", 404),
        ("GET", "/v2/models/a%00b", 404),
        ("GET", "/page/..%2fsettings.py", 404),
        ("POST", "/solve?model=none", 404),
    ],
)
def test_wrong_addresses(server, method, path, status):
    """What isn't there is a 404, a wrong method a 405; both in JSON."""
    found = server.ask(method, path, PICTURE)
    assert found[0] == status
    assert found[1]["error"]


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: 1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /solve HTTP/1.1\r\nHost: 1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /solve HTTP/1.1\r\nHost: 1\r\nContent-Length: -3\r\n\r\nabc",
        b"POST /solve HTTP/1.1\r\nHost: 1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\xff HTTP/1.1\r\nHost: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_broken_http_is_refused_or_closed(server, head):
    """No request can be read in two ways, and no head is longer than a head."""
    found = server.send(head, 5)
    assert found == b"" or b" 400 " in found[:30]


PICTURES = {
    "empty": b" ",
    "text": b"hello",
    "HTML": b"<html><body>404</body></html>",
    "truncated": PICTURE[:200],
    "bad CRC": PICTURE[:40] + b"\0" + PICTURE[41:],
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "TIFF": b"II*\0\x08\0\0\0\0\0",
}


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(30_000, 30_000), (65_535, 1), (0, 0), (12_000, 12_000)])
def test_pictures_that_claim_a_size_are_refused_from_their_header(server, size):
    """A picture beyond the pixel limit is refused before a pixel is decoded."""
    before = server.memory()
    status, found, _ = server.ask("POST", "/solve", png(*size))
    assert (status, found["error"]["type"]) == (422, "ImageDecodeError")
    assert server.memory() < before + 10e6


@pytest.mark.parametrize("name", PICTURES)
def test_what_is_no_picture_is_a_422(server, name):
    """The message says what was found."""
    status, found, _ = server.ask("POST", "/solve", PICTURES[name])
    assert (status, found["error"]["type"]) == (422, "ImageDecodeError")
    assert found["error"]["message"]


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b"", "image/png"),
        (b"{}", "application/json"),
        (b'{"image": 1}', "application/json"),
        (b'{"image": "x", "images": []}', "application/json"),
        (b'{"images": []}', "application/json"),
        (b"x", "multipart/form-data"),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
        (
            b"--x\r\nContent-Disposition: form-data\r\n\r\nabc\r\n--x--",
            "multipart/form-data; boundary=x",
        ),
        (b"nothing", "multipart/form-data; boundary=" + "x" * 500),
    ],
)
def test_what_holds_no_picture_is_a_400(server, body, media):
    """An empty body, JSON without a picture, and a damaged form are refused."""
    assert server.ask("POST", "/solve", body, Content_Type=media)[0] == 400


def test_too_many_pictures_are_a_413(server):
    """The batch limit holds for each way to send several pictures."""
    assert server.ask("POST", "/solve", {"images": ["x"] * 17})[0] == 413
    part = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nx\r\n'
    body = part * 17 + b"--x--\r\n"
    media = "multipart/form-data; boundary=x"
    assert server.ask("POST", "/solve", body, Content_Type=media)[0] in (400, 413)


@pytest.mark.parametrize("begun", [b"", b"abc"])
def test_a_slow_body_is_a_408(server, begun):
    """A body that doesn't arrive in time, or never begins, is refused; its connection is closed."""
    head = b"POST /solve HTTP/1.1\r\nHost: 1\r\nContent-Length: 100\r\n\r\n" + begun
    started = time.monotonic()
    assert b" 408 " in server.send(head)[:30]
    assert time.monotonic() - started < 8


def test_clients_that_leave_while_others_are_read(server):
    """Whenever they leave, the others get their answers, and so does who comes later."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 200, 3), np.uint8)
    image = base64.b64encode(cv2.imencode(".png", noise)[1].tobytes()).decode()
    requests = []
    for count in (1, 3, 4):  # several of them are read together
        body = json.dumps({"images": [image] * count}).encode()
        head = f"POST /solve HTTP/1.1\r\nHost: 1\r\nContent-Length: {len(body)}\r\n"
        head += "Content-Type: application/json\r\nConnection: close\r\n\r\n"
        requests.append(head.encode() + body)
    end = time.monotonic() + 4
    answers: list[bytes] = []

    def ask(number: int) -> None:
        rng = random.Random(number)
        while time.monotonic() < end:
            patience = rng.uniform(0.01, 0.3) if number % 4 else 30
            answer = server.send(rng.choice(requests), patience)
            if not number % 4:
                answers.append(answer[:15])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) >= 6
    assert set(answers) <= {b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Se"}
    assert b"HTTP/1.1 200 OK" in answers


def test_half_a_million_tiny_chunks(server):
    """They are answered in time, and a health probe isn't held up meanwhile."""
    chunk = b"1\r\nx\r\n"
    body = chunk * 500_000 + b"0\r\n\r\n"
    head = b"POST /solve HTTP/1.1\r\nHost: 1\r\nTransfer-Encoding: chunked\r\n"
    body = head + b"Connection: close\r\n\r\n" + body
    found: list[bytes] = []
    attack = threading.Thread(target=lambda: found.append(server.send(body, 30)))
    attack.start()
    waits = []
    while attack.is_alive():
        started = time.monotonic()
        assert server.ask("GET", "/v2/health/live")[0] == 200
        waits.append(time.monotonic() - started)
    attack.join()
    assert b" 422 " in found[0][:30] or b" 408 " in found[0][:30]
    assert sorted(waits)[len(waits) // 2] < 0.5  # a busy machine; alone it is 20 ms


def test_pipelined_and_half_closed_requests(server):
    """Requests in one go are answered in order; a client that closes its side harms nobody."""
    one = b"POST /solve HTTP/1.1\r\nHost: 1\r\nContent-Length: %d\r\n\r\n" % len(PICTURE) + PICTURE
    last = one.replace(b"Host: 1", b"Host: 1\r\nConnection: close")
    assert server.send(one * 19 + last).count(b'"dnwnb"') == 20
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(one)
        client.shutdown(socket.SHUT_WR)
        client.recv(1000)


def test_a_client_that_never_reads(server):
    """It may send as much as it likes: what is not taken doesn't pile up."""
    before = server.memory()
    one = b"GET /openapi.json HTTP/1.1\r\nHost: 1\r\n\r\n"
    clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
    for client in clients:
        client.settimeout(0.3)
        with contextlib.suppress(OSError):  # the connection is closed, or takes no more
            for _ in range(100):
                client.sendall(one * 1000)
    server.solves()
    assert server.memory() < before + 80e6
    for client in clients:
        client.close()


def test_idle_and_slow_connections_keep_nobody_out(server):
    """Hundreds of connections that send nothing, or a byte now and then, cost no place."""
    clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(400)]
    for client in clients[::2]:
        client.sendall(b"POST /solve HTT")
    for client in clients[:100:2]:
        client.sendall(b"P/1.1\r\nHost: 1\r\nContent-Length: 90\r\n\r\nabc")
    started = time.monotonic()
    for _ in range(5):
        server.solves()
    assert time.monotonic() - started < 5
    for client in clients:
        client.close()


def test_heads_have_a_deadline(server):
    """A connection that never sends its head is closed, as is one that sends it by and by."""
    begun = time.monotonic()
    silent = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    slow = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    slow.sendall(b"GET / HTTP/1.1\r\n")
    ended = threading.Event()

    def trickle() -> None:
        while not ended.wait(0.5):
            try:
                slow.sendall(b"X: y\r\n")
            except OSError:
                return

    threading.Thread(target=trickle, daemon=True).start()
    assert silent.recv(10) == b""
    with contextlib.suppress(ConnectionError):
        assert slow.recv(10) == b""
    ended.set()
    assert 5 < time.monotonic() - begun < 18
