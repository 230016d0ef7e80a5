"""The plan in pieces: nothing is lost or torn apart, and what runs share is what each would draw alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study
from trunkproof.simulator.kernel import memory, rows
from trunkproof.simulator.kernel.running import Running


def study(limit: int = 300) -> Study:
    traffic = {
        "arrivals": {"kind": "poisson", "rate_per_minute": 600},
        "holding": {"kind": "exponential", "mean_s": 20},
        "redial": {"probability": 0.8},
    }
    made = [
        {"name": name, "customer_address": f"127.0.0.{k + 2}", "traffic": traffic,
         "throttle": {"policy": "fixed_window", "limit": limit}}
        for k, name in enumerate(("a", "b"))
    ]  # fmt: skip
    return Study.model_validate({"name": "t", "duration_s": 300, "trunks": made})


@pytest.mark.parametrize("is_drawn", [True, False])
def test_the_pieces_are_the_plan(monkeypatch: pytest.MonkeyPatch, is_drawn: bool) -> None:
    monkeypatch.setattr(rows, "_LEAST_ROWS", 500)
    question, plan = study(), draw_plan(study())
    for trunk, pieces in enumerate(rows.pieces(question, None if is_drawn else plan)):
        cut, whole = list(pieces), plan.arrays(trunk)
        assert len(cut) > 3
        for piece in cut:
            # A call with all its attempts.
            assert piece["attempt"][0] == 0
            assert not piece["redial_after"][-1]
        for name in set(memory.ROW.names or ()) - {"follows", "edges"}:
            assert np.array_equal(np.concatenate([piece[name] for piece in cut]), getattr(whole, name), equal_nan=True)


def test_runs_that_share_a_plan_come_to_what_each_comes_to_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_LEAST_ROWS", 500)
    questions = [study(limit) for limit in (100, 300, 900)]

    def records_of(question: Study, plan: Any) -> tuple[Running, list[np.ndarray]]:
        kept: list[np.ndarray] = []
        return Running(question, lambda records, _: kept.append(records.copy()), plan), kept

    together = [
        records_of(question, pieces)
        for question, pieces in zip(questions, rows.shared(questions[0], len(questions)), strict=True)
    ]
    under_way = [run for run, _ in together]
    while under_way:
        under_way = [run for run in under_way if run.goes_on()]
    for question, (_, kept) in zip(questions, together, strict=True):
        alone, expected = records_of(question, None)
        alone.to_the_end()
        found, alone_found = np.concatenate(kept), np.concatenate(expected)
        assert all(np.array_equal(found[name], alone_found[name], equal_nan=True) for name in memory.RECORD.names or ())
    assert len({len(np.concatenate(kept)) for _, kept in together}) == 3
