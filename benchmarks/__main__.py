"""Runs one benchmark: `python -m benchmarks NAME [options]`. Without a name it lists them."""

import sys
from collections.abc import Sequence
from importlib import import_module

from benchmarks import COMMANDS


def main(argv: Sequence[str]) -> None:
    """Runs the named benchmark, or lists all of them.

    Args:
        argv: The benchmark's name and its options.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(listing())  # noqa: T201
        return
    name, *options = argv
    if name not in COMMANDS:
        print(f"no benchmark {name!r}\n\n{listing()}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    # Imported late, so that a benchmark that times start-up or memory loads no other benchmark.
    import_module(f"benchmarks.{COMMANDS[name].module}").main(options)


def listing() -> str:
    """The usage, and a line for each benchmark."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    usage = "usage: python -m benchmarks NAME [options]; NAME --help shows the options"
    return "\n".join([usage, "", *lines])


if __name__ == "__main__":
    main(sys.argv[1:])
