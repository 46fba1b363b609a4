"""What can go wrong before and between epochs.

CaptchaRTError
└── TrainingError  ValueError   settings, a data set or a run that can't be trained
"""

from captcha_rt.errors import CaptchaRTError


class TrainingError(CaptchaRTError, ValueError):
    """The settings make no sense, no usable picture is left, or the run is another one."""
