"""The command `captcha-rt doctor`."""

from dataclasses import asdict

import typer

from captcha_rt.cli.options import JsonOption
from captcha_rt.cli.output import MODEL, OK, complain, to_json
from captcha_rt.diagnostics.doctor import examine


def doctor(as_json: JsonOption = False) -> None:
    """Say what is installed and what works here."""
    report = examine()
    if as_json:
        typer.echo(to_json(asdict(report), indent=2))
    else:
        typer.echo(f"python: {report.python}")
        for name, version in report.distributions.items():
            typer.echo(f"{name}: {version}")
        typer.echo(f"compiled in: {', '.join(report.compiled_in) or 'nothing'}")
        for device, providers in report.active.items():
            why = f" ({report.reason})" * (device == "auto")
            typer.echo(f"--device {device}: runs on {providers[0]}{why}")
        for device, reason in report.absent.items():
            typer.echo(f"--device {device}: not here, {reason}")
    for problem in report.problems:
        complain(problem)
    raise typer.Exit(MODEL if report.problems else OK)
