"""`captcha-rt export --to triton`: the folder for a model repository, and what Triton reads.

With a real server, which `nox -s triton` has: CAPTCHA_TRITON names the environment of Python that
holds it (nvidia-pytriton) and captcha-rt.
"""

import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from captcha_rt import Solver, load_model
from captcha_rt_export.errors import ExportError
from captcha_rt_export.to import triton
from captcha_rt_export.to.source import Source


@pytest.fixture
def pictures(stripes_png, tmp_path: Path) -> Path:
    """Nine pictures for `stripes`."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for text in ("abc", "ab", "ac", "ba", "bc", "ca", "cb", "cba", "a"):
        (folder / f"{text}.png").write_bytes(stripes_png(text.ljust(16, "-")))
    return folder


def parse_config(folder: Path) -> Any:
    """A folder's `config.pbtxt`, read with the schema that Triton's client brings."""
    # Its package needs an older protobuf than TensorFlow has; the schema's file alone doesn't.
    places = [*Path(os.environ.get("CAPTCHA_TRITON", "/none")).glob("lib/python3.*/site-packages")]
    places += map(Path, sys.path)
    files = [place / "tritonclient" / "grpc" / "model_config_pb2.py" for place in places]
    file = next((file for file in files if file.exists()), None)
    if file is None:
        pytest.skip("tritonclient, whose schema is needed, is not installed")
    schema = runpy.run_path(str(file))
    return text_format.Parse((folder / "config.pbtxt").read_text(), schema["ModelConfig"]())


def test_the_folder_is_whole(stripes: Path, pictures: Path, tmp_path: Path) -> None:
    """It holds the model's bytes, the script and the warm-up; the check asks the script."""
    out = tmp_path / "repository" / "reader"
    taken = triton.write(Source(stripes, pictures=pictures), out)
    assert (taken.name, taken.pictures, taken.same) == ("reader", 9, 9)
    files = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert files == ["1/model.onnx", "1/model.py", "config.pbtxt", "warmup/picture"]
    assert load_model(out / "1" / "model.onnx").manifest.name == "stripes"
    assert [path.name for path in out.parent.iterdir()] == ["reader"]
    with pytest.raises(FileExistsError, match="is there already"):
        triton.write(Source(stripes, pictures=pictures), out)


@pytest.mark.parametrize(
    ("device", "kind", "batch"), [("cpu", "KIND_CPU", 8), ("cuda", "KIND_GPU", 32)]
)
def test_the_configuration_is_tritons(
    device: str, kind: str, batch: int, stripes: Path, pictures: Path, tmp_path: Path
) -> None:
    """Triton's own schema reads the configuration, for the CPU and for CUDA."""
    out = tmp_path / "reader-1.0"
    triton.write(Source(stripes, pictures=pictures, device=device, instances=3), out)
    config = parse_config(out)
    assert (config.name, config.backend, config.max_batch_size) == (out.name, "python", batch)
    [group] = config.instance_group
    assert (group.count, type(group).Kind.Name(group.kind)) == (3, kind)
    tensors = [(t.name, t.data_type, list(t.dims)) for t in (*config.input, *config.output)]
    string, float32 = 13, 11
    assert tensors == [
        ("image", string, [1]),
        ("text", string, [1]),
        ("confidence", float32, [1]),
        ("error", string, [1]),
    ]
    policy = config.dynamic_batching.default_queue_policy
    assert (policy.max_queue_size, policy.timeout_action) == (256, 0)  # 0: reject
    assert config.model_warmup[0].inputs["image"].input_data_file == "picture"


def test_other_texts_are_refused(
    stripes: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the script in the folder reads other texts than captcha-rt, there is no folder."""
    monkeypatch.setattr(triton, "read_texts", lambda *_: ["x"] * 9)
    with pytest.raises(ExportError, match=r"model\.py reads only 0 of 9 pictures"):
        triton.write(Source(stripes, pictures=pictures), tmp_path / "reader")
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_a_name_that_triton_does_not_take_is_refused(
    stripes: Path, pictures: Path, tmp_path: Path
) -> None:
    """The folder's name is the model's, and goes into the configuration as it is."""
    with pytest.raises(ExportError, match="name a folder of letters"):
        triton.write(Source(stripes, pictures=pictures), tmp_path / 'a"b')


@pytest.fixture
def server(stripes: Path, pictures: Path, tmp_path: Path) -> Iterator[str]:
    """A real tritonserver with `stripes` in two processes; gives its address."""
    environment = os.environ.get("CAPTCHA_TRITON")
    if not environment:
        pytest.skip("CAPTCHA_TRITON does not name an environment with nvidia-pytriton")
    site = next(Path(environment).glob("lib/python3.*/site-packages"))
    programs = site / "pytriton" / "tritonserver"
    backends = tmp_path / "backends"
    shutil.copytree(programs / "backends", backends)
    stub = programs / "python_backend_stubs" / site.parent.name.removeprefix("python")
    shutil.copy(stub / "triton_python_backend_stub", backends / "python")
    triton.write(
        Source(stripes, pictures=pictures, instances=2), tmp_path / "repository" / "reader"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"model-repository": tmp_path / "repository", "backend-directory": backends}
    options |= {"http-address": "127.0.0.1", "http-port": port, "allow-grpc": "false"}
    line = [str(programs / "bin" / "tritonserver"), "--allow-metrics=false"]
    line += [f"--{name}={value}" for name, value in options.items()]
    variables = {
        "PATH": f"{environment}/bin:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(site / "nvidia_pytriton.libs"),
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(line, env=variables, stdout=log, stderr=log)
    try:
        for _ in range(300):
            with (
                suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready"),
            ):
                break
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v2/models/reader/infer"
    finally:
        process.terminate()
        process.wait(30)


def ask(server: str, files: list[bytes]) -> list[tuple[Any, ...]]:
    """Reads pictures with Triton, by its binary tensors; returns texts, confidences and errors."""
    data = b"".join(len(file).to_bytes(4, "little") + file for file in files)
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(files), 1]}
    request = {"inputs": [{**tensor, "parameters": {"binary_data_size": len(data)}}]}
    head = json.dumps(request).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    post = urllib.request.Request(server, head + data, headers)  # noqa: S310  (127.0.0.1)
    with urllib.request.urlopen(post) as answer:  # noqa: S310
        outputs = {output["name"]: output for output in json.load(answer)["outputs"]}
    assert all(output["shape"] == [len(files), 1] for output in outputs.values())
    return list(zip(*(outputs[n]["data"] for n in ("text", "confidence", "error")), strict=True))


def test_a_real_server_reads_the_same(server: str, stripes: Path, pictures: Path) -> None:
    """A tritonserver gives the solver's answers, alone, in batches and at once, and its errors."""
    files = [path.read_bytes() for path in sorted(pictures.iterdir())]
    wanted = [Solver(stripes).solve(file) for file in files]
    alone = [ask(server, [file])[0] for file in files]
    assert [(text, error) for text, _, error in alone] == [(w.text, "") for w in wanted]
    assert [c for _, c, _ in alone] == pytest.approx([w.confidence for w in wanted], abs=1e-6)
    together = ask(server, [files[0], b"", b"no picture", files[1]])
    assert [text for text, _, _ in together] == [wanted[0].text, "", "", wanted[1].text]
    assert together[1][1:] == (0, "ImageDecodeError: empty: 0 bytes")
    assert together[2][2].startswith("ImageDecodeError: not a PNG")
    with ThreadPoolExecutor(16) as pool:
        many = pool.map(
            lambda i: ask(server, [files[i % 9]])[0][0] == wanted[i % 9].text, range(200)
        )
    assert all(many)
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(server, files)  # nine, more than Triton gathers
    assert refused.value.code == 400
