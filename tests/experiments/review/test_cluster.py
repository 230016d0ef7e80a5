"""A sweep on a Dask cluster of separate processes is the sweep that one process makes; a wrong address is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from experiments.review.busy import BusyHour
from experiments.review.cluster import executor_at
from experiments.review.reading import parse_request
from experiments.review.sweep import Sweep, sweep
from models.errors import StackError
from tests.experiments.review.known_fit import known_fit

ROOT = Path(__file__).parents[3]
ADDRESS = "127.0.43.1"


@contextmanager
def program(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A program of Dask's, stopped in the end."""
    with subprocess.Popen(
        [sys.executable, "-m", *words], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=30)


@contextmanager
def scheduler() -> Iterator[str]:
    words = ("distributed.cli.dask_scheduler", "--host", ADDRESS, "--port", "0", "--no-dashboard", "--no-show")
    with program(*words) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Scheduler at:" in line:
                yield line.split()[-1]
                return
    raise AssertionError("the scheduler did not come up")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A scheduler and two workers, each a process of its own."""
    with ExitStack() as stack:
        address = stack.enter_context(scheduler())
        for _ in range(2):
            words = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
            stack.enter_context(program(*words, "--host", ADDRESS))
        yield address


def swept(address: str | None, *, serially: bool = False) -> Sweep:
    request = parse_request("history: calls.csv\nrequested_per_minute: 400\n")
    fit = known_fit(200.0, rate_cv=0.02, day_cv=0.03, draws=20)
    loads = BusyHour.of(fit).loads(fit, 1.0, 0.0, np.random.default_rng(1), draws=20, quantiles=3)
    asked = {"limits": [200, 300], "readings": request.readings[:2], "most": 4, "hour_s": 30.0}
    if serially:
        return sweep(request, fit, loads, **asked)
    with executor_at(address, workers=2) as executor:
        return sweep(request, fit, loads, executor=executor, **asked)


def test_processes_and_a_cluster_give_the_same_as_one_after_the_other(cluster: str) -> None:
    alone, processes, on_dask = swept(None, serially=True), swept(None), swept(cluster)
    assert repr(processes.values) == repr(alone.values)
    assert repr(on_dask.values) == repr(alone.values)
    assert (on_dask.runs, on_dask.simulated_attempts) == (alone.runs, alone.simulated_attempts)


def test_the_cluster_s_workers_are_other_processes_than_this(cluster: str) -> None:
    with executor_at(cluster) as executor:
        found = {executor.submit(os.getpid).result() for _ in range(8)}
    assert os.getpid() not in found


def test_an_address_without_a_scheduler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.review.cluster._PATIENCE_S", 1.0)
    with (
        pytest.raises(StackError, match=r"no Dask scheduler answers at tcp://127\.0\.43\.9:9"),
        executor_at("tcp://127.0.43.9:9"),
    ):
        pass
    with pytest.raises(StackError, match="no Dask scheduler answers"), executor_at("nowhere at all"):
        pass


def test_a_scheduler_without_workers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.review.cluster._PATIENCE_S", 1.0)
    with (
        scheduler() as address,
        pytest.raises(StackError, match="has no workers"),
        executor_at(address),
    ):
        pass


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(StackError, match=r"trunkproof\[cluster\]"), executor_at("tcp://127.0.43.9:9"):
        pass
