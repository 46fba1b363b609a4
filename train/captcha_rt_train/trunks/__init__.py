"""Trunks: weights that `captcha-rt pretrain` made, for others to start from."""

from pathlib import Path
from typing import Final

GENERAL: Final = Path(__file__).parent / "general.npz"
"""The trunk of the preset `general`. Its training is not finished; `docs/general-model.md` says how
far it is, and how to go on with it."""
