"""Checks the runtime's built wheel, and the environment in which only this wheel was installed.

python tests/check_wheel.py dist/captcha_rt-0.1.0-py3-none-any.whl
"""

import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

# All files of the wheel, without its metadata.
EXPECTED = {
    "captcha_rt/__init__.py",
    "captcha_rt/__main__.py",
    "captcha_rt/_pyinstaller/__init__.py",
    "captcha_rt/_pyinstaller/hook-captcha_rt.py",
    "captcha_rt/archives/__init__.py",
    "captcha_rt/archives/members.py",
    "captcha_rt/archives/unpack.py",
    "captcha_rt/cascade.py",
    "captcha_rt/charset.py",
    "captcha_rt/cli/__init__.py",
    "captcha_rt/cli/answers.py",
    "captcha_rt/cli/app.py",
    "captcha_rt/cli/bench.py",
    "captcha_rt/cli/deploy.py",
    "captcha_rt/cli/doctor.py",
    "captcha_rt/cli/evaluate.py",
    "captcha_rt/cli/explain.py",
    "captcha_rt/cli/info.py",
    "captcha_rt/cli/interrupts.py",
    "captcha_rt/cli/lean.py",
    "captcha_rt/cli/on_cluster.py",
    "captcha_rt/cli/options.py",
    "captcha_rt/cli/output.py",
    "captcha_rt/cli/serve.py",
    "captcha_rt/cli/solve.py",
    "captcha_rt/cluster.py",
    "captcha_rt/constrained.py",
    "captcha_rt/decoders.py",
    "captcha_rt/cores.py",
    "captcha_rt/deploy/__init__.py",
    "captcha_rt/deploy/triton.py",
    "captcha_rt/deploy/triton_model.py",
    "captcha_rt/device.py",
    "captcha_rt/diagnostics/__init__.py",
    "captcha_rt/diagnostics/bench.py",
    "captcha_rt/diagnostics/bench_text.py",
    "captcha_rt/diagnostics/card.py",
    "captcha_rt/diagnostics/doctor.py",
    "captcha_rt/diagnostics/explain.py",
    "captcha_rt/diagnostics/machine.py",
    "captcha_rt/diagnostics/stages.py",
    "captcha_rt/errors.py",
    "captcha_rt/feed.py",
    "captcha_rt/files.py",
    "captcha_rt/formats.py",
    "captcha_rt/image/__init__.py",
    "captcha_rt/image/animation.py",
    "captcha_rt/image/arrays.py",
    "captcha_rt/image/bmp.py",
    "captcha_rt/image/checked.py",
    "captcha_rt/image/checks.py",
    "captcha_rt/image/decode.py",
    "captcha_rt/image/doubts.py",
    "captcha_rt/image/exif.py",
    "captcha_rt/image/gif.py",
    "captcha_rt/image/jpeg.py",
    "captcha_rt/image/png.py",
    "captcha_rt/image/scans.py",
    "captcha_rt/image/texts.py",
    "captcha_rt/image/tiff.py",
    "captcha_rt/image/vp8.py",
    "captcha_rt/image/vp8l.py",
    "captcha_rt/image/webp.py",
    "captcha_rt/image/whole.py",
    "captcha_rt/labels/__init__.py",
    "captcha_rt/labels/beside.py",
    "captcha_rt/labels/copies.py",
    "captcha_rt/labels/files.py",
    "captcha_rt/labels/folders.py",
    "captcha_rt/labels/hints.py",
    "captcha_rt/labels/matching.py",
    "captcha_rt/labels/names.py",
    "captcha_rt/labels/result.py",
    "captcha_rt/labels/stems.py",
    "captcha_rt/labels/tables.py",
    "captcha_rt/labels/texts.py",
    "captcha_rt/manifest.py",
    "captcha_rt/metrics.py",
    "captcha_rt/model.py",
    "captcha_rt/models/GENERAL_CARD.md",
    "captcha_rt/models/MODEL_CARD.md",
    "captcha_rt/models/default.onnx",
    "captcha_rt/models/general.onnx",
    "captcha_rt/parallel.py",
    "captcha_rt/pictures.py",
    "captcha_rt/pool.py",
    "captcha_rt/progress.py",
    "captcha_rt/py.typed",
    "captcha_rt/reader.py",
    "captcha_rt/recipe.py",
    "captcha_rt/rows.py",
    "captcha_rt/run_limit.py",
    "captcha_rt/service/__init__.py",
    "captcha_rt/service/app.py",
    "captcha_rt/service/body.py",
    "captcha_rt/service/connection.py",
    "captcha_rt/service/gate.py",
    "captcha_rt/service/hangups.py",
    "captcha_rt/service/hosts.py",
    "captcha_rt/service/inference.py",
    "captcha_rt/service/installed.py",
    "captcha_rt/service/logs.py",
    "captcha_rt/service/metrics.py",
    "captcha_rt/service/models.py",
    "captcha_rt/service/page/app.js",
    "captcha_rt/service/page/docs.html",
    "captcha_rt/service/page/docs.js",
    "captcha_rt/service/page/icon.svg",
    "captcha_rt/service/page/index.html",
    "captcha_rt/service/page/openapi.json",
    "captcha_rt/service/page/style.css",
    "captcha_rt/service/pages.py",
    "captcha_rt/service/reading.py",
    "captcha_rt/service/refusal.py",
    "captcha_rt/service/run.py",
    "captcha_rt/service/settings.py",
    "captcha_rt/service/solve.py",
    "captcha_rt/service/state.py",
    "captcha_rt/service/steps.py",
    "captcha_rt/service/tensors.py",
    "captcha_rt/session.py",
    "captcha_rt/solution.py",
    "captcha_rt/solver.py",
    "captcha_rt/sorting.py",
    "captcha_rt/steps/__init__.py",
    "captcha_rt/steps/conventions.py",
    "captcha_rt/steps/curve.py",
    "captcha_rt/steps/filters.py",
    "captcha_rt/steps/frames.py",
    "captcha_rt/steps/framing.py",
    "captcha_rt/steps/glyphs.py",
    "captcha_rt/steps/simple.py",
    "captcha_rt/steps/step.py",
    "captcha_rt/stores.py",
    "captcha_rt/sums.py",
    "captcha_rt/tiles.py",
    "captcha_rt/workers.py",
}
# Distributions that the wheel must not depend on.
UNWANTED = {"tensorflow", "keras", "tf2onnx", "onnx", "onnxsim", "matplotlib", "pillow"}
MAX_BYTES = 2_500_000


def main(wheel: Path) -> None:
    """Checks the wheel's files, size and dependencies; exits with a message if one is wrong."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    if names != EXPECTED:
        sys.exit(f"missing: {EXPECTED - names}, unexpected: {names - EXPECTED}")
    if wheel.stat().st_size > MAX_BYTES:
        sys.exit(f"{wheel.stat().st_size} bytes are more than {MAX_BYTES}")
    installed = {distribution.name.lower() for distribution in distributions()}
    if found := UNWANTED & installed:
        sys.exit(f"installed with the wheel, but unwanted: {found}")
    sys.stdout.write(
        f"{wheel.name}: {wheel.stat().st_size:,} bytes, installed: {', '.join(sorted(installed))}\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
