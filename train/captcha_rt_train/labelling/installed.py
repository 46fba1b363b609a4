"""Whether the server's distributions are installed; the other modules import them at once."""

from importlib.util import find_spec

from captcha_rt.errors import InstallationError


def check_installed() -> None:
    """Checks that the server's distributions are there.

    Raises:
        InstallationError: If one is missing.
    """
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise InstallationError(
            f"the labelling page needs {' and '.join(missing)}: "
            'pip install "captcha-rt-train[label]"'
        )
