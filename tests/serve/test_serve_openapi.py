"""The OpenAPI description is true: what it names is there, and what it allows is never a 500."""

import subprocess
import sys

import pytest


def test_what_is_described_is_there(server):
    """Each address that is described is there, with its method and no other."""
    described = {
        (path, method.upper())
        for path, operations in server.ask("GET", "/openapi.json")[1]["paths"].items()
        for method in operations
    }
    for path, method in described:
        address = path.format(model="default", version="1")
        other = "GET" if method == "POST" else "POST"
        assert server.ask(other, address)[0] == 405
        assert server.ask(method, address)[0] not in (404, 405)


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_schemathesis_finds_no_failure(server, mode, tmp_path):
    """What the description allows, and what it doesn't, gets an answer that is described."""
    pytest.importorskip("schemathesis")
    line = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.address}/openapi.json"]
    checks = "not_a_server_error,status_code_conformance,content_type_conformance"
    options = ["--mode", mode, "--max-examples", "12", "--seed", "1", "--phases", "fuzzing"]
    more = ["--checks", f"{checks},response_schema_conformance", "--no-color"]
    done = subprocess.run(
        [*line, *options, *more], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-4000:]
    server.solves()
