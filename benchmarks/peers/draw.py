"""Draws captchas with one package, inside its environment: `python draw.py GENERATOR FOLDER COUNT`.

GENERATOR is one of `GENERATORS`. FOLDER gets the pictures and `labels.csv`, with the texts in the
case that the pictures show. The same versions draw the same pictures: Python's generator is seeded
before each picture, and takes the place of the system's random numbers.

The packages' own defaults hold where nothing else is said. Texts have 4 to 6 characters where that
many fit.

The script imports no other module of the benchmarks, since the environments don't have them.
"""

# ruff: noqa: S311  (the random numbers are for pictures, not for secrets)

import csv
import io
import random
import secrets
import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

Drawn = tuple[str, bytes]
"""The text of a picture, and its PNG file."""

DIGITS: Final = string.digits
DIGITS_AND_CAPITALS: Final = string.digits + string.ascii_uppercase

# The script's second argument is the number that seeds `Math.random`, with the generator
# "mulberry32". The options are those that the package's page shows.
SVG_SCRIPT: Final = """
let state = Number(process.argv[1]);
Math.random = () => {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};
const any = (...values) => values[Math.floor(Math.random() * values.length)];
const captcha = require("svg-captcha").create({
  size: any(4, 5, 6), noise: any(1, 2, 3), color: any(false, true), ignoreChars: "0o1i",
});
process.stdout.write(captcha.text + captcha.data);
"""


def captcha_package() -> Callable[[], Drawn]:
    """Lepture's `captcha`: digits, or digits and capitals."""
    from captcha.image import ImageCaptcha

    image = ImageCaptcha()

    def draw() -> Drawn:
        text = random_text(random.choice((DIGITS, DIGITS_AND_CAPITALS)))
        return text, image.generate(text).getvalue()

    return draw


def wheezy_captcha() -> Callable[[], Drawn]:
    """wheezy.captcha as its page shows it, in Roboto: the package has no face of its own.

    Texts have 4 characters, as there: more don't fit into its default size.
    """
    import font_roboto  # type: ignore[import-not-found]  # in its environment
    from wheezy.captcha import image  # type: ignore[import-not-found]

    letters = image.text(
        fonts=[font_roboto.RobotoBold, font_roboto.RobotoMedium],
        drawings=[image.warp(), image.rotate(), image.offset()],
    )
    picture = image.captcha(
        drawings=[image.background(), letters, image.curve(), image.noise(), image.smooth()]
    )

    def draw() -> Drawn:
        text = random_text(random.choice((DIGITS, DIGITS_AND_CAPITALS)), longest=4)
        return text, png(picture(text))

    return draw


def django_simple_captcha() -> Callable[[], Drawn]:
    """django-simple-captcha: capitals."""
    import django  # type: ignore[import-not-found]  # in its environment
    from django.conf import settings  # type: ignore[import-not-found]

    settings.configure(INSTALLED_APPS=["captcha"])
    django.setup()
    from captcha import views  # type: ignore[attr-defined]  # Lepture's has the same name

    def draw() -> Drawn:
        text = random_text(string.ascii_uppercase)
        # The view takes its text from the database, of which it needs nothing else.
        return text, views._captcha_image(SimpleNamespace(challenge=text), scale=1).content

    return draw


def easy_captcha() -> Callable[[], Drawn]:
    """easy-captcha-python: letters and digits that can be told apart, in one of its ten faces."""
    from easy_captcha import SpecCaptcha  # type: ignore[import-not-found]  # in its environment

    def draw() -> Drawn:
        captcha = SpecCaptcha(length=random.randint(4, 6))
        captcha.set_font(random.randrange(10))
        file = io.BytesIO()
        captcha.out(file)
        return captcha.text(), file.getvalue()

    return draw


def multicolorcaptcha() -> Callable[[], Drawn]:
    """multicolorcaptcha: 4 digits, or digits and capitals, on one colour or a colour for each."""
    from multicolorcaptcha import CaptchaGenerator  # type: ignore[import-not-found]

    generator = CaptchaGenerator()
    generator.l_fonts.sort()  # they come in the order of the folder

    def draw() -> Drawn:
        captcha = generator.gen_captcha_image(
            chars_mode=random.choice(("nums", "ascii")), multicolor=random.choice((False, True))
        )
        return captcha.characters, png(captcha.image)

    return draw


def svg_captcha() -> Callable[[], Drawn]:
    """svg-captcha, which has no background, on white: letters and digits."""
    import resvg_py  # type: ignore[import-not-found]  # in its environment

    def draw() -> Drawn:
        drawn = subprocess.run(
            ["node", "-e", SVG_SCRIPT, str(random.getrandbits(32))],  # noqa: S607  (on the PATH)
            cwd=sys.prefix,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        text, start, rest = drawn.partition("<svg ")
        return text, bytes(resvg_py.svg_to_bytes(svg_string=start + rest, background="white"))

    return draw


GENERATORS: Final = {
    "captcha": captcha_package,
    "wheezy.captcha": wheezy_captcha,
    "django-simple-captcha": django_simple_captcha,
    "easy-captcha-python": easy_captcha,
    "multicolorcaptcha": multicolorcaptcha,
    "svg-captcha": svg_captcha,
}


SEEDED: Final = {
    "choice": random.choice,
    "randbelow": random.randrange,
    "randbits": random.getrandbits,
}
"""What takes the place of the functions in `secrets`."""


def random_text(characters: str, longest: int = 6) -> str:
    """A text of 4 or more of the characters."""
    return "".join(random.choices(characters, k=random.randint(4, longest)))


def png(image: Any) -> bytes:  # noqa: ANN401  (a Pillow image, which mypy doesn't know here)
    """A Pillow image as a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def main() -> None:
    """Draws the pictures and writes the labels."""
    name, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    for drawing, seeded in SEEDED.items():
        setattr(secrets, drawing, seeded)
    draw = GENERATORS[name]()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        labels = csv.writer(file)
        labels.writerow(("image", "label"))
        for number in range(count):
            random.seed(f"{name} {number}")
            text, picture = draw()
            (folder / f"{number:04}.png").write_bytes(picture)
            labels.writerow((f"{number:04}.png", text))


if __name__ == "__main__":
    main()
