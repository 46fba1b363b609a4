"""The files in docs/deploy: what they name is there, and systemd takes the unit."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"
if not DEPLOY.exists():
    pytest.skip("the documents are not here", allow_module_level=True)


def test_systemd_takes_the_unit(tmp_path):
    """Systemd finds no fault in it, and calls what it may do harmless."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    unit = tmp_path / "captcha-rt.service"
    text = (DEPLOY / unit.name).read_text("utf-8")
    unit.write_text(text.replace("/opt/captcha-rt/bin/captcha-rt", "/bin/true"), "utf-8")
    done = subprocess.run([program, "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    secure = [program, "security", "--offline=yes", "--threshold=20", unit]
    done = subprocess.run(secure, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-400:]


def test_probes_and_options_exist(server, command):
    """Probes ask what is answered, and the options and variables are those of `serve`."""
    yaml = pytest.importorskip("yaml")
    objects = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8")))
    kinds = [found["kind"] for found in objects]
    assert kinds == ["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"]
    [container] = objects[0]["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server.ask("GET", container[probe]["httpGet"]["path"])[0] == 200
    helped = command("serve", "--help", env={**os.environ, "COLUMNS": "200"}).stdout
    dockerfile = (DEPLOY / "Dockerfile").read_text("utf-8")
    variables = re.findall(r"CAPTCHA_RT_[A-Z_]+", dockerfile)
    assert variables
    assert all(name in helped for name in variables)
    assert all(option in helped for option in container["args"] if option.startswith("--"))


def test_variables_of_kubernetes_are_no_options(command):
    """For a service called captcha-rt, Kubernetes sets CAPTCHA_RT_PORT to an address.

    A variable that is nearly an option's is named; the command ends at the missing model.
    """
    variables = {
        "CAPTCHA_RT_PORT": "tcp://10.0.0.1:80",
        "CAPTCHA_RT_PORT_80_TCP_ADDR": "10.0.0.1",
        "CAPTCHA_RT_SERVICE_HOST": "10.0.0.1",
        "CAPTCHA_RT_WORKRES": "2",
    }
    done = command("serve", "--model", "missing.onnx", env=os.environ | variables)
    [unknown, missing] = done.stderr.splitlines()
    assert unknown == (
        "captcha-rt: no option has the variable CAPTCHA_RT_WORKRES; "
        "did you mean CAPTCHA_RT_WORKERS?"
    )
    assert "missing.onnx" in missing


def test_the_dockerfiles_health_check_is_true(server):
    """The line that Docker runs succeeds on a service that answers, and fails on none.

    It asks the port that the service has, and no proxy.
    """
    [line] = re.findall(
        r'CMD \["python", "-c", "(.*)"\]', (DEPLOY / "Dockerfile").read_text("utf-8")
    )
    environment = os.environ | {"http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    lines = (line, line.replace("8000", str(server.port)))
    for text, port, code in (
        (lines[0], str(server.port), 0),
        (lines[0], "1", 1),
        (lines[1], "tcp://10.0.0.1:80", 0),  # Kubernetes' own variable: the port is the default
        (lines[1], None, 0),
    ):
        here = environment | ({} if port is None else {"CAPTCHA_RT_PORT": port})
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, env=here)
        assert done.returncode == code, done.stderr
