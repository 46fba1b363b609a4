"""The package's imports, public names and version."""

import pytest

import captcha_rt

ALIASES = {"Device", "ImageSource", "Provider"}


def test_import_loads_only_what_it_needs(run_python) -> None:
    """`import captcha_rt` loads no command line, no progress bar and no TensorFlow."""
    code = (
        "import sys, captcha_rt; captcha_rt.Solver\n"
        "print([m for m in ('typer', 'rich', 'tensorflow', 'keras', 'onnx', 'matplotlib', 'PIL')"
        " if m in sys.modules])"
    )
    assert run_python(code).stdout == "[]\n"


def test_bare_import_loads_nothing(run_python) -> None:
    """`import captcha_rt` loads not even NumPy before a name is used.

    The command line loads not even `typing` before it can catch Ctrl-C.
    """
    code = (
        "import sys; before = {*sys.modules}; import captcha_rt.cli\n"
        "print([m for m in ('numpy', 'typing', 're') if m in {*sys.modules} - before])"
    )
    assert run_python(code).stdout == "[]\n"


def test_an_error_loads_only_errors(run_python) -> None:
    """A program can import an error without loading NumPy and the other modules."""
    code = (
        "import sys, captcha_rt; captcha_rt.CaptchaRTError\n"
        "print(sorted(m for m in sys.modules if m[:10] == 'captcha_rt'), 'numpy' in sys.modules)"
    )
    assert run_python(code).stdout == "['captcha_rt', 'captcha_rt.errors'] False\n"


def test_a_star_imports_the_public_names(run_python) -> None:
    """`from captcha_rt import *` binds `__all__`, and nothing else."""
    code = (
        "import captcha_rt; before = {*globals(), 'before'}\n"
        "from captcha_rt import *\n"
        "print({*globals()} - before == {*captcha_rt.__all__})"
    )
    assert run_python(code).stdout == "True\n"


def test_every_public_name_is_there() -> None:
    """`__all__` is alphabetical, and exactly its names can be imported."""
    assert captcha_rt.__all__ == sorted(captcha_rt.__all__)
    assert set(dir(captcha_rt)) == {*captcha_rt.__all__, "__version__"}
    for name in set(captcha_rt.__all__) - ALIASES:
        assert getattr(captcha_rt, name).__name__ == name
    for name in ALIASES:  # type aliases have no `__name__`
        assert getattr(captcha_rt, name)
    with pytest.raises(AttributeError, match="no attribute 'Solve'"):
        captcha_rt.Solve  # noqa: B018


def test_the_version_is_the_distributions() -> None:
    """`captcha-rt --version` and pip agree."""
    from importlib.metadata import version

    assert captcha_rt.__version__ == version("captcha-rt")
