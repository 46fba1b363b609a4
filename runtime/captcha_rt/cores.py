"""How many cores this process may use."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Counts the cores that this process may use: by its affinity, and its container's quota.

    Returns:
        The number, at least 1. A quota of one and a half cores counts as two.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    with suppress(OSError, ValueError):
        groups = Path("/proc/self/cgroup").read_text("utf-8", "replace")
        cores = min([cores, *(max(1, math.ceil(quota)) for quota in quotas(groups, _CGROUPS))])
    return cores


def quotas(groups: str, root: Path) -> Iterator[float]:
    """Finds the limits in cores of control groups and the groups above them.

    Args:
        groups: The lines of `/proc/self/cgroup`.
        root: The folder where control groups are mounted.

    Yields:
        The limits; none where there is no limit.
    """
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root  # version 1 has a tree for each controller
        # In a container the path may be that of the host, while the mount begins at the group.
        for folder in (top / path.lstrip("/"), *(top / path.lstrip("/")).parents):
            if not folder.is_relative_to(top):
                break
            with suppress(OSError, ValueError, ZeroDivisionError):
                if controllers:
                    quota = int((folder / "cpu.cfs_quota_us").read_text("utf-8"))
                    period = int((folder / "cpu.cfs_period_us").read_text("utf-8"))
                else:
                    quota, period = map(int, (folder / "cpu.max").read_text("utf-8").split())
                if quota > 0:  # "max", or -1, is no limit
                    yield quota / period
