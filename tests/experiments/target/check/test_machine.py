"""What this machine can carry is measured, and compared with what the study asks."""

from __future__ import annotations

from trunkproof.experiments.target.check.findings import CheckName, Checks, State
from trunkproof.experiments.target.check.machine import clock_state, judge_machine
from trunkproof.experiments.target.remedies import PathFault
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study


def test_more_calls_than_any_machine_carries_are_told() -> None:
    """Calls by the thousand within a second, which last: more than one process has ports or time for."""
    traffic = {"arrivals": {"kind": "constant", "rate_per_minute": 390_000}, "holding": 60}
    study = Study.model_validate({"name": "too many", "duration_s": 1, "trunks": [{"traffic": traffic}]})
    checks = Checks("this machine")
    run_loop(judge_machine(draw_plan(study), checks))
    found = {check.name: check for check in checks}
    assert found[CheckName.PORTS].troubles == (PathFault.TOO_FEW_PORTS,)
    assert found[CheckName.SPEED].troubles == (PathFault.TOO_SLOW,)
    assert "you ask 6,500" in found[CheckName.SPEED].seen
    assert found[CheckName.BUFFERS].state is State.HOLDS


def test_the_kernel_says_how_its_clock_is() -> None:
    """`adjtimex(2)` returns a state from 0 to 5, and -1 where it may not be asked."""
    assert clock_state() in range(-1, 6)
