"""What the service answers: `/solve`, the Open Inference Protocol, and the options."""

import asyncio
import base64
import gzip
import json
import socket
import struct
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from captcha_rt import Solver
from captcha_rt.solution import answer_to_json

from .conftest import SAMPLE, TEXT

PICTURE = SAMPLE.read_bytes()
MODELS = Path(__file__).parents[1] / "models"
BASE64 = base64.b64encode(PICTURE).decode()


@pytest.fixture(scope="module")
def expected():
    """The answer of a solver to the sample, as JSON."""
    return json.loads(json.dumps(answer_to_json(Solver().solve(PICTURE))))


def form(*files: bytes, **fields: str) -> tuple[bytes, str]:
    """A form with files and fields, and its media type."""
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="%d.png"\r\n\r\n%b\r\n'
        % (place, data)
        for place, data in enumerate(files)
    ]
    parts += [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    return b"".join([*parts, b"--x--\r\n"]), "multipart/form-data; boundary=x"


def test_a_picture_as_it_is_gets_the_answer_of_solve_json(server, expected):
    """The body may be a picture's file, with or without a media type, or compressed."""
    assert server.ask("POST", "/solve", PICTURE)[:2] == (200, expected)
    assert server.ask("POST", "/solve", PICTURE, Content_Type="image/png")[1] == expected
    packed = gzip.compress(PICTURE)
    assert server.ask("POST", "/solve", packed, Content_Encoding="gzip")[1] == expected


def test_pictures_in_json_get_an_object_or_a_list(server, expected):
    """Base64 and data URLs are read; an error stands in its picture's place."""
    assert server.ask("POST", "/solve", {"image": BASE64})[:2] == (200, expected)
    url = f"data:image/png;base64,{BASE64}"
    status, found, _ = server.ask("POST", "/solve", {"images": [url, "no picture", BASE64]})
    assert (status, found[0], found[2]) == (200, expected, expected)
    assert found[1]["error"]["type"] == "ImageDecodeError"


def test_a_form_gets_its_names_back(server, expected):
    """A form with one file is answered by an object, with several by a list."""
    body, media = form(PICTURE)
    found = server.ask("POST", "/solve", body, Content_Type=media)[1]
    assert found == {"path": "0.png"} | expected
    body, media = form(PICTURE, PICTURE, length="3")
    found = server.ask("POST", "/solve", body, Content_Type=media)[1]
    assert [len(answer.get("text", "...")) for answer in found] == [3, 3]


def test_what_is_known_can_stand_in_the_address_or_in_json(server):
    """Constraints, alternatives, and the smallest confidence mean what they mean for `solve`."""
    status, found, _ = server.ask("POST", "/solve?length=5&alternatives=2", PICTURE)
    assert (status, found["text"], len(found["alternatives"])) == (200, TEXT, 2)
    status, found, _ = server.ask("POST", "/solve?min_confidence=1", PICTURE)
    assert (status, found["error"]["type"]) == (422, "LowConfidenceError")
    values = {"image": BASE64, "evaluate_sum": True}
    assert server.ask("POST", "/solve", values)[1]["error"]["type"] == "SumError"


@pytest.mark.parametrize(
    "query",
    [
        "lenght=5",
        "length=x",
        "length=0",
        "min_confidence=2",
        "alternatives=101",
        "allowed=",
        "length=49",
    ],
)
def test_a_wrong_question_is_refused(server, query):
    """A question that is not understood is refused with a line, and never ignored."""
    status, found, _ = server.ask("POST", f"/solve?{query}", PICTURE)
    assert (status, found["error"]["type"]) == (400, "RequestError")


def test_infer_takes_json_and_answers_in_json(server):
    """BYTES in JSON are base64; the outputs that are asked for come in their order."""
    tensor = {"name": "image", "datatype": "BYTES", "shape": [2], "data": [BASE64, "x"]}
    asked = {"id": "7", "inputs": [tensor], "outputs": [{"name": "error"}, {"name": "text"}]}
    status, found, _ = server.ask("POST", "/v2/models/default/infer", asked)
    error, text = found["outputs"]
    assert (status, found["id"], found["model_name"]) == (200, "7", "default")
    assert (text["datatype"], text["shape"], text["data"]) == ("BYTES", [2], [TEXT, ""])
    assert error["data"][0] == ""
    assert "found text" in error["data"][1]


def test_infer_takes_and_gives_binary_tensors(server):
    """Pictures may follow the JSON after their lengths, and outputs may come so."""
    data = b"".join(struct.pack("<I", len(p)) + p for p in (PICTURE, PICTURE))
    size = {"binary_data_size": len(data)}
    tensor = {"name": "image", "datatype": "BYTES", "shape": [2, 1], "parameters": size}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    status, found, headers = server.ask(
        "POST",
        "/v2/models/default/versions/1/infer",
        header + data,
        Inference_Header_Content_Length=str(len(header)),
    )
    end = int(headers["inference-header-content-length"])
    outputs = json.loads(found[:end])["outputs"]
    assert (status, [output["shape"] for output in outputs]) == (200, [[2, 1]] * 3)
    one = struct.pack("<I", len(TEXT)) + TEXT.encode()
    assert found[end:].startswith(one + one)
    assert len(found) == end + sum(o["parameters"]["binary_data_size"] for o in outputs)


def test_infer_takes_a_raw_picture(server):
    """A header of no length says that the body is one picture."""
    found = server.ask(
        "POST", "/v2/models/default/infer", PICTURE, Inference_Header_Content_Length="0"
    )[1]
    assert found["outputs"][0]["data"] == [TEXT]


def test_health_and_metadata(server):
    """The protocol's clients find what they ask for before they infer."""
    assert server.ask("GET", "/v2/health/live")[:2] == (200, {"live": True})
    assert server.ask("GET", "/v2/health/ready")[:2] == (200, {"ready": True})
    assert server.ask("GET", "/v2")[1]["extensions"] == ["binary_tensor_data"]
    assert server.ask("GET", "/v2/models/default/ready")[1] == {"name": "default", "ready": True}
    found = server.ask("GET", "/v2/models/default/versions/1")[1]
    assert found["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1, 1]}]
    assert [tensor["name"] for tensor in found["outputs"]] == ["text", "confidence", "error"]
    index = server.ask("POST", "/v2/repository/index")[1]
    assert [(model["name"], model["state"]) for model in index] == [("default", "READY")]


def test_explain_shows_the_steps(server):
    """The page's address names each step with a picture of what it made, also of a rejected one."""
    status, found, _ = server.ask("POST", "/explain", PICTURE)
    assert (status, found["text"]) == (200, TEXT)
    assert found["steps"][0]["name"] == "picture 200 x 50"
    assert all(step["picture"].startswith("data:image/png;base64,") for step in found["steps"])
    assert server.ask("POST", "/explain", b"nothing")[0] == 422


def test_explain_shows_the_reading_that_counts(server):
    """A text in much paper is read twice; the step that cuts it out is there if that one counts."""
    white = np.full((360, 360), 255, np.uint8)
    solver, shown = Solver(device="cpu"), set()
    for text in ("7B3KR", "48215", "MTPHXE", "K2WD"):
        picture = cv2.putText(white.copy(), text, (90, 190), cv2.FONT_HERSHEY_DUPLEX, 1.5, 20, 2)
        data = cv2.imencode(".png", picture)[1].tobytes()
        found, answer = server.ask("POST", "/explain", data)[1], solver.solve(data)
        assert found["read"] == answer.text
        assert found["confidence"] == pytest.approx(answer.confidence, abs=1e-4)
        once = solver.readers[1].read(solver.open(data).pixels)
        second = "cut out anew" in found["steps"][1]["name"]
        assert second == (answer.model == "general" and answer.confidence > once.confidence)
        shown.add(second)
    assert True in shown


def test_metrics_count(server):
    """The metrics have the names that are documented, and count by route and code."""
    server.solves()
    text = server.ask("GET", "/metrics")[1].decode()
    assert 'captcha_rt_requests_total{code="200",route="/solve"}' in text
    for name in ("queue_seconds", "decode_seconds", "infer_seconds", "batch_size"):
        assert f"captcha_rt_{name}_bucket" in text
    assert "captcha_rt_pending 0.0" in text
    assert 'captcha_rt_model_info{model="default",provider="CPUExecutionProvider"' in text


def test_the_log_is_json_without_pictures(server):
    """A request is a line with its route and status; what was sent or read is not in it."""
    server.ask("POST", "/solve?length=9&allowed=secret", PICTURE)
    server.ask("PURGE", "/metrics")
    end = time.monotonic() + 60
    while "PURGE" not in server.log.read_text("utf-8"):  # lines wait a moment for others
        assert time.monotonic() < end
        time.sleep(0.02)
    lines = [line for line in server.lines() if line["message"] == "request"]
    last = [line for line in lines if line["route"] == "/solve"][-1]
    assert (last["level"], last["method"], last["status"]) == ("info", "POST", 422)
    assert TEXT not in server.log.read_text("utf-8")
    assert "secret" not in server.log.read_text("utf-8")


def test_the_last_lines_of_the_log_are_written(start):
    """Those of requests that were answered just before the end, too."""
    server = start()
    server.solves()
    assert server.end() == 0
    assert [line["route"] for line in server.lines() if line["message"] == "request"] == ["/solve"]


def test_lines_of_the_log_are_written_whole(monkeypatch):
    """No more at once than the system keeps together, in order, after a moment."""
    from captcha_rt.service.logs import AccessLog

    class Stream:
        def __init__(self):
            self.texts = []

        def write(self, text):
            self.texts.append(text)

        def flush(self):
            pass

    stream = Stream()
    monkeypatch.setattr(sys, "stderr", stream)

    async def note():
        log = AccessLog()
        for number in range(100):
            log.note(number=number)
        before = len(stream.texts)
        await asyncio.sleep(0.3)
        assert len(stream.texts) == before + 1

    asyncio.run(note())
    assert len(stream.texts) < 10
    assert all(len(text) <= 4096 and text.endswith("\n") for text in stream.texts)
    lines = [json.loads(line) for line in "".join(stream.texts).splitlines()]
    assert [line["number"] for line in lines] == [*range(100)]


def test_several_models_and_a_key(start, stripes, stripes_png, tmp_path):
    """Models answer under their names, and without the key nothing but health and pages does."""
    key = tmp_path / "key"
    key.write_text("opensesame\n")
    environment = {"CAPTCHA_RT_MODEL": f"a={stripes} b={stripes}", "CAPTCHA_RT_ACCESS_LOG": "no"}
    server = start("--api-key-file", key, **environment)
    picture = stripes_png("--aa--bb--cc----")
    assert server.ask("POST", "/solve", picture)[0] == 401
    assert server.ask("POST", "/solve", picture, X_API_Key="opensesam")[0] == 401
    assert server.ask("GET", "/metrics")[0] == 401
    assert server.ask("GET", "/v2/health/ready")[0] == server.ask("GET", "/")[0] == 200
    status, found, _ = server.ask("POST", "/solve?model=b", picture, X_API_Key="opensesame")
    assert (status, found["text"]) == (200, "abc")
    status, found, _ = server.ask("GET", "/v2/models/c", Authorization="Bearer opensesame")
    assert (status, found) == (404, {"error": "no model 'c'; there is a, b"})
    assert "opensesame" not in server.log.read_text("utf-8")
    assert "request" not in [line["message"] for line in server.lines()]


def test_the_log_says_why_a_model_fails(start):
    """A caller is told that the model failed, and the log why."""
    server = start("--model", MODELS / "stripes-nan.onnx")
    black = cv2.imencode(".png", np.zeros((50, 200), np.uint8))[1].tobytes()
    status, found, _ = server.ask("POST", "/solve", black)
    assert (status, found["error"]["message"]) == (500, "the model can't read this picture")
    assert server.ask("POST", "/explain", black)[1]["error"] == found["error"]
    errors = [line["message"] for line in server.lines() if line["level"] == "error"]
    assert ["NaN" in message for message in errors] == [True, True]


def test_wrong_starts_end_with_a_line(command, server, tmp_path):
    """A port that is taken, a model that isn't there, and options that conflict say so."""

    def ends(*options: object) -> tuple[int, int]:
        done = command("serve", *options)
        return done.returncode, done.stderr.count("\n")

    assert ends("--port", server.port) == (2, 1)
    assert ends("--model", tmp_path / "none.onnx", "--port", "0") == (3, 1)
    assert ends("--queue", "4", "--port", "0") == (2, 1)
    assert ends("--workers", "1_0")[0] == 2
    assert ends("--host", "a..b", "--port", "0") == (2, 1)
    (tmp_path / "key").write_bytes(b"\xff")
    assert ends("--api-key-file", tmp_path / "key", "--port", "0") == (2, 1)
    assert ends("--max-memory", "4", "--port", "0") == (2, 1)
    assert ends("--model", "a=x.onnx", "--model", "a=y.onnx") == (2, 1)


def test_an_id_comes_back_as_it_was(server):
    """Also one that is no text: half a pair of surrogates."""
    asked = {"id": "\ud800", "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1]}]}
    asked["inputs"][0]["data"] = [BASE64]
    status, found, _ = server.ask("POST", "/v2/models/default/infer", asked)
    assert (status, found["id"]) == (200, "\ud800")


def test_an_answer_is_one_packet(server):
    """The head and the body of an answer arrive together: two packets wake a client twice."""
    head = b"POST /solve HTTP/1.1\r\nHost: 1\r\nContent-Length: %d\r\n\r\n" % len(PICTURE)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        for _ in range(20):
            client.sendall(head + PICTURE)
            assert f'"{TEXT}"'.encode() in client.recv(65_536)


@pytest.mark.parametrize("begun", [False, True])
def test_a_fault_of_ours_is_a_500_that_tells_nothing(begun):
    """The log alone says what went wrong, and an answer that has begun gets no second head."""
    from captcha_rt.service.gate import Gate
    from captcha_rt.service.metrics import Metrics
    from captcha_rt.service.state import State

    async def fail(_, __, send):
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("a secret")

    async def ask():
        sent = []

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        await Gate(fail, "", Metrics(), State(), None)(scope, None, send)
        return sent

    sent = asyncio.run(ask())
    assert [message["status"] for message in sent if "status" in message] == [200 if begun else 500]
    assert "secret" not in str(sent)
