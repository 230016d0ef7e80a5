"""Give programs and all their children a share of the CPU: a Linux control group with a quota, removed afterwards.

With it a large machine can play a small one, whose limits can be reached. This module starts and ends no process.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trunkproof.models.errors import StackError

PERIOD_US = 10_000
"""How often the quota is refilled. A program that has used its quota is paused in one piece until the period ends, and
calls see that as delay. Measured pauses of a busy loop (95th percentile), at half and at a quarter of a core:

    period 100 ms (the kernel's default)    53 and 78 ms
    period  20 ms                           13 and 18 ms
    period  10 ms                            7 and 16 ms

5 ms is no better, since the kernel looks only once per tick (4 ms at 250 Hz).
"""
_LEAST_QUOTA_US = 1_000
"""The smallest quota that the kernel takes."""
_REMOVED_WITHIN_S = 2.0
_PREFIX = "trunkproof-"
_COUNTER = itertools.count()


@dataclass(frozen=True, kw_only=True)
class QuotaThrottling:
    """How much the quota has throttled the group's programs so far."""

    periods: int
    """Periods in which the group wanted CPU."""
    throttled_periods: int
    """Periods in which it wanted more than its quota."""
    throttled_s: float
    """How long it was paused, summed over the cores that it ran on."""
    cpu_s: float | None
    """CPU time of everything that ever ran in the group. None where the system does not account for it."""


@dataclass(frozen=True)
class QuotaGroup:
    """A control group with a quota. `cpu_quota` makes it."""

    cores: float
    cpu: Path
    """The folder of the group."""
    accounting: Path | None
    """The folder of its accounting, where control groups of version 1 keep it apart."""
    unified: bool
    """Whether the control groups are of version 2."""
    period_us: int = PERIOD_US

    @property
    def prefix(self) -> tuple[str, ...]:
        """Return words to put before a command, so that it starts inside the group and no part of it runs outside."""
        # A shell puts itself into the group, and then becomes the command (exec), so no instant is spent outside.
        join = "".join(f'echo $$ > "${index}"; ' for index in range(1, len(self._folders) + 1))
        start = f'set -e; {join}shift {len(self._folders)}; exec "$@"'
        return ("sh", "-c", start, "sh", *(str(folder / "cgroup.procs") for folder in self._folders))

    def add(self, pid: int) -> None:
        """Move a process with its threads into the group. Children that it has already stay where they are.

        Raises:
            StackError: there is no such process, or we may not move it.
        """
        for folder in self._folders:
            try:
                (folder / "cgroup.procs").write_text(str(pid))
            except OSError as error:
                raise StackError(f"process {pid} cannot be put under its CPU quota ({error.strerror})") from error

    def lift(self) -> None:
        """Lift the quota, so that the programs can end: on a small quota that would take long."""
        with contextlib.suppress(OSError):
            # "max" is version 2's word for no quota, and -1 is version 1's.
            _write(self, "max", "-1", self.period_us)

    def read(self) -> QuotaThrottling:
        """Return what the quota did since the group was made."""
        stat = dict(line.split() for line in (self.cpu / "cpu.stat").read_text().splitlines())
        return QuotaThrottling(
            periods=int(stat["nr_periods"]),
            throttled_periods=int(stat["nr_throttled"]),
            # Microseconds in version 2, nanoseconds in version 1.
            throttled_s=int(stat["throttled_usec"]) / 1e6 if self.unified else int(stat["throttled_time"]) / 1e9,
            cpu_s=int(stat["usage_usec"]) / 1e6 if self.unified else self._accounted_s(),
        )

    def _accounted_s(self) -> float | None:
        account = (self.accounting or self.cpu) / "cpuacct.usage"
        return int(account.read_text()) / 1e9 if account.exists() else None

    @property
    def _folders(self) -> tuple[Path, ...]:
        return (self.cpu,) if self.accounting is None else (self.cpu, self.accounting)


@contextlib.contextmanager
def cpu_quota(cores: float, pids: Iterable[int] = (), *, period_us: int = PERIOD_US) -> Iterator[QuotaGroup]:
    """Make a group whose processes together get the time of `cores` cores, while the block runs.

    Args:
        cores: CPU seconds per second, such as 0.25.
        pids: processes to move into it at once. What they start later is in it too.
        period_us: how often the quota is refilled. It is made longer where the quota would be too small for the kernel.

    Raises:
        StackError: no quota can be set here, and why. Or processes are still in the group after the block.
    """
    if not cores > 0:
        raise StackError(f"a CPU quota of {cores:g} cores lets nothing run: give more than 0, such as 0.5")
    mounts = _mounts()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_group(_parent(mounts)))
        unified = "cpu" not in mounts
        account = mounts.get("cpuacct")
        # Many systems mount cpu and cpuacct together, and then one folder is both.
        apart = not unified and account is not None and account != mounts["cpu"]
        accounting = stack.enter_context(_group(account)) if apart and account is not None else None
        # Set before any process is in the group: none of them runs a moment without the quota.
        group = QuotaGroup(cores, folder, accounting, unified, max(period_us, round(_LEAST_QUOTA_US / cores)))
        _limit(group)
        for pid in pids:
            group.add(pid)
        yield group


def _mounts() -> dict[str, Path]:
    """Return where control groups are mounted: by controller for version 1, under "unified" for version 2."""
    found: dict[str, Path] = {}
    try:
        table = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        table = []
    for _, place, kind, options, *_ in (line.split() for line in table):
        if kind == "cgroup2":
            found.setdefault("unified", Path(place))
        elif kind == "cgroup":
            found |= {name: Path(place) for name in {"cpu", "cpuacct"} & set(options.split(","))}
    return found


def _parent(mounts: dict[str, Path]) -> Path:
    # A machine may have both versions mounted. A controller can be in one only, and then it is in version 1.
    if "cpu" in mounts:
        return mounts["cpu"]
    if "unified" not in mounts:
        raise StackError("no CPU quota can be set: no Linux control groups are mounted (cgroup cpu, or cgroup2)")
    unified = mounts["unified"]
    if "cpu" not in (unified / "cgroup.controllers").read_text().split():
        raise StackError(f"no CPU quota can be set: the control groups at {unified} have no cpu controller")
    # A group of version 2 has only the controllers that its parent passes on.
    if "cpu" not in (unified / "cgroup.subtree_control").read_text().split():
        try:
            (unified / "cgroup.subtree_control").write_text("+cpu")
        except OSError as error:
            raise StackError(
                f"no CPU quota can be set: the cpu controller cannot be passed on at {unified} ({error.strerror}); "
                "run trunkproof as root and outside a container"
            ) from error
    return unified


@contextlib.contextmanager
def _group(parent: Path) -> Iterator[Path]:
    remove_left_behind(parent)
    folder = parent / f"{_PREFIX}{os.getpid()}-{next(_COUNTER)}"
    try:
        folder.mkdir()
    except OSError as error:
        who = "root may do it" if os.geteuid() else "here not even root may do it"
        raise StackError(
            f"no CPU quota can be set: no group can be made in {parent} ({error.strerror}; {who})"
        ) from error
    try:
        yield folder
    finally:
        _remove(folder)


def remove_left_behind(parent: Path | None = None) -> None:
    """Remove the empty groups of processes of ours that were killed. They could not do it themselves."""
    if parent is None:
        mounts = _mounts()
        places = {mounts[name] for name in ("cpu", "cpuacct") if name in mounts} or set(mounts.values())
    else:
        places = {parent}
    for place in places:
        for folder in place.glob(f"{_PREFIX}*"):
            pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
            if pid.isdecimal() and not Path("/proc", pid).exists():
                with contextlib.suppress(OSError):  # Its programs are still ending, or somebody else was faster.
                    folder.rmdir()


def _limit(group: QuotaGroup) -> None:
    quota_us = round(group.cores * group.period_us)
    try:
        _write(group, str(quota_us), str(quota_us), group.period_us)
    except OSError as error:
        raise StackError(
            f"the kernel refuses a CPU quota of {quota_us} in {group.period_us} us: {error.strerror}"
        ) from error


def _write(group: QuotaGroup, unified: str, version_1: str, period_us: int) -> None:
    if group.unified:
        (group.cpu / "cpu.max").write_text(f"{unified} {period_us}")
    else:
        (group.cpu / "cpu.cfs_period_us").write_text(str(period_us))
        (group.cpu / "cpu.cfs_quota_us").write_text(version_1)


def _remove(folder: Path) -> None:
    until = time.monotonic() + _REMOVED_WITHIN_S
    while True:
        try:
            folder.rmdir()
        except OSError as error:
            if time.monotonic() > until:
                left = (folder / "cgroup.procs").read_text().split()
                raise StackError(
                    f"the CPU quota's group {folder} cannot be removed, because processes {left} still live in it"
                ) from error
            # A process leaves its group a moment after its end was waited for.
            time.sleep(0.02)
        else:
            return
