"""What the generators of six digits share."""

from collections import Counter
from types import ModuleType

import numpy as np
import pytest

from captcha_rt.errors import CharsetError
from captcha_rt_train.generators import metu, simplecaptcha
from captcha_rt_train.generators.digits import CHARSET, LENGTH, random_text


def test_random_text_is_uniform() -> None:
    """Texts are six digits, each as frequent as any other."""
    generator = np.random.default_rng(1)
    texts = [random_text(generator) for _ in range(4000)]
    counts = Counter("".join(texts))
    assert {len(text) for text in texts} == {LENGTH}
    assert set(counts) == set(CHARSET)
    # 24,000 draws: 2,400 of each; 160 is more than three deviations.
    assert all(abs(count - 2400) < 160 for count in counts.values())


@pytest.mark.parametrize("kind", [metu, simplecaptcha])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 characters"),
        ("12345", "5 characters; a picture has 6"),
        ("1234567", "7 characters"),
        ("12a4b5", "'ab'"),
        ("12345²", "'²'"),  # a digit for str.isdigit
    ],
)
def test_refuses_what_cannot_be_drawn(kind: ModuleType, text: str, message: str) -> None:
    """A text of another length or with foreign characters is refused with what is wrong."""
    with pytest.raises(CharsetError, match=message):
        kind.draw(text, np.random.default_rng())
