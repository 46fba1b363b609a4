"""Every error that captcha-rt raises on purpose.

Each belongs to two families: ours, and the builtin that a stranger would catch.

    CaptchaRTError
    ├── ImageDecodeError       ValueError         bytes that are no picture we read
    ├── RecipeError            ValueError         a picture that the model's recipe can't use
    │   └── SegmentationError                     a picture in which its glyphs aren't found
    ├── CharsetError           ValueError         a charset, or a text outside of one
    ├── FolderError            ValueError         a folder that is none, or without pictures
    ├── LabelError             ValueError         labels that aren't found, or found in two ways
    ├── LowConfidenceError     ValueError         an answer below the confidence asked for
    ├── ModelError
    │   ├── ModelNotFoundError FileNotFoundError  no file at the path
    │   ├── ManifestError      ValueError         no, damaged or unknown description in the file
    │   └── ScoresError        ArithmeticError    NaN or infinite scores
    ├── ProviderError          RuntimeError       the device asked for is not there
    └── InstallationError      ImportError        a missing or doubled distribution
"""


class CaptchaRTError(Exception):
    """The root of all errors below; catching it catches them all."""


class ImageDecodeError(CaptchaRTError, ValueError):
    """The bytes are no picture that can be decoded; the message says what was found."""


class RecipeError(CaptchaRTError, ValueError):
    """The picture was decoded, but the model's preprocessing can't use it."""


class SegmentationError(RecipeError):
    """The picture can't be cut into as many glyphs as the model reads."""


class CharsetError(CaptchaRTError, ValueError):
    """A charset that can't be one, or a text with characters outside of it."""


class FolderError(CaptchaRTError, ValueError):
    """A folder that is none, or holds no (labelled) pictures."""


class LabelError(CaptchaRTError, ValueError):
    """The pictures' labels aren't found, or could be read in several ways."""


class LowConfidenceError(CaptchaRTError, ValueError):
    """The picture was read, but less surely than was asked for."""


class ModelError(CaptchaRTError):
    """The model file can't be loaded, or it answers with something it shouldn't."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """There is no file at the model's path."""


class ManifestError(ModelError, ValueError):
    """The description inside the model file is missing, damaged or of an unknown version."""


class ScoresError(ModelError, ArithmeticError):
    """The model answered with NaN or infinite scores."""


class ProviderError(CaptchaRTError, RuntimeError):
    """The device or execution provider that was asked for is not active."""


class InstallationError(CaptchaRTError, ImportError):
    """A distribution that this needs is missing, or two stand in each other's way."""
