"""Tries what stands in docs/deploy, without Docker and Kubernetes: `nox -s deploy`.

The Dockerfile's steps run in an empty folder, and then what they have installed runs as the image
says: without root, where it may not write, asked by its own health check. Kubernetes' own schemas
check the manifests.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import kubernetes_validate
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
SAMPLE = ROOT / "tests" / "samples" / "dnwnb.png"
PREFIX = "/opt/captcha-rt"
"""Where the image has the program."""


def main() -> None:
    """Checks all; exits with a message if something is wrong."""
    check_manifests()
    with TemporaryDirectory() as folder:
        installed = Path(folder, "captcha-rt")
        stages = read_dockerfile()
        build(stages[0], Path(folder, "source"), installed)
        with unwritable(installed):
            run(dict(stages[1]), installed, Path(folder))


def check_manifests() -> None:
    """Kubernetes' schemas take each object, strictly: unknown fields are wrong."""
    objects = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8")))
    version = kubernetes_validate.latest_version()
    for found in objects:
        kubernetes_validate.validate(found, version, strict=True)
    sys.stdout.write(f"{len(objects)} objects are right for Kubernetes {version}\n")


def read_dockerfile() -> list[list[tuple[str, str]]]:
    """The instructions of each stage: a name and what follows."""
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    stages: list[list[tuple[str, str]]] = []
    for name, _, rest in (line.partition(" ") for line in lines if line.strip()):
        if name == "FROM":
            stages.append([])
        else:
            stages[-1].append((name, rest.strip()))
    return stages


def build(steps: list[tuple[str, str]], source: Path, installed: Path) -> None:
    """Runs the steps of the first stage, in folders of ours in place of the image's."""
    source.mkdir()
    for name, rest in steps:
        if name == "COPY":
            *files, target = shlex.split(rest)
            for file in files:
                if (ROOT / file).is_dir():
                    shutil.copytree(ROOT / file, source / target)
                else:
                    shutil.copy(ROOT / file, source / target)
        elif name == "RUN":
            line = rest.replace(PREFIX, str(installed))
            quiet = {**os.environ, "PIP_QUIET": "1"}
            subprocess.run(["/bin/bash", "-euc", line], cwd=source, env=quiet, check=True)
        elif name != "WORKDIR":
            sys.exit(f"a step that isn't known here: {name}")


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Nobody may write into a folder meanwhile, but root."""
    paths = [folder, *(path for path in folder.rglob("*") if not path.is_symlink())]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(path.stat().st_mode | 0o200)


def run(image: dict[str, str], installed: Path, folder: Path) -> None:
    """Runs the program as the image does, and asks its health check and for a text."""
    if image["USER"].partition(":")[0] in ("", "0", "root"):
        sys.exit("the image runs as root")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    values = dict(value.partition("=")[::2] for value in shlex.split(image["ENV"]))
    values["PATH"] = values["PATH"].replace(PREFIX, str(installed))
    values["PATH"] = values["PATH"].replace("$PATH", os.environ["PATH"])
    values |= {"CAPTCHA_RT_PORT": port, "TMPDIR": str(folder)}
    user = _without_root()
    writes = [*user, "touch", str(installed / "x")]
    if subprocess.run(writes, check=False, capture_output=True).returncode == 0:
        sys.exit("the program could write where it is installed: that would be no test")
    health = json.loads(image["HEALTHCHECK"].partition("CMD ")[2])
    program = [*user, *json.loads(image["ENTRYPOINT"])]
    with subprocess.Popen(program, env=values, cwd="/", stderr=subprocess.DEVNULL) as service:
        try:
            end = time.monotonic() + 60
            while subprocess.run(
                [*user, *health], env=values, check=False, capture_output=True
            ).returncode:
                if time.monotonic() > end or service.poll() is not None:
                    sys.exit("the health check does not get to be true")
            address = f"http://127.0.0.1:{port}/solve"
            with urllib.request.urlopen(address, SAMPLE.read_bytes(), timeout=30) as answer:
                text = json.load(answer)["text"]
        finally:
            service.send_signal(signal.SIGTERM)
    if (text, service.returncode) != (SAMPLE.stem, 0):
        sys.exit(f"read {text!r} from {SAMPLE}, and ended with exit code {service.returncode}")
    sys.stdout.write("the Dockerfile's steps make a service that answers\n")


def _without_root() -> list[str]:
    """What to put before a program so that it doesn't run as root."""
    if os.geteuid() != 0:
        return []
    program = shutil.which("unshare")
    if program is None:
        sys.exit("run this as another user than root, or install unshare (util-linux)")
    return [program, "--user", "--map-user=65534", "--map-group=65534"]


if __name__ == "__main__":
    main()
