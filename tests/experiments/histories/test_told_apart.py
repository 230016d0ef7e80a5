"""One word for refusals and rejections: told apart by when they come, and the redials of both found again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trunkproof.experiments.histories.generate import Generated, generate
from trunkproof.experiments.histories.truth import Truth
from trunkproof.models.demand.fitting.outcomes import fit_outcomes
from trunkproof.models.demand.fitting.redials import chains, fit_redials
from trunkproof.models.demand.fitting.settings import Assumed
from trunkproof.models.demand.fitting.told_apart import told_apart
from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.table import History
from trunkproof.models.records import Disposition
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.pipelimit import PipeLimit
from trunkproof.models.throttles.token_bucket import TokenBucket

LIMIT = 24
REJECTED = 0.08
TRUTH = {
    "name": "one word",
    "seed": 4,
    "first_day": "2026-03-02",
    "days": 7,
    "hourly_per_minute": [[*[2.0] * 8, *[20.0] * 10, *[8.0] * 6]] * 7,
    "holding": {"kind": "exponential", "mean_s": 60},
    "outcomes": {"busy": 0.1, "rejected": [{"status": 404, "share": REJECTED}]},
    "redial": {
        "by_reason": {"throttled": 0.78, "carrier_rejected": 0.15, "busy": 0.2},
        "delay": {"kind": "lognormal", "mean_s": 60, "cv": 1.5},
        "attempts": 6,
        "obeys_retry_after": False,
    },
    "throttle": {"policy": "fixed_window", "limit": LIMIT, "window_s": 60},
    "format": "operator",
}


def written(path: Path, **changed: object) -> tuple[Generated, History]:
    made = generate(Truth.model_validate(TRUTH | changed), path)
    return made, read_history(HistorySettings(path=path))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Generated, History]:
    return written(tmp_path_factory.mktemp("apart") / "history.parquet")


def test_refusals_and_rejections_are_told_apart(mixed: tuple[Generated, History]) -> None:
    made, history = mixed
    assert history.calls is not None
    said = int(history.counts["refused"].sum())
    assert said > 1.3 * made.refused
    told = told_apart(history, LIMIT)
    assert told.calls is not None
    refused = int(told.counts["refused"].sum())
    assert refused == (told.calls["status"] == "refused").sum()
    assert (told.counts["refused"] <= told.counts["attempts"]).all()
    # The number of rejections in full minutes is an estimate: binomial, and as sure as that of the others.
    assert abs(refused - made.refused) < 4.5 * 2 * np.sqrt(said - made.refused)
    assert told.oddities[-1].count == said - refused
    shares = [part.share for part in fit_outcomes(told.calls).rejected]
    assert sum(shares) == pytest.approx(REJECTED, abs=4.5 * np.sqrt(2 * REJECTED / made.attempts))


def test_the_chances_are_those_of_either(mixed: tuple[Generated, History]) -> None:
    _, history = mixed
    assert history.calls is not None
    pooled = fit_redials(chains(history.calls), Assumed()).probability
    assert pooled.high < 0.7
    told = told_apart(history, LIMIT)
    assert told.calls is not None
    assert told.imputed > 1000
    by_reason = fit_redials(chains(told.calls), Assumed(), imputed=told.imputed).by_reason
    blind = fit_redials(chains(told.calls), Assumed()).by_reason
    for reason, chance in ((Disposition.THROTTLED, 0.78), (Disposition.CARRIER_REJECTED, 0.15)):
        found = by_reason[reason]
        # An interval of 95 % reaches 1.96 standard errors.
        assert abs(found.value - chance) < 4.5 / 1.96 * (found.high - found.low) / 2, found
        # Which failure was which is not sure, and widens the interval.
        assert found.high - found.low > blind[reason].high - blind[reason].low


def test_what_cannot_be_told_stays(mixed: tuple[Generated, History], tmp_path: Path) -> None:
    _, history = mixed
    assert told_apart(history, LIMIT, TokenBucket(limit=LIMIT)) is history
    assert told_apart(history, LIMIT, PipeLimit(limit=LIMIT, algorithm="red")) is history
    assert told_apart(history, LIMIT, FixedWindow(limit=LIMIT)) is not history
    counts = replace(history, calls=None)
    assert told_apart(counts, LIMIT) is counts
    _, plain = written(tmp_path / "plain.parquet", outcomes={"busy": 0.1})
    assert told_apart(plain, LIMIT) is plain
    # The limit in force was lower than the one said: what failed was refused all the same.
    assert told_apart(plain, 3 * LIMIT) is plain


def test_telling_twice_tells_no_more(mixed: tuple[Generated, History]) -> None:
    _, history = mixed
    once = told_apart(history, LIMIT)
    assert told_apart(once, LIMIT) is once
    assert once.calls is not None
    assert history.calls is not None
    assert once.calls.drop("status").equals(history.calls.drop("status"))
    changed = history.calls.filter(once.calls["status"] != history.calls["status"])
    assert set(changed["status"].cast(pl.String)) == {"refused"}
