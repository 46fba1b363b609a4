"""The errors of training.

CaptchaRTError
└── TrainingError  ValueError   settings that are wrong, or a data set that can't be trained on
"""

import zipfile
import zlib
from typing import Final

from captcha_rt.errors import CaptchaRTError

NPZ_ERRORS: Final = (
    *(OSError, ValueError, KeyError, EOFError, TypeError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What NumPy raises on a file that is missing, cut off, damaged, or no `.npz`."""


class TrainingError(CaptchaRTError, ValueError):
    """A setting is out of range or unknown, or no usable sample is left."""
