"""Draws captchas with one package, inside its environment: `python draw.py GENERATOR FOLDER COUNT`.

GENERATOR is one of `GENERATORS`. FOLDER gets the pictures and `labels.csv`, with the texts in the
case that the pictures show. The same versions draw the same pictures: Python's generator is seeded
before each picture, and takes the place of the system's random numbers.

The packages' own defaults hold where nothing else is said. Texts have 4 to 6 characters where that
many fit.

The script imports no other module of the benchmarks, since the environments don't have them.
"""

# ruff: noqa: S311  (the random numbers are for pictures, not for secrets)

import base64
import csv
import io
import random
import secrets
import string
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

Drawn = tuple[str, bytes]
"""The text of a picture, and its file."""

DIGITS: Final = string.digits
DIGITS_AND_CAPITALS: Final = string.digits + string.ascii_uppercase
CLEAR_CAPITALS: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
CLEAR_BOTH_CASES: Final = "23456789ABDEFGHJKLMNPQRTUYabdefghijmnqrty"
"""Characters that can be told apart: without 0, O, 1, I and l, and without the letters whose cases
differ in size alone."""

JPEG: Final = b"\xff\xd8"
"""The first bytes of a JPEG file."""

NPM_SCRIPT: Final = Path(__file__).with_name("draw.js")


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

    draw_svg = from_npm("svg-captcha")

    def draw() -> Drawn:
        text, svg = draw_svg()
        return text, bytes(resvg_py.svg_to_bytes(svg_string=svg.decode(), background="white"))

    return draw


def claptcha() -> Callable[[], Drawn]:
    """claptcha: 4 to 8 characters of both cases in one face, black."""
    import font_caladea  # type: ignore[import-not-found]  # in its environment
    from claptcha import Claptcha  # type: ignore[import-not-found]

    image = Claptcha(lambda: random_text(CLEAR_BOTH_CASES, longest=8), font_caladea.CaladeaBold)

    def draw() -> Drawn:
        text, file = image.bytes
        return text, file.getvalue()

    return draw


def kaptcha() -> Callable[[], Drawn]:
    """PyPI's kaptcha, not Java's: 4 letters of both cases, each in a colour and a face of its own.

    There are two fifths of the default's scraps, which often hide a letter.
    """
    from kaptcha import Captcha  # type: ignore[import-not-found]  # in its environment

    captcha = Captcha(chips=2, imageObj=True)

    def draw() -> Drawn:
        text, image = captcha.letter()
        return text, png(image)

    return draw


def x_captcha() -> Callable[[], Drawn]:
    """x-captcha: 4 to 8 letters and digits in colours, in pictures of three sizes."""
    import font_source_sans_pro as face  # type: ignore[import-not-found]  # it has no face
    from xcaptcha.image import Captcha  # type: ignore[import-not-found]  # in its environment

    def draw() -> Drawn:
        number, height = random.randint(4, 8), random.choice((50, 60, 70))
        size = (28 * number, height)
        text, image = Captcha(size, CLEAR_BOTH_CASES, number, face.SourceSansProSemibold).generate()
        return text, png(image)

    return draw


def util_captcha() -> Callable[[], Drawn]:
    """util-captcha as its page shows it: 4 digits and capitals on a page half transparent."""
    from util_captcha import ImageCaptcha  # type: ignore[import-not-found]  # in its environment

    image = ImageCaptcha()

    def draw() -> Drawn:
        text = random_text(CLEAR_CAPITALS, longest=4)
        image.redraw()
        image.draw_chars(text)
        image.draw_noise_curve()
        image.draw_noise_dots()
        return text, image.generate().getvalue()

    return draw


def flask_simple_captcha() -> Callable[[], Drawn]:
    """flask-simple-captcha: 6 capitals, white on black, as JPEG."""
    from flask_simple_captcha import img, text  # type: ignore[import-not-found]

    # The class also makes a token, which takes most of the time, and draws nothing.
    faces = sorted(font.path for font in text.CAPTCHA_FONTS)

    def draw() -> Drawn:
        shown = random_text(CLEAR_CAPITALS.lstrip(DIGITS), 6, 6)
        image = img.create_text_img(shown, random.choice(faces))
        return shown, base64.b64decode(img.convert_b64img(image))

    return draw


def trek_captcha() -> Callable[[], Drawn]:
    """trek-captcha: 5 small letters in one colour.

    Its GIFs don't compress at all, which captcha-rt refuses: it says to convert them to PNG.
    """
    from PIL import Image

    draw_gif = from_npm("trek-captcha")

    def draw() -> Drawn:
        text, file = draw_gif()
        return text, png(Image.open(io.BytesIO(file)))

    return draw


def captchapng() -> Callable[[], Drawn]:
    """captchapng: 4 to 8 digits without a page, in pictures of five widths."""
    return from_npm("captchapng")


GENERATORS: Final[Mapping[str, Callable[[], Callable[[], Drawn]]]] = {
    "captcha": captcha_package,
    "wheezy.captcha": wheezy_captcha,
    "django-simple-captcha": django_simple_captcha,
    "easy-captcha-python": easy_captcha,
    "multicolorcaptcha": multicolorcaptcha,
    "svg-captcha": svg_captcha,
    "claptcha": claptcha,
    "kaptcha": kaptcha,
    "x-captcha": x_captcha,
    "util-captcha": util_captcha,
    "flask-simple-captcha": flask_simple_captcha,
    "trek-captcha": trek_captcha,
    "captchapng": captchapng,
}


SEEDED: Final = {
    "choice": random.choice,
    "randbelow": random.randrange,
    "randbits": random.getrandbits,
}
"""What takes the place of the functions in `secrets`."""


def from_npm(name: str) -> Callable[[], Drawn]:
    """Draws with a package of npm, by one process of `draw.js` in the environment."""
    process: Any = subprocess.Popen(
        ["node", NPM_SCRIPT, name],  # noqa: S607  (on the PATH)
        cwd=sys.prefix,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def draw() -> Drawn:
        print(random.getrandbits(32), file=process.stdin, flush=True)
        text, _, file = process.stdout.readline().partition(" ")
        if not file:  # the process has ended, and said why
            sys.exit(f"{name} drew nothing")
        return text, base64.b64decode(file)

    return draw


def random_text(characters: str, longest: int = 6, shortest: int = 4) -> str:
    """A text of 4 or more of the characters."""
    return "".join(random.choices(characters, k=random.randint(shortest, longest)))


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
            picture_name = f"{number:04}{'.jpg' if picture.startswith(JPEG) else '.png'}"
            (folder / picture_name).write_bytes(picture)
            labels.writerow((picture_name, text))


if __name__ == "__main__":
    main()
