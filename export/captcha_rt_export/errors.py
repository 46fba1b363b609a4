"""The errors of runs and exports.

CaptchaRTError
├── RunError        ValueError   a run's folder that this training must not change
└── ModelError
    └── ExportError ValueError   a run or a model that can't become a correct model file
"""

from captcha_rt.errors import CaptchaRTError, ModelError


class RunError(CaptchaRTError, ValueError):
    """The folder holds a run that is not to be resumed, or one with other settings or samples."""


class ExportError(ModelError, ValueError):
    """The run is not finished or damaged, or the converted model is wrong or slow."""
