"""Run all checks of the suite, and write their page and their figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.report.sheet import fill
from trunkproof.experiments.verification.cases import loss_cases
from trunkproof.experiments.verification.check import Check, Point
from trunkproof.experiments.verification.coverage import coverage_check
from trunkproof.experiments.verification.parity import loss_check, redial_check, throttle_check
from trunkproof.experiments.verification.quantiles import gap_check, holding_check, score_check
from trunkproof.experiments.verification.size import Size

PAGE, FIGURES = "verification.html", "verification.json"
Said = Callable[[Check], None]


@dataclass(frozen=True)
class Verification:
    """All checks, in the order of the page."""

    checks: tuple[Check, ...]
    provenance: Provenance

    @property
    def is_correct(self) -> bool:
        """Tell whether every check is correct."""
        return all(check.is_correct for check in self.checks)

    @property
    def sentence(self) -> str:
        """Return the outcome in one sentence."""
        wrong = [check for check in self.checks if not check.is_correct]
        if wrong:
            return f"The simulator disagrees with exact theory in {len(wrong)} of {len(self.checks)} checks."
        return f"The simulator agrees with exact theory in all {len(self.checks)} checks."

    def to_json(self) -> dict[str, Any]:
        """Return everything but the pictures, ready for `json.dumps`."""
        return {
            "verdict": "correct" if self.is_correct else "incorrect",
            "sentence": self.sentence,
            "checks": [check.to_json() for check in self.checks],
            "provenance": self.provenance.to_json(),
        }


def _silent(check: Check) -> None:
    pass


def verify(size: Size, *, executor: Executor | None = None, said: Said = _silent, command: str = "") -> Verification:
    """Run every check.

    Args:
        size: how much is computed.
        executor: runs the repetitions; None runs them here. Its processes must be spawned, as by
            `simulator.replicate.processes`.
        said: called with each check as it is done.
        command: the command that makes the result again.
    """
    checks: list[Check] = []
    differences: list[Point] = []
    for compare in (loss_check, throttle_check, redial_check, coverage_check):
        check, points = compare(size, executor)
        said(check)
        checks.append(check)
        differences += points
    for check in (gap_check(size), holding_check(size), score_check(differences)):
        said(check)
        checks.append(check)
    return Verification(tuple(checks), Provenance.collect(loss_cases(size.calls)[0].study, command))


def render_verification(verification: Verification) -> str:
    """Return the page as HTML text."""
    return fill("verification.html", panels=[check.panel for check in verification.checks], verification=verification)


def write_verification(verification: Verification, folder: Path) -> None:
    """Write page and figures into a folder."""
    text = json.dumps(verification.to_json(), indent=1, allow_nan=False)
    (folder / FIGURES).write_text(text + "\n", encoding="utf-8")
    (folder / PAGE).write_text(render_verification(verification), encoding="utf-8")
