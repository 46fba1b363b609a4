"""Every error that captcha-rt raises on purpose.

Most errors are also subclasses of a builtin exception, which a program that doesn't know captcha-rt
may catch.

    CaptchaRTError
    ├── ImageDecodeError       ValueError         bytes that can't be decoded as a picture
    ├── RecipeError            ValueError         a picture that the model's recipe can't use
    │   └── SegmentationError                     a picture in which the glyphs aren't found
    ├── CharsetError           ValueError         an invalid charset, or a text outside of one
    ├── LengthError            ValueError         a known length that no text of the model has
    ├── FolderError            ValueError         no folder, or a folder without pictures
    │   └── ArchiveError                          an archive that can't be unpacked
    ├── LabelError             ValueError         labels that are missing or ambiguous
    ├── LowConfidenceError     ValueError         no answer, or one below the smallest confidence
    ├── SumError               ValueError         an answer that is no sum, where one is asked for
    ├── ModelError
    │   ├── ModelNotFoundError FileNotFoundError  no file at the path
    │   ├── ManifestError      ValueError         a missing, damaged or unknown description
    │   │   └── NoManifestError                   a file without one: another program's, or cut off
    │   └── ScoresError        ArithmeticError    scores that can't be read
    ├── ProviderError          RuntimeError       the device asked for is not available
    ├── WorkerError            RuntimeError       a process that reads pictures has died
    ├── ServiceError           RuntimeError       a service that can't be started as it is asked for
    └── InstallationError      ImportError        a distribution is missing or installed twice
"""

__all__ = [
    "ArchiveError",
    "CaptchaRTError",
    "CharsetError",
    "FolderError",
    "ImageDecodeError",
    "InstallationError",
    "LabelError",
    "LengthError",
    "LowConfidenceError",
    "ManifestError",
    "ModelError",
    "ModelNotFoundError",
    "NoManifestError",
    "ProviderError",
    "RecipeError",
    "ScoresError",
    "SegmentationError",
    "ServiceError",
    "SumError",
    "WorkerError",
]


class CaptchaRTError(Exception):
    """The base class: catch this class to catch every error of captcha-rt."""


class ImageDecodeError(CaptchaRTError, ValueError):
    """The bytes can't be decoded as a picture; the message says what was found."""


class RecipeError(CaptchaRTError, ValueError):
    """The picture was decoded, but the model's preprocessing can't use it."""


class SegmentationError(RecipeError):
    """The picture can't be cut into the number of glyphs that the model reads."""


class CharsetError(CaptchaRTError, ValueError):
    """The charset is invalid, or a text has characters outside of the charset."""


class LengthError(CaptchaRTError, ValueError):
    """The texts are known to have more characters than the model can read."""


class FolderError(CaptchaRTError, ValueError):
    """The path is no folder that can be read, or there are no pictures in the folder."""


class ArchiveError(FolderError):
    """The archive is damaged, encrypted, too large or unsafe, or there is no room to unpack it."""


class LabelError(CaptchaRTError, ValueError):
    """The labels of the pictures are missing, or could be read in several ways."""


class LowConfidenceError(CaptchaRTError, ValueError):
    """Nothing was read, or with a confidence below the smallest one that is accepted."""


class SumError(CaptchaRTError, ValueError):
    """The value of a sum was asked for, but the text is no sum, or has no whole value."""


class ModelError(CaptchaRTError):
    """The model file can't be loaded, or the model fails or returns something invalid."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """There is no file at the model's path."""


class ManifestError(ModelError, ValueError):
    """The description in the model file is missing, damaged or of an unknown version."""


class NoManifestError(ManifestError):
    """The file has no description: another program has made it, or it is cut off."""


class ScoresError(ModelError, ArithmeticError):
    """The model returned NaN or infinite scores, or probabilities that are none."""


class ProviderError(CaptchaRTError, RuntimeError):
    """The device or execution provider that was asked for is not active."""


class WorkerError(CaptchaRTError, RuntimeError):
    """A picture ended two processes that read it, or can't be sent to one; or none can start."""


class ServiceError(CaptchaRTError, RuntimeError):
    """The service can't be started as it is asked for: the port is taken, or options conflict."""


class InstallationError(CaptchaRTError, ImportError):
    """A distribution is missing, or two distributions break each other."""


def in_one_line(error: Exception) -> str:
    """Names an error of another library, with the first line of its message."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
