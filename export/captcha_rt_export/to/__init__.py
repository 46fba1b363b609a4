"""Takes a model along: writes it in the forms that other programs load.

Each form is a module with a function `write`, which checks what it makes on pictures before it
writes. A new form is a module and a row in `FORMS`.
"""

from importlib import import_module
from pathlib import Path
from typing import Final, Literal

from captcha_rt_export.backend import set_up_keras
from captcha_rt_export.to.source import Source, Taken

Form = Literal["ddddocr", "keras", "tflite", "triton"]

FORMS: Final[dict[Form, str]] = {
    "ddddocr": "ddddocr",
    "keras": "keras_model",
    "tflite": "tflite",
    "triton": "triton",
}
"""The forms, and their modules here. A module is imported when it is used: some need TensorFlow."""


def take_along(source: Source, form: Form, out: Path) -> Taken:
    """Writes a model in another program's form.

    Args:
        source: The model.
        form: A key of `FORMS`.
        out: The file to write, or the folder to make; it appears whole or not at all.

    Returns:
        What was made and checked.

    Raises:
        ExportError: If the form can't hold the model, or reads other texts.
        CaptchaRTError: If the model or a picture can't be read; a form's `write` says which errors.
        OSError: If nothing can be written there.
    """
    if form in ("tflite", "keras"):
        set_up_keras("tensorflow")  # before their modules import Keras
    module = import_module(f"{__name__}.{FORMS[form]}")
    taken: Taken = module.write(source, out)
    return taken
