"""Kinds make the traffic that they say, and their files read as they were written."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from trunkproof.experiments.verification.review.enforced import FIXED_WINDOW, Enforced
from trunkproof.experiments.verification.review.export import COLUMNS, write_export
from trunkproof.experiments.verification.review.kernel import ENDING, THROTTLED
from trunkproof.experiments.verification.review.kinds import KINDS, mechanism
from trunkproof.experiments.verification.review.mechanism import Recording
from trunkproof.experiments.verification.review.traffic import Day
from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.settings import HistorySettings

Z = 4.5
DAYS = 300


@pytest.mark.parametrize("kind", KINDS)
def test_calls_come_at_the_mean_of_the_rates(kind: str) -> None:
    traffic = mechanism(kind, 1).traffic
    rng, day = np.random.default_rng(1), Day(10.0, 2, 10)
    counts = np.array([len(traffic.instants(rng, day, 36_000.0, 46_800.0)) for _ in range(DAYS)])
    expected = np.array([traffic.rates(rng, day)[600:780].sum() for _ in range(DAYS)])
    error = np.sqrt((counts.var(ddof=1) + expected.var(ddof=1)) / DAYS)
    # A dialler's batch may begin before the window and end in it; a family's first call too.
    assert abs(counts.mean() - expected.mean()) < Z * error + 0.002 * expected.mean()


def test_a_seed_makes_the_same_mechanism_again() -> None:
    first, again = mechanism("campaign", 3), mechanism("campaign", 3)
    assert np.array_equal(first.traffic.week, again.traffic.week)
    assert not np.array_equal(first.traffic.week, mechanism("campaign", 4).traffic.week)


def test_days_are_counted_back_from_the_end_of_their_month() -> None:
    assert [Day.at(date(2026, 2, 27), number).of_month for number in range(3)] == [2, 1, 31]


@pytest.mark.parametrize("recording", [Recording(), Recording(is_inbound=True)], ids=["outbound", "inbound"])
def test_a_file_reads_as_it_was_written(tmp_path: Path, recording: Recording) -> None:
    path = tmp_path / "history.csv"
    made = replace(mechanism("plain", 1), days=3, recording=recording)
    attempts = write_export(made, Enforced(FIXED_WINDOW, ((0, 30),)), path, np.random.default_rng(1))
    history = read_history(HistorySettings.model_validate({"path": path, "columns": COLUMNS}))
    assert history.calls is not None
    # Attempts of one pair within the same second may be one to the reader.
    assert history.calls.height == pytest.approx(len(attempts), abs=2)
    refused = int((attempts[:, ENDING] >= THROTTLED).sum())
    assert refused > 100
    assert history.calls["status"].eq("refused").sum() == pytest.approx(refused, abs=2)


def test_hidden_refusals_are_not_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    made = replace(mechanism("plain", 1), days=3, recording=Recording(shows_refusals=False))
    attempts = write_export(made, Enforced(FIXED_WINDOW, ((0, 30),)), path, np.random.default_rng(1))
    rows = path.read_text().splitlines()[1:]
    assert len(rows) == (attempts[:, ENDING] < THROTTLED).sum() < len(attempts)


def test_a_throttle_changes_on_its_day() -> None:
    enforced = Enforced(FIXED_WINDOW, ((0, 20), (14, 30)), anchor_s=7.0)
    assert [enforced.on(day)[1] for day in (0, 13, 14, 27)] == [20, 20, 30, 30]
