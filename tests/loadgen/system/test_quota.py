"""Real control groups where they can be made: Linux, as root."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trunkproof.loadgen.meters.processes import ProcessMeter
from trunkproof.loadgen.system import quota as module
from trunkproof.loadgen.system.quota import QuotaGroup, cpu_quota
from trunkproof.models.errors import StackError

TICK_S = 0.010
"""The kernel's longest tick in use (100 Hz): a process may run so long past its quota before it is stopped, per core;
it is then kept waiting until that is repaid.
"""
BURN = "import time\nuntil = time.monotonic() + {}\nwhile time.monotonic() < until: pass"


def _why_not() -> str | None:
    try:
        with cpu_quota(1.0):
            return None
    except StackError as error:
        return str(error)


needs_groups = pytest.mark.skipif((reason := _why_not()) is not None, reason=str(reason))


@contextlib.contextmanager
def _burning(group: QuotaGroup, seconds: float, processes: int = 1) -> Iterator[list[subprocess.Popen[bytes]]]:
    command = (*group.prefix, sys.executable, "-c", BURN.format(seconds))
    children = [subprocess.Popen(command) for _ in range(processes)]
    try:
        yield children
    finally:
        for child in children:
            child.kill()
            child.wait()


@needs_groups
@pytest.mark.parametrize("processes", [1, 3])
def test_a_busy_loop_gets_its_quota_and_no_more(processes: int) -> None:
    cores, cpus = 0.2, os.cpu_count() or 1
    with cpu_quota(cores) as group:
        with _burning(group, 2.0, processes) as children:
            for child in children:
                assert child.wait() == 0
        used = group.read()
    assert used.cpu_s is not None
    period_s = module.PERIOD_US / 1e6
    # However long it took: the group had so many refills, and one more at the start.
    overrun_s = cpus * TICK_S
    assert used.cpu_s <= cores * period_s * (used.periods + 1) + overrun_s
    # Whenever it was throttled, its quota was used up.
    assert used.cpu_s >= cores * period_s * used.throttled_periods - overrun_s
    assert used.throttled_periods > 0
    assert used.throttled_s > 0


@needs_groups
def test_cpu_per_wall_time_is_the_quota() -> None:
    cores, wall_s = 0.2, 2.0
    with cpu_quota(cores) as group, _burning(group, 60) as (child,):
        meter = ProcessMeter({"it": child.pid})
        first = meter.read()["it"]
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(wall_s)
        last = meter.read()["it"]
    # A refill is either just before or just after an edge of the span, and an overrun of a tick is owed at most.
    bound_s = cores * module.PERIOD_US / 1e6 + TICK_S
    assert last.cpu_s - first.cpu_s <= cores * (last.at_s - first.at_s) + bound_s


@needs_groups
def test_the_prefix_starts_the_command_itself_inside_with_its_children() -> None:
    code = "import os, subprocess; print(os.getpid(), flush=True); subprocess.run(['sleep', '60'])"
    with cpu_quota(0.5) as group:
        child = subprocess.Popen((*group.prefix, sys.executable, "-c", code), stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert int(child.stdout.readline()) == child.pid
        grandchildren = _eventually(lambda: _children(child.pid))
        inside = set((group.cpu / "cgroup.procs").read_text().split())
        for pid in grandchildren:
            os.kill(int(pid), 9)
        child.stdout.close()
        child.wait()
    assert inside == {str(child.pid), *grandchildren}


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _eventually(look: object) -> list[str]:
    while not (found := look()):  # type: ignore[operator]
        pass
    return list(found)


@needs_groups
def test_arguments_pass_through_the_prefix_as_they_are() -> None:
    words = ["a b", "$HOME", "'", '"', "*", ""]
    code = "import sys; print(sys.argv[1:])"
    with cpu_quota(0.5) as group:
        said = subprocess.run((*group.prefix, sys.executable, "-c", code, *words), capture_output=True, check=True)
    assert said.stdout.decode().strip() == str(words)


@needs_groups
def test_a_running_process_is_put_under_it_and_one_that_is_gone_is_told() -> None:
    with subprocess.Popen([sys.executable, "-c", BURN.format(60)]) as child:
        try:
            with cpu_quota(0.2, [child.pid]) as group:
                assert (group.cpu / "cgroup.procs").read_text().split() == [str(child.pid)]
                child.kill()
                child.wait()
                with pytest.raises(StackError, match=f"process {child.pid} cannot"):
                    group.add(child.pid)
        finally:
            child.kill()


@needs_groups
def test_nothing_of_it_is_left_even_after_a_failure() -> None:
    with pytest.raises(KeyError), cpu_quota(0.2) as group:
        raise KeyError
    assert not group.cpu.exists()
    assert group.accounting is None or not group.accounting.exists()


@needs_groups
def test_once_lifted_nothing_is_throttled() -> None:
    with cpu_quota(0.2) as group:
        group.lift()
        with _burning(group, 0.5) as (child,):
            assert child.wait() == 0
        assert group.read().throttled_periods == 0


@needs_groups
def test_a_group_with_processes_in_it_is_told_and_nobody_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMOVED_WITHIN_S", 0.1)
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            with (
                pytest.raises(StackError, match=f"processes .*{child.pid}.* live"),
                cpu_quota(0.2, [child.pid]) as group,
            ):
                pass
            assert child.poll() is None
        finally:
            child.kill()
    for folder in (group.cpu, group.accounting):
        if folder is not None:
            module._remove(folder)


@needs_groups
def test_a_quota_below_the_kernel_s_least_has_a_longer_period() -> None:
    with cpu_quota(0.02) as group, _burning(group, 60) as (child,):
        meter = ProcessMeter({"it": child.pid})
        first = meter.read()["it"]
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(1.0)
        last = meter.read()["it"]
    assert last.cpu_s - first.cpu_s <= 0.02 * (last.at_s - first.at_s) + 0.001 + TICK_S


@pytest.mark.parametrize("cores", [0.0, -1.0, float("nan")])
def test_a_quota_of_nothing_is_refused(cores: float) -> None:
    with pytest.raises(StackError, match="lets nothing run"), cpu_quota(cores):
        pass


def _mounted(monkeypatch: pytest.MonkeyPatch, **mounts: Path) -> None:
    monkeypatch.setattr(module, "_mounts", lambda: mounts)


def test_without_control_groups_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    _mounted(monkeypatch)
    with pytest.raises(StackError, match="no Linux control groups are mounted"), cpu_quota(1.0):
        pass


def test_without_the_cpu_controller_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("memory pids\n")
    _mounted(monkeypatch, unified=tmp_path)
    with pytest.raises(StackError, match="no cpu controller"), cpu_quota(1.0):
        pass


def test_where_no_group_can_be_made_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _mounted(monkeypatch, cpu=tmp_path / "none")
    with pytest.raises(StackError, match="no group can be made in"), cpu_quota(1.0):
        pass


def test_what_version_2_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    _mounted(monkeypatch, unified=tmp_path)
    monkeypatch.setattr(module, "_remove", lambda _: None)
    with cpu_quota(0.25) as group:
        assert (group.cpu / "cpu.max").read_text() == "2500 10000"
        assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"
        (group.cpu / "cpu.stat").write_text(
            "usage_usec 1500000\nuser_usec 1\nsystem_usec 2\nnr_periods 9\nnr_throttled 8\nthrottled_usec 250000\n"
        )
        used = group.read()
        group.lift()
        assert (group.cpu / "cpu.max").read_text() == "max 10000"
    assert (used.cpu_s, used.periods, used.throttled_periods, used.throttled_s) == (1.5, 9, 8, 0.25)
    assert group.prefix[-1] == str(group.cpu / "cgroup.procs")
