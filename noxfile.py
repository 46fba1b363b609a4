"""The project's tasks: `nox -l` lists them, and `.ci/run` runs them.

`lint`, `tests`, `runtime` and `instructions` run in the environment that nox itself runs in, which
the README's second command makes: another TensorFlow for each would take minutes. The others make
environments of their own.
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "venv"

ROOT = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent
CONSTRAINTS = ROOT / "constraints.txt"
SAMPLE = ROOT / "tests" / "samples" / "dnwnb.png"
"""A picture that shows its name."""


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Check the style, the format, the imports between modules and the types."""
    _run_here(session, "ruff", "check")
    _run_here(session, "ruff", "format", "--check")
    _run_here(session, "lint-imports")
    _run_here(session, "mypy")
    _run_here(session, "mypy", "tests/runtime/check_typing.py")


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run all tests, or those that are named: `nox -s tests -- tests/train -x`."""
    # Most of the time goes by in programs that tests start. Fixtures that train are a file's own.
    beside = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadfile")
    _run_here(session, "pytest", *beside, *session.posargs)


@nox.session(venv_backend="none")
def runtime(session: nox.Session) -> None:
    """Run the runtime's tests, which need no TensorFlow."""
    _run_here(session, "pytest", "tests/runtime", *session.posargs)


@nox.session(venv_backend="none")
def instructions(session: nox.Session) -> None:
    """Compare the instructions of a solve with the baseline; needs valgrind."""
    session.run(sys.executable, "-m", "benchmarks", "instructions", *session.posargs, external=True)


@nox.session
def build(session: nox.Session) -> None:
    """Build the source distribution and, from it, the wheel, into `dist/`."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    session.install("-q", "build")
    session.run("python", "-m", "build", "--outdir", "dist", ".", silent=True)


@nox.session(requires=["build"])
def wheel(session: nox.Session) -> None:
    """Test the wheel alone, with [cpu], in an empty environment."""
    _install(session, "-c", CONSTRAINTS, f"{_wheel()}[cpu]")
    session.run("python", "tests/check_wheel.py", str(_wheel()))
    _check(session, str(session.run("captcha-rt", "solve", str(SAMPLE), silent=True)))
    _install(session, "-c", CONSTRAINTS, "pytest", "hypothesis")
    _test_away_from_sources(session)


@nox.session(requires=["build"])
def frozen(session: nox.Session) -> None:
    """Build a program with PyInstaller and the wheel, and run it; takes a minute."""
    _install(session, "-c", CONSTRAINTS, f"{_wheel()}[cpu]", "pyinstaller")
    session.run("python", "tests/check_frozen.py", str(SAMPLE))


@nox.session(requires=["build"])
def triton(session: nox.Session) -> None:
    """Read with a real tritonserver (343 MB; Linux, Python 3.11 and Debian's libpython3.11)."""
    _install(session, f"{_wheel()}[cpu]", "nvidia-pytriton==0.7.0", "numpy<2")
    server = {"CAPTCHA_TRITON": session.virtualenv.location}
    pytest, tests = str(PROGRAMS / "pytest"), "tests/serve/test_triton.py"
    session.run(pytest, "-q", tests, env=server, external=True)


@nox.session(requires=["build"])
def stores(session: nox.Session) -> None:
    """Read from S3 and write to it, as moto plays it here."""
    _install(session, "-c", CONSTRAINTS, f"{_wheel()}[cpu,dask]", "pytest", "hypothesis")
    session.install("-q", "s3fs", "moto[s3,server]")  # with constraints, pip searches for minutes
    session.run("python", "-m", "pytest", "-q", "tests/cluster/test_object_store.py")


@nox.session(requires=["build"])
def clients(session: nox.Session) -> None:
    """Ask the service with kserve's client, in an environment of its own."""
    _install(session, f"{_wheel()}[cpu,serve]", "kserve>=0.21")
    session.run("python", "tests/serve/check_kserve.py", str(SAMPLE))


@nox.session
def deploy(session: nox.Session) -> None:
    """Run the Dockerfile's steps here, and check Kubernetes' manifests with its schemas."""
    session.install("-q", "kubernetes-validate")
    session.run("python", "tests/serve/check_deploy.py")


@nox.session(requires=["build"])
def lowest(session: nox.Session) -> None:
    """Run the runtime's tests, and ask the service, at the lower bounds of the dependencies."""
    bounds = ROOT / "dist" / "lowest.txt"
    session.install("-q", "uv")
    # Resolved from the project. Of a wheel the dependencies would be indirect: the newest.
    resolve = ["uv", "pip", "compile", "-q", "--resolution", "lowest-direct"]
    extras = ["--extra", "cpu", "--extra", "serve"]
    output = ["--no-header", "--no-annotate", "pyproject.toml", "-o", str(bounds)]
    session.run(*resolve, *extras, *output)
    if "numpy==1.26.0" not in bounds.read_text("utf-8").split():
        session.error(f"numpy==1.26.0 is not the lower bound in {bounds}")
    _install(session, "-c", bounds, f"{_wheel()}[cpu,serve]", "pytest", "hypothesis")
    service = [f"tests/serve/test_serve_{name}.py" for name in ("requests", "upgrade")]
    _test_away_from_sources(session, *service)


@nox.session(venv_backend="none")
def readme(session: nox.Session) -> None:
    """Run the README's first and second command in a fresh clone, made in a folder if named."""
    first, second, *_ = re.findall(
        r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.M | re.S
    )
    with tempfile.TemporaryDirectory() as folder:
        clone = session.posargs[0] if session.posargs else f"{folder}/clone"
        session.run("git", "clone", "-q", str(ROOT), clone, external=True)
        with session.chdir(clone):
            bash = ("bash", "-euo", "pipefail", "-c")
            _check(session, str(session.run(*bash, first, silent=True, external=True)))
            session.run(*bash, second, external=True)


def _run_here(session: nox.Session, program: str, *arguments: str) -> None:
    """Runs a program of the environment that nox runs in, activated or not."""
    session.run(str(PROGRAMS / program), *arguments, external=True)


def _install(session: nox.Session, *arguments: object) -> None:
    session.install("-q", "-U", "pip")
    session.install("-q", *map(str, arguments))


def _wheel() -> Path:
    (found,) = (ROOT / "dist").glob("captcha_rt-*.whl")
    return found


def _check(session: nox.Session, output: str) -> None:
    """Compares the last line that a command printed with what the sample shows."""
    text = (output.splitlines() or [""])[-1]
    if text != SAMPLE.stem:
        session.error(f"read {text!r} from {SAMPLE}")


def _test_away_from_sources(session: nox.Session, *more: str) -> None:
    """Runs the runtime's tests, and more, in a copy: only what is installed can be imported."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "tests", f"{folder}/tests")
        settings = Path(folder) / "tests" / "pytest.ini"
        settings.write_text(
            "[pytest]\naddopts = --import-mode=importlib\npythonpath = .\n", "utf-8"
        )
        with session.chdir(folder):
            for tests in ("tests/runtime", "tests/processes", *more):
                session.run("python", "-m", "pytest", "-q", "-c", str(settings), tests)
