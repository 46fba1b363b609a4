"""The texts of the pictures of documents 001 and 002: six digits."""

import numpy as np

from captcha_rt.errors import CharsetError

CHARSET = "0123456789"
LENGTH = 6


def random_text(rng: np.random.Generator) -> str:
    """Draws a text of six digits, all equally likely, as in the documents' pictures."""
    return "".join(CHARSET[i] for i in rng.integers(len(CHARSET), size=LENGTH))


def check_text(text: str) -> None:
    """Checks that a text can be drawn.

    Raises:
        CharsetError: If the text has another length, or characters outside of `CHARSET`.
    """
    if len(text) != LENGTH:
        raise CharsetError(f"{text!r} has {len(text)} characters; a picture has {LENGTH}")
    if foreign := sorted(set(text) - set(CHARSET)):
        raise CharsetError(f"{text!r} has characters outside of {CHARSET!r}: {''.join(foreign)!r}")
