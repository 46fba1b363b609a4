"""What is installed on this machine, and what really works."""

import platform
from dataclasses import dataclass
from typing import Final, get_args

from captcha_rt.device import Device
from captcha_rt.errors import CaptchaRTError, InstallationError, ProviderError
from captcha_rt.session import import_onnxruntime, installed
from captcha_rt.solver import Solver

_DISTRIBUTIONS: Final = (
    "captcha-rt",
    "captcha-rt-train",
    "captcha-rt-export",
    "deflate",
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "onnxruntime",
    "onnxruntime-gpu",
)


@dataclass(frozen=True, slots=True)
class Report:
    """What `captcha-rt doctor` found.

    Attributes:
        python: Python's version, and the kind of machine.
        distributions: The versions of what is installed of captcha-rt's distributions and of the
            libraries that captcha-rt needs.
        compiled_in: The providers that onnxruntime was built with; some may not work here.
        active: For each device that works, the active providers of a real session with the embedded
            model.
        reason: Why `auto` has chosen its device; None if it has none.
        absent: For each device that is not available, the reason. A missing GPU is no problem.
        problems: What should work but doesn't, each with what to do.
    """

    python: str
    distributions: dict[str, str]
    compiled_in: tuple[str, ...]
    active: dict[str, tuple[str, ...]]
    reason: str | None
    absent: dict[str, str]
    problems: tuple[str, ...]


def examine() -> Report:
    """Looks at what is installed, and loads the embedded models on each device."""
    compiled_in: tuple[str, ...] = ()
    active: dict[str, tuple[str, ...]] = {}
    reason: str | None = None
    absent: dict[str, str] = {}
    problems: list[str] = []
    try:
        compiled_in = tuple(import_onnxruntime().get_available_providers())
    except InstallationError as error:
        problems.append(str(error))
    for device in get_args(Device) if compiled_in else ():
        try:
            solver = Solver(device=device)
            solver.load()
            active[device] = solver.providers
            reason = solver.session.reason or reason
        except ProviderError as error:
            absent[device] = str(error)
        except CaptchaRTError as error:
            problems.append(f"--device {device}: {error}")
    return Report(
        python=f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        distributions=installed(*_DISTRIBUTIONS),
        compiled_in=compiled_in,
        active=active,
        reason=reason,
        absent=absent,
        problems=tuple(problems),
    )
