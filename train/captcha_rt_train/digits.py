"""The texts of documents 001's and 002's kinds: six digits."""

import numpy as np

from captcha_rt.errors import CharsetError

CHARSET = "0123456789"
LENGTH = 6


def random_text(rng: np.random.Generator) -> str:
    """Draws a text as the sources do: every digit as likely as any other."""
    return "".join(CHARSET[i] for i in rng.integers(len(CHARSET), size=LENGTH))


def check_text(text: str) -> None:
    """Refuses what can't be drawn.

    Raises:
        CharsetError: If the text has another length, or characters outside of `CHARSET`.
    """
    if len(text) != LENGTH:
        raise CharsetError(f"{text!r} has {len(text)} characters; a picture has {LENGTH}")
    if foreign := sorted(set(text) - set(CHARSET)):
        raise CharsetError(f"{text!r} has characters outside of {CHARSET!r}: {''.join(foreign)!r}")
