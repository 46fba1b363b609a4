"""Whether the service's distributions are installed; the other modules import them at once."""

from importlib.util import find_spec
from typing import Final

from captcha_rt.errors import InstallationError

_MODULES: Final = {
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "httptools": "httptools",
    "orjson": "orjson",
    "prometheus_client": "prometheus-client",
    "python_multipart": "python-multipart",
}


def check_installed() -> None:
    """Checks that the service's distributions are there.

    Raises:
        InstallationError: If one is missing.
    """
    missing = [name for module, name in _MODULES.items() if find_spec(module) is None]
    if missing:
        raise InstallationError(
            f'the service needs {", ".join(missing)}: pip install "captcha-rt[cpu,serve]"'
        )
