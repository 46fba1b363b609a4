"""All measurements of the README but those of training: `python benchmarks/suite.py`.

Runs each part in a process of its own, then writes the report, `benchmarks/results/report.md` with
its plots. `CAPTCHA_DATA` names the folder of real labelled pictures. Stopped or killed, it goes on
where it was; a part that fails is said, and the others go on. Takes less than an hour on two cores,
beside nothing else. What trains networks first has commands of its own, `benchmarks/default.py`,
`documents.py` and `search.py`.
"""

import argparse
import os
import subprocess
import sys
import time

from rich.console import Console

import report
from harness import HERE, Part

PARTS = tuple(report.TITLES)

say = Console(stderr=True).print


def main() -> None:
    """Measures what isn't measured yet of this state of the code, and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; all by default")
    chosen = parser.parse_args().parts or PARTS
    unknown = set(chosen) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
    if "CAPTCHA_DATA" not in os.environ:
        parser.error("CAPTCHA_DATA does not name the folder of real labelled pictures")
    failed = []
    for name in chosen:
        if Part(name).finished:
            say(f"[bold]{name}[/bold]: measured already")
            continue
        say(f"[bold]{name}[/bold]")
        started = time.monotonic()
        try:
            done = subprocess.run([sys.executable, HERE / f"{name}.py"], check=False)
        except KeyboardInterrupt:
            say("stopped; the same command goes on here")
            sys.exit(130)
        say(f"{name}: {time.monotonic() - started:.0f} s")
        if done.returncode:
            failed.append(name)
            say(f"[red]{name} failed[/red] with exit code {done.returncode}")
    report.main()
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
