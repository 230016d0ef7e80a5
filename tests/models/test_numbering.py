"""No trunk's rows reach the numbers of the next: such a study is refused before it runs, and no row is drawn beyond."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trunkproof.models import draws
from trunkproof.models.draws import drawn_chunks
from trunkproof.models.errors import InputError
from trunkproof.models.numbering import check_rows
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study
from trunkproof.simulator.kernel.rows import pieces
from trunkproof.simulator.run import Engine, simulate

DAY_S = 86_400.0


def study(*rates_per_minute: float, days: float = 1.0, redial: float = 0.0) -> Study:
    trunks = [
        {
            "name": f"t{number}",
            "customer_address": f"127.0.0.{number + 2}",
            "traffic": {
                "arrivals": {"kind": "poisson", "rate_per_minute": rate},
                "holding": 1,
                "redial": {"probability": redial, "attempts": 3},
            },
        }
        for number, rate in enumerate(rates_per_minute)
    ]
    return Study.model_validate({"name": "t", "duration_s": days * DAY_S, "trunks": trunks})


def test_every_trunk_that_needs_too_many_is_named() -> None:
    # 144 million calls in a day on the first and the last.
    with pytest.raises(InputError) as refused:
        check_rows(study(100_000, 1000, 100_000))
    assert [problem.where for problem in refused.value.problems] == ["trunks[0].traffic", "trunks[2].traffic"]
    assert "has numbers for 100,000,000; make duration_s less than" in refused.value.problems[0].what


def test_redials_need_numbers_too() -> None:
    # 72 million calls; with one redial of each at least, 144 million rows.
    check_rows(study(50_000))
    with pytest.raises(InputError, match="needs about 216,"):
        check_rows(study(50_000, redial=1.0))


@pytest.mark.parametrize(
    "begin",
    [
        draw_plan,
        pieces,
        lambda question: simulate(question, engine=Engine.SIMPY),
        lambda question: simulate(question, engine=Engine.KERNEL),
    ],
    ids=["plan", "pieces", "simpy", "kernel"],
)
def test_nothing_runs(begin: Callable[[Study], object], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr("trunkproof.models.plan.drawn_chunks", drawn.append)
    monkeypatch.setattr("trunkproof.simulator.kernel.rows.drawn_chunks", drawn.append)
    with pytest.raises(InputError, match=r"trunks\[0\].traffic: needs about 14"):
        begin(study(100_000))
    assert not drawn


def test_a_row_without_a_number_is_never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "ROWS_PER_TRUNK", 1000)
    question = study(1, 1)
    chunks = drawn_chunks(question, 1, calls_per_chunk=300)
    rows = [int(row) for _, chunk in zip(range(3), chunks, strict=False) for row in chunk.row]
    assert rows == list(range(1000, 1900))
    with pytest.raises(InputError, match=r"trunks\[1\].traffic: needs about 1,"):
        next(chunks)
