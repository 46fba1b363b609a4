"""The errors of training.

CaptchaRTError
└── TrainingError  ValueError   settings that are wrong, or a data set that can't be trained on
"""

from captcha_rt.errors import CaptchaRTError


class TrainingError(CaptchaRTError, ValueError):
    """A setting is out of range or unknown, or no usable sample is left."""
