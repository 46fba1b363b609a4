"""The ways to read a foreign network that its file, and what the user says of it, leave open."""

from dataclasses import dataclass, replace
from typing import Final

from captcha_rt.charset import Charset
from captcha_rt.progress import Watch, unwatched
from captcha_rt.recipe import Recipe
from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.candidates import candidates
from captcha_rt_export.foreign.charsets import characters_of, charset_of, parse_blank
from captcha_rt_export.foreign.recipes import in_short
from captcha_rt_export.foreign.surgery import shape_of
from captcha_rt_export.foreign.trials import Trials, Way

FIRST: Final = 32
"""The pictures that all ways are tried on."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the user says of a network.

    Attributes:
        recipe: The recipe.
        charset: The characters in the order of the classes, without the blank; U+FFFD stands for a
            class that means no character.
        blank: `first`, `last`, `none` or a class's number.
        decoder: A name in `DECODERS`.
    """

    recipe: Recipe | None = None
    charset: str | None = None
    blank: str | None = None
    decoder: str | None = None


def shapes(trials: Trials) -> tuple[str, str]:
    """The shapes of the network's input and output, for messages."""
    graph = trials.network.graph.graph
    both = (shape_of(graph.input[0]), shape_of(graph.output[0]))
    one, other = (
        "(" + ", ".join("N" if size is None else str(size) for size in shape) + ")"
        for shape in both
    )
    return one, other


def all_ways(trials: Trials, told: Told, watch: Watch = unwatched) -> list[Way]:
    """All ways to read a network that what is told leaves."""
    ways = []
    decoders = _decoders(trials, told)
    _check_charset(trials, told, decoders)
    for decoder, length in decoders:
        if told.recipe is not None:
            recipes = [in_short(told.recipe)]
        else:
            glyphs = length if decoder == "glyph" else None
            recipes = candidates(shape_of(trials.network.graph.graph.input[0])[1:], glyphs)
        for recipe in watch(iter(recipes), len(recipes)):
            way = Way(recipe, decoder, None, length)
            ways += [replace(way, blank=blank) for blank in _blanks(trials, told, way)]
    fitting = [way for way in ways if _has_room(trials, told, way)]
    if trials.labels is None and len({(way.decoder, way.blank) for way in fitting}) > 1:
        raise ExportError(
            f"the output is {shapes(trials)[1]}: say whether its axis is one of time steps, by "
            "--decoder ctc, or holds one softmax for each character, by --decoder position"
        )
    return fitting or ways[:1]


def _check_charset(trials: Trials, told: Told, decoders: list[tuple[str, int | None]]) -> None:
    """Refuses characters that are told and fit no decoder, before anything is tried."""
    if told.charset is None:
        return
    count = len(told.charset)
    every = [(name, class_count(trials, Way("", name, None, length))) for name, length in decoders]
    fitting = [(name, classes) for name, classes in every if count in (classes, classes - 1)]
    decoder, classes = (fitting or every)[0]
    blank = count != classes if fitting else decoder == "ctc"
    charset_of(told.charset, classes - 1 if blank else None, classes, f"--charset {told.charset}")


def _has_room(trials: Trials, told: Told, way: Way) -> bool:
    """Whether a way has as many classes as there are characters, where these are known."""
    try:
        charset_for(trials, told, way)
    except ExportError:
        return False
    return True


def _decoders(trials: Trials, told: Told) -> list[tuple[str, int | None]]:
    """The decoders that the output's axes leave, each with `Way.length`."""
    shape = shape_of(trials.network.graph.graph.output[0])[1:]
    wanted = told.decoder or trials.network.decoder
    if len(shape) == 2:
        if wanted == "glyph":
            raise ExportError(
                f"--decoder glyph needs an output (N, C), not {shapes(trials)[1]}: type --decoder "
                "ctc, or position for one softmax a character"
            )
        return [(wanted, None)] if wanted else [("ctc", None), ("position", None)]
    if wanted == "ctc":
        raise ExportError(
            f"--decoder ctc needs an output (N, T, C), not {shapes(trials)[1]}: type --decoder "
            "position, or glyph where pictures are cut into characters"
        )
    wanted = told.decoder  # a file doesn't tell whether a picture is cut into rows
    counts = _glyph_count(told.recipe)
    if counts is not None:
        return [("glyph", counts)]
    lengths = _lengths(trials, told, int(shape[0] or 0))
    found: list[tuple[str, int | None]] = [("position", length) for length in lengths]
    if told.recipe is None and trials.labels is not None:
        shown = {len(label) for label in trials.labels}
        found += [("glyph", length) for length in shown if len(shown) == 1 and length > 1]
    found = [pair for pair in found if wanted in (None, pair[0])]
    if not found:
        raise ExportError(
            f"the output is {shapes(trials)[1]}, of one or several characters: say which they are "
            "by --charset, or name labelled pictures whose texts are equally long by --pictures"
        )
    return found


def _glyph_count(recipe: Recipe | None) -> int | None:
    steps = recipe.to_json() if recipe is not None else []
    return next((step["count"] for step in steps if step["step"] == "glyphs"), None)


def _lengths(trials: Trials, told: Told, classes: int) -> list[int]:
    """How many characters the scores `(N, C)` of a picture may be for."""
    characters = told.charset or trials.network.vocabulary
    if characters is not None:
        return [classes // len(characters)] if classes % len(characters) == 0 else [1]
    shown = {len(label) for label in trials.labels or ()}
    return [length for length in shown if len(shown) == 1 and classes % length == 0]


def _blanks(trials: Trials, told: Told, way: Way) -> list[int | None]:
    """The classes that may be the blank."""
    classes = class_count(trials, way)
    if told.blank is not None:
        blank = parse_blank(told.blank, classes)
        if blank is None and way.decoder == "ctc":
            if told.decoder == "ctc" or trials.network.decoder == "ctc":
                raise ExportError("CTC needs a blank: type --blank first or --blank last")
            return []
        return [blank]
    if trials.network.blank is not None and way.decoder == "ctc":
        return [trials.network.blank]
    if way.decoder == "ctc":
        often = trials.most_frequent(way, FIRST)
        if trials.labels is None:
            return [_blank_without_labels(often, classes)]
        return list(dict.fromkeys([classes - 1, 0, *([often] if often is not None else [])]))
    if told.charset is not None or trials.network.vocabulary is not None:
        characters = len(told.charset or trials.network.vocabulary or "")
        return [None] if characters == classes else [0, classes - 1]
    lengths = {len(label) for label in trials.labels or ()}
    # Shorter texts are filled up by a class of their own.
    return [None] if len(lengths) == 1 else [None, 0, classes - 1]


def _blank_without_labels(often: int | None, classes: int) -> int:
    """The blank of a CTC network, from its answers alone: nearly all have most time steps blank."""
    if often in (0, classes - 1):
        assert often is not None  # noqa: S101  (for mypy)
        return often
    raise ExportError(
        f"the blank is no common class: on the pictures class {often} is the most frequent of "
        f"{classes}; say which it is by --blank first or --blank last"
    )


def class_count(trials: Trials, way: Way) -> int:
    """The number of classes of a character, the blank's included."""
    shape = shape_of(trials.network.graph.graph.output[0])[1:]
    classes = int(shape[-1] or 0)
    return classes // way.length if way.length and way.decoder == "position" else classes


def charset_for(trials: Trials, told: Told, way: Way) -> Charset | None:
    """The characters, where they are told or the file holds them."""
    classes = class_count(trials, way)
    if told.charset is not None:
        return charset_of(told.charset, way.blank, classes, f"--charset {told.charset}")
    vocabulary = trials.network.vocabulary
    if vocabulary is None:
        return None
    characters = characters_of(vocabulary)
    if way.blank is not None and len(characters) == classes:  # the blank is one of them
        characters = characters[: way.blank] + characters[way.blank + 1 :]
    return charset_of(characters, way.blank, classes, "the vocabulary in the file")
