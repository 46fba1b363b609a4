"""Trunks: weights that `captcha-rt pretrain` made, for others to start from."""

from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent

GENERAL: Final = _FOLDER / "general.npz"
"""The trunk of the preset `general`; `docs/general-model.md` says how it was trained."""

TRUNKS: Final = {"general": GENERAL, "slim": _FOLDER / "slim.npz"}
"""All trunks, by the names of their presets."""
