"""The value of a text that is a sum, such as `3+5=?`."""

import re
from typing import Final

_SIGNS: Final = {  # ASCII, full width, other forms, Chinese
    **dict.fromkeys("+\uff0b\u52a0", "+"),
    **dict.fromkeys("-\uff0d\u2010\u2013\u2014\u2212\u51cf\u6e1b", "-"),
    **dict.fromkeys("*\uff0a\u00d7\u2715\u00b7xX\u4e58", "*"),
    **dict.fromkeys("/\uff0f\u00f7\u9664", "/"),
}
_NUMBER: Final = r"([0-9]{1,9})"
_SIGN: Final = f"([{re.escape(''.join(_SIGNS))}])"
_SUM: Final = rf"{_NUMBER}((?:{_SIGN}{_NUMBER})+)([=\uff1d]?[?\uff1f]?)"


def value_of(text: str) -> int | None:
    """Works out a sum of whole numbers, as captchas show them.

    Multiplication and division come before addition and subtraction. An equals sign and a question
    mark at the end, and spaces, have no meaning. A letter x multiplies only where one of the two
    marks the text as a sum: `3x5` may as well be a text of three characters.

    Args:
        text: What was read, such as `3+5=?`, `12*4=` or `7-9`.

    Returns:
        The value; None if the text is no sum, or a division has a remainder.
    """
    found = re.fullmatch(_SUM, "".join(text.split()))
    if found is None or ("x" in text.lower() and not found[5]):
        return None
    terms = [int(found[1])]  # what is added up in the end
    for sign, digits in re.findall(_SIGN + _NUMBER, found[2]):
        number = int(digits)
        match _SIGNS[sign]:
            case "+":
                terms.append(number)
            case "-":
                terms.append(-number)
            case "*":
                terms[-1] *= number
            case _:
                if number == 0 or terms[-1] % number:
                    return None
                terms[-1] //= number
    return sum(terms)
