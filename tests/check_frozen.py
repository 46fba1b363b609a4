"""Builds a program with PyInstaller, and checks that it reads pictures and has all commands.

python tests/check_frozen.py tests/samples/dnwnb.png

PyInstaller and captcha-rt's wheel must be installed. Nothing but the hook in the wheel tells
PyInstaller what captcha-rt needs.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import sys
if sys.argv[1] == "library":
    from captcha_rt import Solver
    print(Solver().solve(sys.argv[2]).text)
else:
    from captcha_rt.cli import main
    main()
"""


def main(sample: Path) -> None:
    """Builds and runs the program; exits with a message if it answers wrongly."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "reader.py").write_text(PROGRAM, "utf-8")
        build = ["-m", "PyInstaller", "--onedir", "--log-level", "WARN", "reader.py"]
        subprocess.run([sys.executable, *build], check=True, cwd=folder)
        program = folder / "dist" / "reader" / "reader"
        for arguments, expected in (
            (["library", str(sample)], sample.stem),
            (["solve", str(sample)], sample.stem),
            (["solve", str(sample.parent), "--workers", "2"], f"\t{sample.stem}"),
            (["evaluate", str(sample.parent)], "success rate: 1.0000"),
            (["explain", str(sample), "-o", str(folder / "sheet.png")], sample.stem),
            (["info"], "name: "),
            (["deploy", "triton", str(folder / "repository")], "its model.py answers"),
            (["doctor"], "captcha-rt: "),
            (["--help"], "Exit codes"),
        ):
            result = subprocess.run(
                [program, *arguments], check=False, capture_output=True, text=True, cwd=folder
            )
            if result.returncode or expected not in result.stdout:
                sys.exit(f"{arguments}: {result.returncode} {result.stdout}{result.stderr}")
        size = sum(file.stat().st_size for file in program.parent.rglob("*") if file.is_file())
    sys.stdout.write(f"a frozen program of {size:,} bytes works\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
