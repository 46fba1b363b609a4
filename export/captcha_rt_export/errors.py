"""The errors of runs and exports.

CaptchaRTError
├── RunError        ValueError   a run's folder that belongs to another training
└── ModelError
    └── ExportError ValueError   a run or a model that can't become a correct model file
"""

from captcha_rt.errors import CaptchaRTError, ModelError


class RunError(CaptchaRTError, ValueError):
    """The folder holds a run that must not be changed, or one with other settings."""


class ExportError(ModelError, ValueError):
    """The run is not finished, or the converted model differs from what it has to be."""
