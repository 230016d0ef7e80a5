"""Quota throttling of a process on this machine, read from the control group that it is in."""

from __future__ import annotations

from pathlib import Path

from trunkproof.loadgen.system.quota import QuotaGroup, QuotaThrottling

_ROOTS = ("cpu", "cpu,cpuacct", "cpuacct,cpu", "", "unified")
"""Folders of /sys/fs/cgroup where groups with a CPU controller may be mounted: version 1 first, then version 2."""


def throttling_of(pid: int) -> QuotaThrottling | None:
    """Return the counts of the process's group so far; None where it is in no group with a quota, or has ended."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return None
    for _, controllers, path in (line.split(":", 2) for line in lines):
        # The root group has no quota. Version 2 has one line, without controllers.
        if path != "/" and ("cpu" in controllers.split(",") or not controllers):
            for root in _ROOTS:
                folder = Path("/sys/fs/cgroup") / root / path.lstrip("/")
                if (found := _counted(folder)) is not None:
                    return found
    return None


def _counted(folder: Path) -> QuotaThrottling | None:
    try:
        text = (folder / "cpu.stat").read_text()
    except OSError:
        return None
    if "nr_periods" not in text:
        return None
    # Only read here: the cores do not matter. The unit of the field tells the version.
    return QuotaGroup(cores=0.0, cpu=folder, accounting=None, unified="throttled_usec" in text).read()
