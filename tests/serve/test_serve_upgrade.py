"""Requests that would like another protocol are answered in this one, and keep their body."""

import shutil
import socket
import struct
import subprocess
import time
import zlib

import pytest

from .conftest import SAMPLE, TEXT

PICTURE = SAMPLE.read_bytes()
HEAD = b"POST /solve HTTP/1.1\r\nHost: 1\r\n%b\r\nContent-Length: %d\r\n\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAA"
WEBSOCKET = b"Connection: upgrade\r\nUPGRADE:websocket\r\nSec-WebSocket-Version: 13"


@pytest.fixture(autouse=True)
def quiet(server):
    """No request of this module leaves a warning in the log."""
    before = len(server.lines())
    yield
    server.solves()
    assert [line["message"] for line in server.lines()[before:] if line["level"] != "info"] == []


def answers(server, *packets: bytes, count: int = 1) -> bytes:
    """Sends packets on a connection; returns what comes until the text was read so many times."""
    found = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for packet in packets:
            client.sendall(packet)
            time.sleep(0.03 if len(packets) > 1 else 0)
        while found.count(f'"{TEXT}"'.encode()) < count:
            part = client.recv(65_536)
            assert part, found
            found += part
            assert b" 200 " in found[:30], found
    return found


@pytest.mark.parametrize("wish", [H2C, WEBSOCKET])
def test_the_body_is_read(server, wish):
    """In the head's packet, in a second one, and of a second request on the connection."""
    head = HEAD % (wish, len(PICTURE))
    answers(server, head + PICTURE)
    answers(server, head, PICTURE, head + PICTURE, head, PICTURE, count=3)


@pytest.mark.parametrize("wish", [H2C, WEBSOCKET])
def test_a_head_may_come_in_pieces(server, wish):
    """Wherever it is cut, also within the header's name and at the head's end."""
    head = HEAD % (wish, len(PICTURE))
    name = head.lower().index(b"\r\nupgrade")
    for cut in (*range(name, name + 12), *range(len(head) - 5, len(head))):
        answers(server, head[:cut], head[cut:] + PICTURE)
    answers(server, *(bytes([byte]) for byte in head), PICTURE)


def test_bodies_stay_as_they_are(server):
    """A body may hold the header's name, and end as a head does."""
    note = b"tEXtnote\0\r\nUpgrade: h2c\r\n"  # a chunk of the PNG, after the first
    chunk = struct.pack(">I", len(note) - 4) + note + struct.pack(">I", zlib.crc32(note))
    name = b'--x\r\nContent-Disposition: form-data; name="f"; filename="Upgrade: f"\r\n\r\n'
    form = name + PICTURE[:33] + chunk + PICTURE[33:] + b"\r\n--x--\r\n"
    wish = H2C + b"\r\nContent-Type: multipart/form-data; boundary=x"
    head = HEAD % (wish, len(form))
    pieces = (head, name, form[len(name) :])
    found = answers(server, head + form, head[:-1], head[-1:] + form, *pieces, count=3)
    assert found.count(b'"path":"Upgrade: f"') == 3


def test_requests_without_a_body_go_on(server):
    """They are answered as those that ask for no other protocol."""
    one = b"GET /v2/health/live HTTP/1.1\r\nHost: 1\r\n%b\r\n\r\n"
    last = one % b"Connection: close"
    assert server.send((one % WEBSOCKET) + last).count(b'{"live":true}') == 2


def test_curl_may_ask_for_http2(server):
    """`curl --http2` gets its answer in HTTP/1.1."""
    curl = shutil.which("curl")
    if curl is None or b"HTTP2" not in subprocess.run([curl, "-V"], capture_output=True).stdout:
        pytest.skip("there is no curl that knows HTTP/2")
    line = [curl, "-sS", "--http2", "--noproxy", "*", "--data-binary", f"@{SAMPLE}"]
    done = subprocess.run(
        [*line, f"{server.address}/solve"], capture_output=True, text=True, timeout=30, check=False
    )
    assert f'"{TEXT}"' in done.stdout, done


def test_what_follows_a_body_is_no_request_for_ever(server):
    """An empty line after a request keeps a connection no longer than a head may take."""
    one = HEAD % (b"X: y", len(PICTURE))
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(one + PICTURE)
        assert TEXT.encode() in client.recv(65_536)
        client.sendall(b"\r\n")
        assert client.recv(10) == b""
