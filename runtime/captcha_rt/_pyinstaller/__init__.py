"""Tells PyInstaller where the hook is; the entry point is in the group `pyinstaller40`."""

import os


def hook_folders() -> list[str]:
    """Returns the folder of the hook."""
    return [os.path.dirname(__file__)]  # noqa: PTH120
