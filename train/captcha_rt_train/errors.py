"""The errors of training.

CaptchaRTError
└── TrainingError  ValueError   settings or a data set that can't be trained on
"""

from captcha_rt.errors import CaptchaRTError


class TrainingError(CaptchaRTError, ValueError):
    """The settings make no sense, or no usable sample is left."""
