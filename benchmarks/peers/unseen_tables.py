"""The result of `unseen.py` in tables and words."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from benchmarks import markdown
from benchmarks.harness import OURS, Result

RANGE: Final = ", range"
"""How the name of a system ends that knows the set's characters."""

MEANS: Final = {
    "drawn": "mean of the drawn kinds",
    "foreign": "mean of the real kinds",
    "unseen": "mean of the kinds that nobody was trained on",
    "trained": "mean of the kinds marked *",
}


def table(result: Result) -> str:
    """The result in tables and lists, in Markdown."""
    plain, ranged = systems_of(result, ranged=False), systems_of(result, ranged=True)
    return "\n".join(
        [
            f"Exact match, case ignored. captcha-rt was trained on the kinds marked {star()}.\n",
            accuracy_table(result, plain),
            "The same, where each system knows the set's characters:\n",
            accuracy_table(result, ranged),
            "CPU time a picture, from the file's bytes to the text:\n",
            time_table(result, plain),
            "Of captcha-rt's own answers:\n",
            accepted_table(result),
            "Where another system reads more:\n",
            markdown.bullets(leads(result, ours=False)),
            "Where captcha-rt reads as many or more:\n",
            markdown.bullets(leads(result, ours=True)),
            "The settings:\n",
            markdown.bullets(settings(result)),
        ]
    )


def star() -> str:
    """The mark of the sets that captcha-rt was trained on."""
    return "\\*"


def systems_of(result: Result, *, ranged: bool) -> dict[str, Any]:
    """The measured systems that know the set's characters, or those that don't, by name."""
    return {
        name: entry
        for name, entry in result["systems"].items()
        if "sets" in entry and name.endswith(RANGE) == ranged
    }


def title(result: Result, name: str) -> str:
    """A set's name, marked if captcha-rt was trained on its kind."""
    return f"{name} {star()}" if result["sets"][name]["group"] == "trained" else name


def accuracy_table(result: Result, systems: Mapping[str, Any]) -> str:
    """The exact match of each system on each set, and the means of the groups."""
    rows = [
        (title(result, name), *(f"{e['sets'][name]['exact_match']:.1%}" for e in systems.values()))
        for name in result["sets"]
    ]
    for group, words in MEANS.items():
        values = [entry["means"].get(group) for entry in systems.values()]
        if None not in values:
            rows.append((words.replace("*", star()), *(f"{value:.1%}" for value in values)))
    return markdown.table(("kind", *systems), rows)


def time_table(result: Result, systems: Mapping[str, Any]) -> str:
    """The CPU time of a picture of each set, for each system."""
    rows = [
        (
            title(result, name),
            *(markdown.milliseconds(e["sets"][name]["cpu_ms"]) for e in systems.values()),
        )
        for name in result["sets"]
    ]
    return markdown.table(("kind", *systems), rows)


def accepted_table(result: Result) -> str:
    """How many of captcha-rt's answers reach the model's limit, and how many of these are right."""
    rows = []
    for name, entry in result["systems"].get(OURS, {}).get("sets", {}).items():
        accepted, right = entry["accepted"], entry["accepted_right"]
        share = f"{right / accepted:.1%}" if accepted else ""
        rows.append((title(result, name), f"{accepted / entry['pictures']:.1%}", share))
    return markdown.table(("kind", "accepted", "of these right"), rows)


def leads(result: Result, *, ours: bool) -> Iterator[str]:
    """The best other system beside captcha-rt on each set, where ours is ahead or is not."""
    for ranged in (False, True):
        others = systems_of(result, ranged=ranged)
        own = others.pop(OURS + RANGE if ranged else OURS, None)
        if own is None or not others:
            continue
        for name in result["sets"]:
            exact = {other: e["sets"][name]["exact_match"] for other, e in others.items()}
            best = max(exact, key=exact.__getitem__)
            mine = own["sets"][name]["exact_match"]
            if (mine >= exact[best]) == ours:
                known = RANGE if ranged else ""
                theirs = f"{best.removesuffix(RANGE)} {exact[best]:.1%}"
                yield f"{title(result, name)}{known}: ours {mine:.1%}, {theirs}"


def settings(result: Result) -> Iterator[str]:
    """Each system's version and setting, and what is missing."""
    for name, entry in result["systems"].items():
        if "missing" in entry:
            yield f"{name}: not measured: {entry['missing']}"
        else:
            yield f"{name}, {entry['version']}: {entry['setting']}"
    for name, reason in result["missing_sets"].items():
        yield f"{name} drew nothing: {reason}"
