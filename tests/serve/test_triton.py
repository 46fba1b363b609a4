"""`captcha-rt deploy triton`: the folder for a model repository, and what Triton reads.

With a real server, which `nox -s triton` has: CAPTCHA_TRITON names the environment of Python that
holds it (nvidia-pytriton) and captcha-rt.
"""

import os
import runpy
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from captcha_rt import ModelError, Solver, load_model
from captcha_rt.deploy import triton

TEXTS = ("abc", "ab", "ac", "ba", "bc", "ca", "cb", "cba", "a")


@pytest.fixture
def pictures(stripes_png, tmp_path: Path) -> Path:
    """Nine pictures for `stripes`."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for text in TEXTS:
        (folder / f"{text}.png").write_bytes(stripes_png(text.ljust(16, "-")))
    return folder


def parse_config(folder: Path) -> Any:
    """A folder's `config.pbtxt`, read with the schema that Triton's client brings."""
    text_format = pytest.importorskip("google.protobuf.text_format")
    # Its package needs an older protobuf than TensorFlow has; the schema's file alone doesn't.
    places = [*Path(os.environ.get("CAPTCHA_TRITON", "/none")).glob("lib/python3.*/site-packages")]
    places += map(Path, sys.path)
    files = [place / "tritonclient" / "grpc" / "model_config_pb2.py" for place in places]
    file = next((file for file in files if file.exists()), None)
    if file is None:
        pytest.skip("tritonclient, whose schema is needed, is not installed")
    schema = runpy.run_path(str(file))
    return text_format.Parse((folder / "config.pbtxt").read_text(), schema["ModelConfig"]())


def test_the_folder_is_whole(call, stripes: Path, pictures: Path, tmp_path: Path) -> None:
    """It holds the model's bytes, the script and the warm-up; the check asks the script."""
    repository = tmp_path / "new" / "repository"
    line = ("deploy", "triton", repository, "--model", stripes, "--name", "reader")
    done = call(*line, "--pictures", pictures)
    assert (done.returncode, done.stderr) == (0, "")
    assert "reads 9 pictures as captcha-rt does" in done.stdout
    out = repository / "reader"
    files = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert files == ["1/model.onnx", "1/model.py", "config.pbtxt", "warmup/picture"]
    assert load_model(out / "1" / "model.onnx").manifest.name == "stripes"
    assert (out / "warmup" / "picture").read_bytes()[4:] in [
        p.read_bytes() for p in pictures.iterdir()
    ]
    assert [path.name for path in out.parent.iterdir()] == ["reader"]
    again = call(*line)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "is there already" in again.stderr


def test_the_embedded_models_need_no_file(call, tmp_path: Path) -> None:
    """Without a model the folder holds none, and without pictures one is drawn for the warm-up."""
    repository = tmp_path / "two words"
    done = call("deploy", "triton", repository)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--pictures" in done.stdout
    assert done.stdout.endswith(f"next: tritonserver --model-repository '{repository}'\n")
    assert not (repository / "default" / "1" / "model.onnx").exists()
    assert (repository / "default" / "warmup" / "picture").stat().st_size > 100


@pytest.mark.parametrize(
    ("device", "kind", "batch"), [("cpu", "KIND_CPU", 8), ("cuda", "KIND_GPU", 32)]
)
def test_the_configuration_is_tritons(
    call, device: str, kind: str, batch: int, stripes: Path, tmp_path: Path
) -> None:
    """Triton's own schema reads the configuration, for the CPU and for CUDA."""
    line = ("deploy", "triton", tmp_path, "--model", stripes, "--name", "reader-1.0")
    assert call(*line, "--device", device, "--instances", 3).returncode == 0
    out = tmp_path / "reader-1.0"
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
    assert policy.default_timeout_microseconds == 2_000_000
    assert config.dynamic_batching.max_queue_delay_microseconds == 0
    assert config.model_warmup[0].inputs["image"].input_data_file == "picture"
    assert (out / "warmup" / "picture").exists()


def test_the_comparison_finds_what_differs(
    start, stripes: Path, bars: Path, pictures: Path
) -> None:
    """A model answers as itself does, and otherwise than one that reads other pictures."""
    compare = pytest.importorskip("serve.compare_servers", reason="needs tritonclient")
    models = {"one": stripes, "two": stripes, "three": bars}
    server = start(*(f"--model={name}={file}" for name, file in models.items()))
    files = [path.read_bytes() for path in sorted(pictures.iterdir())]
    one, two, three = (f"127.0.0.1:{server.port}/{name}" for name in models)
    asked, different = compare.differences(one, two, files)
    assert (different, asked > 50) == ([], True)
    _, different = compare.differences(one, three, files)
    assert 10 < len(different) < asked - 25


def test_other_texts_are_refused(
    stripes: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the script in the folder reads other texts than captcha-rt, there is no folder."""
    script = tmp_path / "triton_model.py"
    right = Path(triton.__file__).with_name(script.name).read_text("utf-8")
    script.write_text(right.replace("texts.append(text.encode())", 'texts.append(b"x")'))
    monkeypatch.setattr(triton, "__file__", str(tmp_path / "triton.py"))
    out = tmp_path / "repository" / "reader"
    with pytest.raises(ModelError, match=r"model\.py reads only 0 of 9 pictures"):
        triton.write_triton(out, load_model(stripes), sorted(pictures.iterdir()))
    assert not [*out.parent.iterdir()]


def test_a_name_that_triton_does_not_take_is_wrong_usage(call, tmp_path: Path) -> None:
    """The name goes into the configuration and into addresses as it is."""
    done = call("deploy", "triton", tmp_path / "new", "--name", 'a"b')
    assert done.returncode == 2
    assert "letters, digits" in done.stderr
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("visible", "number", "device"),
    [(None, "1", "1"), ("2,3", "0", "2"), ("2, GPU-5b", "1", "GPU-5b"), ("", "0", "0")],
)
def test_triton_counts_the_gpus_that_it_sees(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, number: str, device: str
) -> None:
    """The solver of an instance sees the GPU that is meant, by its name among all."""
    seen: list[str | None] = []

    def note(*_: object, **__: object) -> Solver:
        seen.append(os.environ.get("CUDA_VISIBLE_DEVICES"))
        return Solver(device="cpu")

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr("captcha_rt.Solver", note)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", ModuleType("utilities"))
    script = Path(triton.__file__).with_name("triton_model.py")
    model = runpy.run_path(str(script))["TritonPythonModel"]()
    instance = {"model_instance_kind": "GPU", "model_instance_device_id": number}
    model.initialize({**instance, "model_config": '{"max_batch_size": 1}'})
    assert seen == [device]


@pytest.fixture
def real(stripes: Path, pictures: Path, tmp_path: Path) -> Iterator[str]:
    """A real tritonserver with `stripes` in two processes; gives `HOST:PORT/MODEL`."""
    environment = os.environ.get("CAPTCHA_TRITON")
    if not environment:
        pytest.skip("CAPTCHA_TRITON does not name an environment with nvidia-pytriton")
    repository = tmp_path / "repository"
    files = sorted(pictures.iterdir())
    triton.write_triton(repository / "reader", load_model(stripes), files, instances=2)
    site = next(Path(environment).glob("lib/python3.*/site-packages"))
    programs = site / "pytriton" / "tritonserver"
    backends = tmp_path / "backends"
    shutil.copytree(programs / "backends", backends)
    stub = programs / "python_backend_stubs" / site.parent.name.removeprefix("python")
    shutil.copy(stub / "triton_python_backend_stub", backends / "python")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"model-repository": repository, "backend-directory": backends}
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
        yield f"127.0.0.1:{port}/reader"
    finally:
        process.terminate()
        process.wait(30)


def test_a_real_server_answers_as_the_service_does(
    real: str, start, stripes: Path, pictures: Path
) -> None:
    """Triton and `serve` give the same answers, and refuse with the same classes of status."""
    compare = pytest.importorskip("serve.compare_servers", reason="needs tritonclient")
    service = start("--model", f"reader={stripes}")
    files = [path.read_bytes() for path in sorted(pictures.iterdir())]
    asked, different = compare.differences(f"127.0.0.1:{service.port}/reader", real, files)
    assert not different, "\n".join(different)
    assert asked > 50


def test_a_real_server_reads_many_at_once(real: str, pictures: Path) -> None:
    """Each of 200 requests from 16 clients gets its own answer, and nine pictures are too many."""
    compare = pytest.importorskip("serve.compare_servers", reason="needs tritonclient")
    files = {path.stem: path.read_bytes() for path in sorted(pictures.iterdir())}

    def reads(number: int) -> bool:
        text = TEXTS[number % len(TEXTS)]
        with closing(compare.Server(real)) as server:
            return compare.infer(server, [files[text]])["outputs"]["text"][2] == [text]

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(reads, range(200)))
    with closing(compare.Server(real)) as server:
        assert compare.raised(server, files=[*files.values()]) == ("4", True)
