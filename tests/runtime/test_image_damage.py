"""Damaged JPEG, WebP and BMP files are refused or doubted, and good ones never are."""

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from captcha_rt import Solver
from captcha_rt.diagnostics.explain import explain
from captcha_rt.errors import ImageDecodeError
from captcha_rt.image import decode_image, open_image

RNG = np.random.default_rng(3)
HEIGHT, WIDTH = 50, 140


def drawn(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """A word on a light ground with noise, BGR."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(190, 256, (height, width, 3), np.uint8)
    cv2.putText(picture, "aKx42", (5, height - 12), 0, height / 40, (40, 20, 90), 3)
    return picture


def encoded(suffix: str, picture: NDArray[np.uint8], *options: int) -> bytes:
    """What OpenCV writes."""
    return bytes(cv2.imencode(suffix, picture, options)[1].tobytes())


KINDS = {
    "4:2:0": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
    "4:2:2": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
    "4:4:4": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    "4:4:0": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440),
    "4:1:1": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411),
    "optimised": (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    "progressive": (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts": (cv2.IMWRITE_JPEG_RST_INTERVAL, 7),
    "a restart after each unit": (cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    "progressive with restarts": (
        *(cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        *(cv2.IMWRITE_JPEG_RST_INTERVAL, 5),
    ),
}


def good_pictures() -> Iterator[NDArray[np.uint8]]:
    """Pictures of many sizes and levels, also those that look like what libjpeg fills up with."""
    yield from (drawn(seed, *size) for seed, size in enumerate([(50, 140), (48, 144), (9, 3)]))
    yield np.full((33, 70, 3), 128, np.uint8)
    yield np.full((1, 1, 3), 255, np.uint8)
    yield np.full((7, 60, 3), 255, np.uint8)  # lower than a block
    grey_at_the_end = drawn(5)
    grey_at_the_end[30:] = 128
    yield grey_at_the_end


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quality", [30, 75, 100])
def test_good_jpegs_are_read_as_opencv_reads_them(
    kind: str, quality: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """No good JPEG is refused, each comes out as OpenCV's own decoder has it, and in silence."""
    for picture in good_pictures():
        for shown in (picture, picture[..., 0]):
            data = encoded(".jpg", shown, cv2.IMWRITE_JPEG_QUALITY, quality, *KINDS[kind])
            expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
            found = decode_image(data)
            np.testing.assert_array_equal(
                found if found.shape[2] == 3 else np.repeat(found, 3, 2), expected
            )
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("quality", [5, 60, 100, 101])
def test_good_webps_are_read(quality: int) -> None:
    """No good WebP is refused, lossy or lossless (101)."""
    for picture in good_pictures():
        data = encoded(".webp", picture, cv2.IMWRITE_WEBP_QUALITY, quality)
        assert decode_image(data).shape == picture.shape


def start_of(data: bytes) -> int:
    """Where the coded data of a JPEG's first scan begins."""
    at = data.index(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


DAMAGES: dict[str, Callable[[bytes, int], bytes]] = {
    "a piece is missing": lambda data, at: data[:at] + data[at + 40 :],
    "a piece stands twice": lambda data, at: data[: at + 40] + data[at:],
    "the rest is missing": lambda data, at: data[:at] + b"\xff\xd9",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_jpegs(kind: str, damage: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A JPEG with a piece too few or too many is refused, wherever it is, and in silence."""
    data = encoded(".jpg", drawn(), *KINDS[kind])
    start = start_of(data)
    places = np.linspace(start + 30, len(data) - 90, 24).astype(int)
    whole, read = decode_image(data)[:-16], 0  # the last row of units has little of the text
    for at in places:
        try:
            found = decode_image(DAMAGES[damage](data, at))[:-16]
            read += (np.abs(found.astype(int) - whole) > 60).mean() > 0.1
        except ImageDecodeError as error:
            assert str(error).startswith("JPEG")  # noqa: PT017
    # A few end by chance where the picture does.
    # Not all that scans that refine leave over is seen.
    assert read <= (6 if "progressive" in kind else 3)
    assert capfd.readouterr().err == ""


def test_levels_beyond_white() -> None:
    """A JPEG whose blocks get ever brighter, beyond white, is refused."""
    steps = np.repeat(np.tile([40, 200], 9), 8)[None, :].repeat(16, 0).astype(np.uint8)
    data = encoded(".jpg", steps, cv2.IMWRITE_JPEG_QUALITY, 80)
    decode_image(data)
    start = start_of(data)
    refused = 0
    for bit in range(8 * 20):  # among these are the signs of differences
        changed = bytearray(data)
        changed[start + bit // 8] ^= 0x80 >> bit % 8
        try:
            decode_image(bytes(changed))
        except ImageDecodeError as error:
            refused += "levels beyond black and white" in str(error)
    assert refused >= 50  # in half of the files nothing is left over or missing


@pytest.mark.parametrize(("find", "put"), [(b"\xff\xd2", b"\xff\xd3"), (b"\xff\xd1", b"")])
def test_restart_markers(find: bytes, put: bytes) -> None:
    """Restart markers in a wrong order, or too few, are damage."""
    data = encoded(".jpg", drawn(), cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
    with pytest.raises(ImageDecodeError, match=r"JPEG damaged: .*restart markers"):
        decode_image(data.replace(find, put, 1))


@pytest.mark.parametrize("place", [1, 4], ids=["the kind of its code", "the depth"])
@pytest.mark.parametrize("kind", ["4:4:4", "progressive"])
def test_flipped_bits_in_the_frame_header(
    kind: str, place: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """A JPEG of another code or depth than its data has is refused, or read as it was, silently."""
    data = encoded(".jpg", drawn(), *KINDS[kind])
    at = data.index(b"\xff\xc2" if kind == "progressive" else b"\xff\xc0")
    for bit in range(8):
        changed = bytearray(data)
        changed[at + place] ^= 1 << bit
        with suppress(ImageDecodeError):
            np.testing.assert_array_equal(decode_image(bytes(changed)), decode_image(data))
    assert capfd.readouterr().err == ""


def cmyk(seed: int = 0, transform: int = 0, **options: object) -> bytes:
    """A JPEG in CMYK, or with the transform 2 in YCCK, as Pillow writes it."""
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    inks = np.dstack([drawn(seed), RNG.integers(0, 90, (HEIGHT, WIDTH), np.uint8)])
    file = io.BytesIO()
    pillow.fromarray(cv2.blur(inks, (3, 3)), "CMYK").save(file, "JPEG", **options)
    head, _, rest = file.getvalue().partition(b"Adobe")
    return head + b"Adobe" + rest[:6] + bytes((transform,)) + rest[7:]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("transform", [0, 2], ids=["CMYK", "YCCK"])
def test_cmyk(transform: int, progressive: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """A good JPEG of CMYK is read as OpenCV reads it, a damaged one mostly refused, in silence."""
    data = cmyk(0, transform, quality=80, progressive=progressive)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(decode_image(data), expected)
    wrong = 0
    for at in np.linspace(start_of(data) + 30, len(data) - 90, 60).astype(int):
        for damage in DAMAGES.values():
            try:
                wrong += not np.array_equal(decode_image(damage(data, at)), expected)
            except ImageDecodeError:
                continue
    assert wrong <= (60 if progressive else 3)
    assert capfd.readouterr().err == ""


def test_jpegs_that_are_not_read(capfd: pytest.CaptureFixture[str]) -> None:
    """An arithmetic code, two components, and CMYK with fewer colours are refused in one line."""
    data = encoded(".jpg", drawn())
    frame, tables = data.index(b"\xff\xc0"), data.index(b"\xff\xc4")
    arithmetic = (
        data[: frame + 1] + b"\xc9" + data[frame + 2 : tables] + data[start_of(data) - 14 :]
    )
    with pytest.raises(
        ImageDecodeError, match=r"^JPEG with a lossless or an arithmetic code: conv"
    ):
        decode_image(arithmetic)
    two = data[: frame + 3] + b"\x0e" + data[frame + 4 : frame + 9] + b"\2" + data[frame + 10 :]
    with pytest.raises(ImageDecodeError, match=r"^JPEG damaged: "):
        decode_image(two)
    inks = cmyk()
    factors = inks.index(b"\xff\xc0") + 11
    with pytest.raises(ImageDecodeError, match=r"^JPEG of CMYK with fewer colours than pixels: co"):
        decode_image(inks[:factors] + b"\x22" + inks[factors + 1 :])
    assert capfd.readouterr().err == ""


def test_jpegs_with_the_same_head() -> None:
    """What is read once for many JPEGs is only what comes before their data, and no limit."""
    files = [encoded(".jpg", drawn(seed)) for seed in range(3)]
    assert len({file[: start_of(file)] for file in files}) == 1
    for seed, file in enumerate(files):
        assert np.abs(decode_image(file)[..., ::-1].astype(int) - drawn(seed)).mean() < 12
        with pytest.raises(ImageDecodeError, match=r"data is (missing|left over)"):
            decode_image(file[:-400] + b"\xff\xd9")
        with pytest.raises(ImageDecodeError, match="more than max_pixels=99"):
            decode_image(file, max_pixels=99)
    thumbnail = b"Exif\0\0" + files[1]
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    with_thumbnail = files[0][:2] + segment + files[0][2:]
    np.testing.assert_array_equal(decode_image(with_thumbnail), decode_image(files[0]))


def test_a_jpeg_whose_text_moves() -> None:
    """Units in one colour that stand twice are damage, though those left over show no more."""
    picture = np.full((64, 144, 3), 200, np.uint8)
    picture[20:44] = drawn(0, 24, 144)
    data = encoded(".jpg", picture)
    at = start_of(data) + 20
    assert data[at : at + 4] == data[at + 4 : at + 8]  # a unit takes 32 bits
    decode_image(data)
    for units in (1, 2, 3):
        with pytest.raises(ImageDecodeError, match="data is left over"):
            decode_image(data[: at + 4 * units] + data[at:])


@pytest.mark.parametrize("quality", [50, 90])
def test_damaged_webps(quality: int) -> None:
    """Hardly a lossy WebP with a flipped bit is read, since its data ends somewhere else."""
    data = encoded(".webp", drawn(), cv2.IMWRITE_WEBP_QUALITY, quality)
    expected, wrong = decode_image(data), 0
    for at in np.linspace(80, len(data) - 40, 150).astype(int):
        changed = bytearray(data)
        changed[at] ^= 8
        try:
            wrong += not np.array_equal(decode_image(bytes(changed)), expected)
        except ImageDecodeError:
            continue
    assert wrong <= 1  # without the check of the end about 75


def test_bytes_that_fall_behind_the_end_of_a_webp() -> None:
    """A piece that stands twice moves others behind the end, where libwebp still reads them."""
    data = encoded(".webp", drawn(), cv2.IMWRITE_WEBP_QUALITY, 80)
    assert decode_image(data + b"anything").shape == (HEIGHT, WIDTH, 3)
    for at in np.linspace(400, len(data) - 60, 30).astype(int):
        with pytest.raises(ImageDecodeError):
            decode_image(data[: at + 40] + data[at:])


def test_zeros_at_the_end_of_a_webp() -> None:
    """Over zeros a decoder that is out of step comes to an end like that of a good file.

    A good picture may end with zeros, too: those of many blocks in one colour.
    """
    picture = cv2.copyMakeBorder(drawn(), 0, 300, 0, 0, cv2.BORDER_CONSTANT, value=(255,) * 3)
    for quality in range(0, 101, 10):
        decode_image(encoded(".webp", picture, cv2.IMWRITE_WEBP_QUALITY, quality))
    data = encoded(".webp", drawn(), cv2.IMWRITE_WEBP_QUALITY, 80)
    for zeros in range(100, 1200, 50):
        with pytest.raises(ImageDecodeError):
            decode_image(data[:-zeros] + bytes(zeros))


def test_alpha_of_a_webp_that_ends_too_early() -> None:
    """Good WebPs with alpha are read; data left over behind the alpha plane is refused."""
    picture = np.dstack([drawn(), RNG.integers(0, 256, (HEIGHT, WIDTH), np.uint8)])
    data = encoded(".webp", picture, cv2.IMWRITE_WEBP_QUALITY, 70)
    assert decode_image(data).shape == picture.shape
    at = data.index(b"ALPH")
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    body = data[at + 8 : at + 8 + size] + bytes(range(20))
    rest = data[at + 8 + size + size % 2 :]
    longer = data[12:at] + b"ALPH" + len(body).to_bytes(4, "little") + body
    longer += bytes(len(body) % 2) + rest
    file = b"RIFF" + (4 + len(longer)).to_bytes(4, "little") + b"WEBP" + longer
    with pytest.raises(ImageDecodeError, match="data is left over"):
        decode_image(file)


def lossless(picture: NDArray[np.uint8]) -> bytes:
    """A lossless WebP."""
    return encoded(".webp", picture, cv2.IMWRITE_WEBP_QUALITY, 101)


def test_lossless_webps_that_look_damaged() -> None:
    """A text in a lossless WebP whose levels run over has to be read more surely than others."""
    rng, solver, asked, limits = np.random.default_rng(1), Solver(), 0, set()
    for path in sorted((Path(__file__).parents[1] / "samples").glob("*.png")):
        data = lossless(decode_image(path))
        whole = solver.solve(data)
        assert whole.accepted
        assert not open_image(data).doubtful
        for _ in range(80):
            damaged = bytearray(data)
            damaged[int(rng.integers(60, len(data)))] ^= 1 << int(rng.integers(8))
            with suppress(ImageDecodeError):
                if open_image(bytes(damaged)).doubtful:
                    asked += 1
                    limits.add(solver.solve(bytes(damaged)).min_confidence)
                    limits.add(solver.solve_batch([bytes(damaged)])[0].min_confidence)
                    explained = explain(solver, bytes(damaged)).answer
                    assert explained is not None
                    limits.add(explained.min_confidence)
    assert asked > 10
    assert min(limits) > whole.min_confidence


@pytest.mark.parametrize("levels", [(0, 255), (3, 252), (20, 240)])
def test_sharp_edges_are_no_damage(levels: tuple[int, int]) -> None:
    """Lossless WebPs of black text on white, and of specks all over, don't look damaged."""
    dark, light = levels
    picture = np.full((HEIGHT, WIDTH, 3), light, np.uint8)
    cv2.putText(picture, "aKx42", (5, HEIGHT - 12), 0, HEIGHT / 40, (dark,) * 3, 3)
    picture[..., 1] -= np.arange(HEIGHT, dtype=np.uint8)[:, None] % 3  # too many for a palette
    assert not open_image(lossless(picture)).doubtful
    picture[RNG.random((HEIGHT, WIDTH)) < 0.1] = dark
    assert not open_image(lossless(picture)).doubtful


def test_lossless_webps_with_a_piece_too_many() -> None:
    """Data behind the end of a lossless WebP is that of a piece that stands twice; text is none."""
    data = lossless(drawn())
    for rest in (b"\0" * 12, b"\r\n", b"\n<!-- page -->\n"):
        assert decode_image(data + rest).shape == (HEIGHT, WIDTH, 3)
    for size in (9, 400):
        with pytest.raises(ImageDecodeError):
            decode_image(data[: 3000 + size] + data[3000:])
    with pytest.raises(ImageDecodeError, match="40 bytes more than its header says"):
        decode_image(data + bytes(range(1, 41)))


@pytest.mark.parametrize("quality", [20, 60, 95])
def test_lossy_webps_that_look_damaged(quality: int) -> None:
    """A lossy WebP whose blocks don't fit to each other from some block on is in doubt."""
    rng = np.random.default_rng(quality)
    for path in sorted((Path(__file__).parents[1] / "samples").glob("*.png")):
        picture = np.repeat(decode_image(path), 3, axis=2)
        whole = encoded(".webp", picture, cv2.IMWRITE_WEBP_QUALITY, quality)
        assert not open_image(whole).doubtful
        torn = decode_image(whole).copy()
        blocks = rng.integers(0, 256, (5, 50, 1)).repeat(4, 0).repeat(4, 1)
        blocks = blocks + rng.normal(0, 10, blocks.shape)
        torn[30:] = blocks.clip(0, 255)
        file = encoded(".webp", torn, cv2.IMWRITE_WEBP_QUALITY, 100)
        assert open_image(file).doubtful


def test_bmps_with_a_piece_too_many() -> None:
    """Pixels behind the end of a BMP are those of a piece that stands twice; padding is none."""
    data = encoded(".bmp", drawn())
    for rest in (b"\0\0", b"\r\n", b"\n<!-- page -->\n"):
        assert decode_image(data + rest).shape == (HEIGHT, WIDTH, 3)
    for size in (1, 5, 400):
        with pytest.raises(ImageDecodeError, match=f"{size} bytes more than its header says"):
            decode_image(data[: 3000 + size] + data[3000:])
    longer = data[:2] + (len(data) + 40).to_bytes(4, "little") + data[6:] + bytes(range(40))
    assert decode_image(longer).shape == (HEIGHT, WIDTH, 3)  # its header counts what follows
