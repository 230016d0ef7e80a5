"""One examination: write a scenario's history, let it be reviewed, and compare the answer with the truth."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trunkproof.experiments.verification.review.answer import Answer, ask, horizon_days
from trunkproof.experiments.verification.review.scenario import Scenario, busiest, scenario
from trunkproof.experiments.verification.review.truth import Cell, CellName, Period, truth

Result = dict[str, Any]
"""One line of the file of results: JSON values only."""


def examine(kind: str, seed: int) -> Result:
    """Examine the review once. A review that raises gives a result with `error`.

    It stands at the top of the module because processes must find it by its name.
    """
    began = time.monotonic()
    case = scenario(kind, seed, horizon_days())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.csv"
        refused_then = case.write_history(path)
        reviewed = time.monotonic()
        answer, error = _asked(case, path)
    judging = time.monotonic()
    cells, of_busiest = _truth(case, answer)
    return {
        "kind": kind,
        "seed": seed,
        "is_stationary": case.mechanism.is_stationary,
        "now": case.now,
        "requested": case.requested,
        "candidates": list(case.candidates),
        "interpretations": [asdict(policy) for policy in case.interpretations],
        "enforced_interpretation": case.enforced_interpretation,
        "channels": case.channels,
        "bounds": asdict(case.bounds),
        "just_enough": case.just_enough,
        "form": case.mechanism.recording.form,
        "days": case.mechanism.days,
        "refused_in_history": refused_then,
        "error": error,
        "answer": None if answer is None else asdict(answer),
        "spoken_for": None if answer is None else answer.spoken_for(case.now),
        "truth": _rows(case, cells),
        "truth_of_busiest": _rows(case, of_busiest),
        "seconds": {
            "history": round(reviewed - began, 2),
            "review": round(judging - reviewed, 2),
            "truth": round(time.monotonic() - judging, 2),
        },
    }


def _asked(case: Scenario, path: Path) -> tuple[Answer | None, str | None]:
    """Return the answer, or the error: the examination goes on after a review that failed."""
    try:
        return ask(case, path), None
    except Exception as error:  # every failure of the review is a result
        return None, "".join(traceback.format_exception_only(error)).strip()


def _truth(case: Scenario, answer: Answer | None) -> tuple[Mapping[CellName, Cell], Mapping[CellName, Cell]]:
    """Return the truth in the judged periods, and that in the hours that really are the busiest.

    The first has every throttle that the answer mentions. The second has only the throttle at which the decision says
    that all targets hold: a review that also judges quiet days could hide a bad one among them.
    """
    limits = {case.now, case.requested, *case.candidates}
    horizon = horizon_days() if answer is None else answer.horizon_days
    hours = busiest(case.mechanism, horizon)
    judged, spoken_for = hours, None
    if answer is not None:
        limits |= {claim.limit for claim in answer.claims}
        judged, spoken_for = answer.judged or hours, answer.spoken_for(case.now)
    if spoken_for is not None:
        limits.add(spoken_for)

    def found(periods: Sequence[Period], of: Collection[int]) -> Mapping[CellName, Cell]:
        return truth(
            case.mechanism, periods, case.interpretations, sorted(of),
            bounds=case.bounds, seed=case.seed, horizon_days=horizon, channels=case.channels,
        )  # fmt: skip

    return found(judged, limits), {} if spoken_for is None else found(hours, [spoken_for])


def _rows(case: Scenario, cells: Mapping[CellName, Cell]) -> list[Result]:
    return [
        {"interpretation": interpretation, "limit": limit, **cell.to_json(), **_holds(case, cell)}
        for (interpretation, limit), cell in sorted(cells.items())
    ]


def _holds(case: Scenario, cell: Cell) -> dict[str, bool | None]:
    """Tell whether the targets hold, and whether they would at half and at double their bounds."""
    scales = {"holds": 1.0, "holds_at_half": 0.5, "holds_at_double": 2.0}
    return {name: cell.holds(case.bounds, scale) for name, scale in scales.items()}
