"""A part of the grid of identify: the family is right, and it is never sure and wrong."""

from __future__ import annotations

import pytest

from trunkproof.experiments.verification.identify.grid import Trial, difficult_trials, known_trials

KNOWN = [trial for number, trial in enumerate(known_trials()) if number % 7 == 1]
DIFFICULT = [trial for number, trial in enumerate(difficult_trials()) if number % 5 == 2]


@pytest.mark.parametrize("trial", [*KNOWN, *DIFFICULT], ids=lambda trial: f"{trial.name}, {trial.phase}")
def test_identify_is_never_sure_and_wrong(trial: Trial) -> None:
    outcome = trial.run()
    assert not outcome.is_sure_and_wrong
    assert len(outcome.found.attempts) <= trial.bounds.calls
