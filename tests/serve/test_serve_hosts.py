"""A service without a key answers to its own names alone, and not to pages of strangers."""

import os
import socket

import pytest

from .conftest import SAMPLE

PICTURE = SAMPLE.read_bytes()


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost:1", None, 200),
        ("127.0.0.1", "http://127.0.0.1:8000", 200),
        ("127.0.0.1", "http://LOCALHOST:3000", 200),
        ("[::1]:8000", "http://[::1]:8000", 200),
        ("10.1.2.3:80", None, 200),
        ("evil.example:8000", None, 403),
        ("evil.example", "http://evil.example", 403),
        ("localhost.evil.example", None, 403),
        ("127.0.0.1.evil.example", None, 403),
        ("127.0.0.1:8000", "http://evil.example", 403),
        ("127.0.0.1:8000", "https://1.2.3.4", 403),
        ("127.0.0.1:8000", "null", 403),
        ("evil'\"<b>", None, 403),
        ("", None, 403),
        ("localhost" * 900, None, 403),
    ],
)
def test_strangers_names_and_pages_are_refused(server, host, origin, status):
    """A browser that was led here by another name, or from another page, gets no answer."""
    headers = {"Host": host} | ({"Origin": origin} if origin else {})
    found = server.ask("POST", "/solve", PICTURE, **headers)
    assert found[0] == status
    if status == 403:
        assert "--allowed-host" in found[1]["error"]["message"]
    assert server.ask("GET", "/v2", **headers)[0] == status


def test_the_health_is_told_to_everybody(server):
    """A probe may know the service by any name."""
    for path in ("/v2/health/live", "/v2/health/ready"):
        assert server.ask("GET", path, Host="captcha.example")[0] == 200


@pytest.mark.parametrize("workers", [1, 2])
def test_two_colons_are_all_addresses(start, workers):
    """`--host ::` listens on IPv4, too, whatever the system's default is."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("no socket takes IPv4 and IPv6 here")
    server = start("--host", "::", workers=workers)
    for address in ("127.0.0.1", "::1"):
        socket.create_connection((address, server.port), timeout=5).close()
    server.solves()


def test_a_key_may_follow_the_mark_of_its_encoding(start, tmp_path):
    """Editors of Windows begin a file with a byte order mark, which is no part of the key."""
    key = tmp_path / "key"
    key.write_text("opensesame\n", "utf-8-sig")
    server = start("--api-key-file", key)
    assert server.ask("POST", "/solve", PICTURE, X_API_Key="opensesame")[0] == 200


def test_more_names_are_allowed_and_a_key_needs_none(start):
    """`--allowed-host` takes the name that a proxy passes on; with a key nobody asks for names."""
    named = start("--allowed-host", "https://Captcha.example:443")
    for headers in (
        {"Host": "captcha.example"},
        {"Host": f"127.0.0.1:{named.port}", "Origin": "https://captcha.example"},
    ):
        assert named.ask("POST", "/solve", PICTURE, **headers)[0] == 200
    assert named.ask("POST", "/solve", PICTURE, Host="evil.example")[0] == 403
    keyed = start(CAPTCHA_RT_API_KEY=" k \n")
    assert keyed.ask("POST", "/solve", PICTURE, Host="any.example", X_API_Key="k")[0] == 200


@pytest.mark.parametrize("key", ["", " \n", "\udcff"])
def test_an_empty_key_is_no_open_door(command, monkeypatch, key):
    """Where the key's variable is set but holds no key, the service doesn't start without one."""
    monkeypatch.setitem(os.environ, "CAPTCHA_RT_API_KEY", key)
    done = command("serve", "--port", "0")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "CAPTCHA_RT_API_KEY" in done.stderr
