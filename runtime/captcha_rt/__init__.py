"""Reads text captchas with Keras-trained models, without Keras.

    >>> from captcha_rt import Solver
    >>> Solver().solve("captcha.png").text
    '8y63f'

A name is imported when it is first used (PEP 562). So the command line can print its help, and set
up the environment for NumPy, before NumPy is loaded. Not even `typing` is loaded: that takes 10 ms,
in which the command line can't yet catch Ctrl-C.
"""
# ruff: noqa: F403  (each module lists its public names in `__all__`)

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # type checkers know the name

if TYPE_CHECKING:
    from typing import Any, Final

    from captcha_rt.charset import *
    from captcha_rt.decoders import *
    from captcha_rt.errors import *
    from captcha_rt.image import *
    from captcha_rt.manifest import *
    from captcha_rt.model import *
    from captcha_rt.recipe import *
    from captcha_rt.session import *
    from captcha_rt.solution import *
    from captcha_rt.solver import *

__version__ = "0.1.0"

# The modules whose `__all__` is public here. A name is searched for in this order, and each module
# on the way is loaded. So a module comes after the modules that it imports: an error loads `errors`
# alone.
_MODULES: Final = (
    "errors",
    "charset",
    "decoders",
    "image",
    "recipe",
    "manifest",
    "model",
    "session",
    "solution",
    "solver",
)


if not TYPE_CHECKING:  # a type checker sees the imports above, and reports other names

    def __getattr__(name: str) -> Any:  # noqa: ANN401  (a name may have any type)
        if name == "__all__":
            return sorted(name for module in _MODULES for name in _load(module).__all__)
        if not name.startswith("_"):
            for module in map(_load, _MODULES):
                if name in module.__all__:
                    return globals().setdefault(name, getattr(module, name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return [*__getattr__("__all__"), "__version__"]

    def _load(module: str) -> Any:  # noqa: ANN401  (a module of ours)
        return import_module(f"{__name__}.{module}")
