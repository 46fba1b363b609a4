"""Finds out how a foreign network is read: its recipe, its decoder, its blank and its characters.

What the user says counts, then what the file holds. The rest is tried on labelled pictures; nothing
is guessed in silence.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from captcha_rt.charset import Charset, shorten
from captcha_rt.progress import Watch, unwatched
from captcha_rt.recipe import Recipe
from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.alignment import UNKNOWN, is_stand_in
from captcha_rt_export.foreign.charsets import (
    charset_of,
    complete,
)
from captcha_rt_export.foreign.recipes import parse_recipe
from captcha_rt_export.foreign.trials import Trial, Trials, Way
from captcha_rt_export.foreign.ways import (
    FIRST,
    Told,
    all_ways,
    charset_for,
    class_count,
    shapes,
)

THEN: Final = 400
"""The pictures that the best ways are compared on."""

_FINALISTS = 4
_ENOUGH = 0.2  # the share of the pictures that a way has to read right, to be believed
_SURE = 0.6  # or the share of the characters, where most pictures have as many as were read
_FEWEST = 8  # labelled pictures
_MANY = 100  # characters, to show them all
_SAME = 0.01  # a difference of so many pictures is chance


@dataclass(frozen=True, slots=True)
class Reading:
    """How a network is read.

    Attributes:
        recipe: The recipe.
        charset: The characters and the blank.
        decoder: The decoder.
        length: As for `Way`.
        notes: What was tried and how sure it is, a line each.
    """

    recipe: Recipe
    charset: Charset
    decoder: str
    length: int | None
    notes: tuple[str, ...]


def find_reading(trials: Trials, told: Told, watch: Watch = unwatched) -> Reading:
    """Finds out how a network is read.

    Args:
        trials: The network, with pictures of its kind.
        told: What the user says.
        watch: Shows the progress over the ways that are tried.

    Returns:
        How it is read, with lines on what was found out.

    Raises:
        ExportError: If something can't be found out; the message names the option that says it, and
            shows what was seen.
    """
    labels = trials.labels
    if labels is None:
        _check_told(trials, told)
    elif len(labels) < _FEWEST and (untold := _untold(trials, told)) is not None:
        raise ExportError(
            f"{len(labels)} labelled pictures are too few to find out {untold[0]}; name a folder "
            f"with more by --pictures, or say it by {untold[1]}"
        )
    found = _search(trials, told, watch)
    if not found:
        raise ExportError(
            "no recipe that fits the network's input can use the pictures of --pictures: name the "
            "steps by --recipe, such as --recipe grey,scale,resize:50x200"
        )
    best = found[0]
    if labels is not None:
        _check_plausible(trials, told, found)
    charset, notes = _charset(trials, told, best)
    way = best.way
    notes = [*_recipe_notes(told, found), *_blank_notes(trials, told, found), *notes]
    return Reading(parse_recipe(way.recipe), charset, way.decoder, way.length, tuple(notes))


def _untold(trials: Trials, told: Told) -> tuple[str, str] | None:
    """What only labels can tell, and the option that says it instead."""
    if told.recipe is None:
        return "the recipe", "--recipe or --like"
    if told.charset is None and trials.network.vocabulary is None:
        return "the characters", "--charset"
    return None


def _check_told(trials: Trials, told: Told) -> None:
    """Checks that what can't be found out without labels has been said."""
    untold = _untold(trials, told)
    if untold is not None:
        what, option = untold
        raise ExportError(
            f"without labelled pictures {what} can't be found out: name them by --pictures FOLDER, "
            f"or say it by {option}; the network takes {shapes(trials)[0]} and answers "
            f"{shapes(trials)[1]}"
        )


def _search(trials: Trials, told: Told, watch: Watch = unwatched) -> list[Trial]:
    """Tries all ways that are left; the best is first."""
    rounds = ((FIRST, None), (THEN, _FINALISTS))
    ways: Iterable[Way] = all_ways(trials, told, watch)
    found: list[Trial] = []
    for count, most in rounds:
        if most is not None:
            ways = [trial.way for trial in _distinct(found)[:most]]
        every = list(ways)
        tried = [
            trials.read(way, count, charset_for(trials, told, way))
            for way in watch(iter(every), len(every))
        ]
        found = sorted((t for t in tried if t is not None), key=lambda t: t.rank, reverse=True)
    alike = [trial for trial in found if _alike(trial, found[0])]
    surest = max(alike, key=lambda trial: trial.sharpness, default=None)
    return found if surest is None else [surest, *(t for t in found if t is not surest)]


def _alike(one: Trial, other: Trial) -> bool:
    """Whether two ways read about as many pictures right, so that the number doesn't decide."""
    return abs(one.right - other.right) <= _SAME * other.total


def _distinct(found: Sequence[Trial]) -> list[Trial]:
    """Leaves out ways whose recipe makes the same of the pictures as that of a better one."""
    kept: dict[tuple[object, ...], Trial] = {}
    for trial in found:
        way = trial.way
        kept.setdefault((trial.tensors, way.decoder, way.blank, way.length), trial)
    return list(kept.values())


def _check_plausible(trials: Trials, told: Told, found: Sequence[Trial]) -> None:
    """Checks that what was found, or told, reads the labelled pictures."""
    best = found[0]
    fits = best.alignment.compared >= best.total / 2 and best.alignment.share >= _SURE
    if best.right >= best.total / 2:
        return
    _advise(trials, told, best)
    if _untold(trials, told) is None or best.right >= _ENOUGH * best.total or fits:
        return
    shown = "; ".join(
        f"{t.way.recipe} with {_in_words(t)}: {t.right} of {t.total}" for t in found[:3]
    )
    rounded = trials.network.facts.get("precision") == "int8"
    raise ExportError(
        f"no way to read the network reads the labelled pictures; the best of those tried: {shown}."
        " Say what you know by --recipe, --charset, --blank and --decoder, and see that the "
        "pictures are of the kind that it was trained on, with its labels"
        + (f". Or its 8 bits are too few. {trials.network.advice}" if rounded else "")
    )


def _advise(trials: Trials, told: Told, best: Trial) -> None:
    """Raises if one of the things known is wrong: without it, many more pictures are read right."""
    for name in ("blank", "charset", "decoder", "recipe"):
        left = _left_without(trials, told, name)
        try:
            others = [] if left is None else _search(*left)
        except ExportError:
            continue
        if not others or others[0].right < max(2 * best.right, others[0].total / 2):
            continue
        other = others[0]
        classes = class_count(trials, other.way)
        text = _written(other.alignment.characters, other.way.blank, classes)
        option = {
            "blank": f"--blank {_blank_option(other.way.blank, classes)}",
            "charset": f"--charset '{text}'",
            "decoder": f"--decoder {other.way.decoder}",
            "recipe": f"--recipe {other.way.recipe}",
        }[name]
        given = getattr(told, name) is not None
        raise ExportError(
            f"{'as told' if given else 'with the vocabulary in the file'}, {best.right} of "
            f"{best.total} pictures are read right; with another {name} {other.right} of "
            f"{other.total}: type {option}" + (f", or leave --{name} out" if given else "")
        )


def _left_without(trials: Trials, told: Told, name: str) -> tuple[Trials, Told] | None:
    """What is left without one of the things told, or without the file's vocabulary."""
    if name == "charset" and trials.network.vocabulary is not None:
        if told.charset is not None:  # it takes the vocabulary's place
            return None
        return trials.without_vocabulary(), told
    return None if getattr(told, name) is None else (trials, replace(told, **{name: None}))


def _charset(trials: Trials, told: Told, best: Trial) -> tuple[Charset, list[str]]:
    """The characters, with lines on where they are from."""
    way = best.way
    classes = class_count(trials, way)
    known = charset_for(trials, told, way)
    if known is not None:
        where = "as told" if told.charset is not None else "from the vocabulary in the file"
        shown = _shown(known.characters)
        return known, [f"characters: {where}: {shown}", *_stand_in_notes(known)]
    ids = [index for index in range(classes) if index != way.blank]
    alignment = best.alignment
    characters = dict(alignment.characters)
    added = complete(characters, ids)
    characters |= added
    text = _written(characters, way.blank, classes)
    charset = charset_of(text, way.blank, classes, "what the labels show")
    seen = sorted(alignment.characters)
    rarest = min(seen, key=lambda index: alignment.agreed[index])
    notes = [
        f"characters: found by the labels of {alignment.compared} pictures: {_shown(text)}; "
        f"{alignment.share:.1%} of {sum(alignment.seen.values())} characters agree, the rarest "
        f"({characters[rarest]}) was seen {alignment.agreed[rarest]} times"
    ]
    if added:
        named = "".join(added[index] for index in sorted(added))
        notes.append(
            f"characters: no picture shows {named}; their classes follow from the common order of "
            "the others"
        )
    doubtful = [i for i in seen if 2 * alignment.agreed[i] < alignment.seen[i]]
    notes += [
        f"characters: not sure: class {i} as {characters[i]}, "
        f"{alignment.agreed[i]} of {alignment.seen[i]} times; say it by --charset"
        for i in doubtful
    ]
    missing = sorted({c for label in trials.labels or () for c in label} - {*charset.characters})
    if missing:
        notes.append(f"characters: no class stands for {''.join(missing)}, which the labels show")
    return charset, [*notes, *_stand_in_notes(charset)]


def _stand_in_notes(charset: Charset) -> list[str]:
    """A line on the classes that stand for no character."""
    ids = [index for index in range(charset.classes) if index != charset.blank]
    none = [i for i, c in zip(ids, charset.characters, strict=True) if is_stand_in(c)]
    if not none:
        return []
    classes = "class" if len(none) == 1 else "classes"
    return [
        f"characters: {classes} {shorten(_ranges(none))}: no character is known; if one is ever "
        "read, the text holds \ufffd or a private character. To say what they are, name all in "
        "order by --charset"
    ]


def _shown(characters: str) -> str:
    """Characters for a message; of thousands, those that are known."""
    if len(characters) <= _MANY:
        return characters
    return shorten(re.sub(f"{UNKNOWN}{{4,}}", f"{UNKNOWN}…", characters))


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers in order, neighbours as `4 to 9`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(
        str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a} to {b}" for a, b in runs
    )


def _written(characters: Mapping[int, str], blank: int | None, classes: int) -> str:
    """The characters in the order of the classes, as `--charset` takes them."""
    return "".join(characters.get(i, UNKNOWN) for i in range(classes) if i != blank)


def _recipe_notes(told: Told, found: Sequence[Trial]) -> list[str]:
    """Lines on the recipe: what was tried, how sure it is."""
    best = found[0]
    figure = f"{best.right} of {best.total} pictures are read right"
    if told.recipe is not None:
        return []
    others = [t for t in found if t.way.recipe != best.way.recipe and t.tensors != best.tensors]
    notes = [f"recipe: {best.way.recipe}: {figure}"]
    if others:
        other = others[0]
        notes[0] += f"; next best: {other.way.recipe}: {other.right}"
        if _alike(other, best):
            notes.append(
                "recipe: these two read about equally well; the one with the surer answers "
                f"({best.sharpness:.4f} against {other.sharpness:.4f}) was taken: --recipe takes "
                "the other"
            )
    return notes


def _blank_notes(trials: Trials, told: Told, found: Sequence[Trial]) -> list[str]:
    """Lines on the decoder and the blank."""
    best = found[0]
    if told.decoder is not None and (told.blank is not None or best.way.decoder != "ctc"):
        return []
    where = ""
    if trials.network.decoder is not None and trials.network.blank is not None:
        where = "; the file says so"
    elif trials.labels is None:
        where = f"; {best.blanks:.0%} of the time steps hold it"
    else:
        same = [t for t in found[1:] if t.way.recipe == best.way.recipe]
        if same:
            where = f"; next best: {_in_words(same[0])}: {same[0].right} of {same[0].total}"
    return [f"decoder: {_in_words(best)}{where}"]


def _in_words(trial: Trial) -> str:
    way = trial.way
    return way.decoder if way.blank is None else f"{way.decoder}, blank {way.blank}"


def _blank_option(blank: int | None, classes: int) -> str:
    if blank is None:
        return "none"
    return {0: "first", classes - 1: "last"}.get(blank, str(blank))
