"""By either engine, on processes or on a Dask cluster of separate ones, a review gives the answer that one process
gives; a wrong address is told.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.experiments.review.conftest import TRUTHS

from trunkproof.experiments.histories.generate import generate
from trunkproof.experiments.histories.truth import Defects, read_truth
from trunkproof.experiments.review.decision_json import to_json
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import Review
from trunkproof.experiments.review.review import review
from trunkproof.experiments.review.sweep.cluster import executor_at
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.errors import StackError
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.simulator.run import Engine

ROOT = Path(__file__).parents[4]
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


def tiny(folder: Path, engine: Engine = Engine.KERNEL) -> Request:
    """Of a customer who makes a call in a few minutes, so that SimPy takes seconds."""
    path = folder / "tiny.csv"
    if not path.exists():
        truth = read_truth(TRUTHS / "small.yaml")
        hourly = tuple(tuple(0.1 * rate for rate in day) for day in truth.hourly_per_minute)
        changes = {"hourly_per_minute": hourly, "throttle": FixedWindow(limit=3), "defects": Defects()}
        generate(truth.model_copy(update=changes), path)
    return Request.model_validate(
        {
            "name": "tiny",
            "history": HistorySettings(path=path),
            "now_per_minute": 3,
            "requested_per_minute": 12,
            "candidates": (9,),
            "interpretations": (FixedWindow(),),
            "pop": {"carrier": {"channels": 30}},
            "engine": engine,
        }
    )


def told(made: Review) -> dict[str, Any]:
    """All that was answered, but for when and how."""
    saved = to_json(made)
    return {name: value for name, value in saved.items() if name not in {"provenance", "engine"}}


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trunkproof.experiments.review.sweep.sweep.CALLS_WANTED", 2_000)
        patch.setattr("trunkproof.experiments.review.backcast._MOST_REPETITIONS", 6)
        patch.setattr("trunkproof.experiments.review.courses.DRAWS", 100)
        yield


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder, and what one process answers, one simulation after the other."""
    folder = tmp_path_factory.mktemp("tiny")
    return folder, told(review(tiny(folder), folder))


def test_processes_give_the_same_answer(alone: tuple[Path, dict[str, Any]], two_processes: Executor) -> None:
    folder, expected = alone
    assert told(review(tiny(folder), folder, executor=two_processes)) == expected
    assert expected["simulated_calls"] > 0


def test_a_cluster_gives_the_same_answer(alone: tuple[Path, dict[str, Any]], cluster: str) -> None:
    folder, expected = alone
    with executor_at(cluster) as executor:
        assert told(review(tiny(folder), folder, executor=executor)) == expected


def test_simpy_gives_the_same_answer(alone: tuple[Path, dict[str, Any]], two_processes: Executor) -> None:
    folder, expected = alone
    assert told(review(tiny(folder, Engine.SIMPY), folder, executor=two_processes)) == expected


def test_the_cluster_s_workers_are_other_processes_than_this(cluster: str) -> None:
    with executor_at(cluster) as executor:
        found = {executor.submit(os.getpid).result() for _ in range(8)}
    assert os.getpid() not in found


def test_an_address_without_a_scheduler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkproof.experiments.review.sweep.cluster._PATIENCE_S", 1.0)
    with (
        pytest.raises(StackError, match=r"no Dask scheduler answers at tcp://127\.0\.43\.9:9"),
        executor_at("tcp://127.0.43.9:9"),
    ):
        pass
    with pytest.raises(StackError, match="no Dask scheduler answers"), executor_at("nowhere at all"):
        pass


def test_a_scheduler_without_workers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkproof.experiments.review.sweep.cluster._PATIENCE_S", 1.0)
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
