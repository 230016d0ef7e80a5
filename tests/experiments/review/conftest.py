"""What the slower tests of a review share: the processes that simulate, and the histories of a small customer."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import pytest

from trunkproof.experiments.histories.generate import generate
from trunkproof.experiments.histories.truth import Truth, read_truth
from trunkproof.experiments.review.sweep.cluster import executor_at
from trunkproof.models.throttles.fixed_window import FixedWindow

TRUTHS = Path(__file__).parents[3] / "experiments" / "requests" / "histories"
SIZE = 0.4
"""Of the shipped small customer: nothing here is about size, and simulations take as long as it is large."""
PRESENT = 8


def smaller(name: str) -> Truth:
    """A shipped history's truth, with fewer calls."""
    truth = read_truth(TRUTHS / f"{name}.yaml")
    hourly = tuple(tuple(SIZE * rate for rate in day) for day in truth.hourly_per_minute)
    return truth.model_copy(update={"hourly_per_minute": hourly, "throttle": FixedWindow(limit=PRESENT)})


@pytest.fixture(scope="session")
def histories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small.csv and three_days.csv."""
    folder = tmp_path_factory.mktemp("histories")
    for name in ("small", "three_days"):
        generate(smaller(name), folder / f"{name}.csv")
    return folder


@pytest.fixture(scope="session")
def two_processes() -> Iterator[Executor]:
    """They are slow to come up."""
    with executor_at(workers=2) as pool:
        yield pool
