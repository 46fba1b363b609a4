"""What an export refuses.

CaptchaRTError
└── ModelError
    └── ExportError  ValueError  a run that can't become a model file that is right
"""

from captcha_rt.errors import ModelError


class ExportError(ModelError, ValueError):
    """The run is not whole, or the converted model isn't what it has to be."""
