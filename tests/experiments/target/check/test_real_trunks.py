"""Check-ups of real programs: a hand-written Asterisk that knows nothing of the study, and our own trunk."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.loadgen.stacks.abroad.conftest import (
    ANSWERS,
    BUSY,
    CALLER,
    CUSTOMER,
    DOMAIN,
    ECHO,
    PLAYS,
    RINGS,
    asterisk,  # noqa: F401  # a fixture
    dialled,
    foreign_trunk,
)

from trunkproof.experiments.target.check.findings import CheckName, CheckReport, State
from trunkproof.experiments.target.check.run import CheckOptions, check_trunk
from trunkproof.experiments.target.remedies import PathFault, Status
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.stacks.asterisk.find import Installation
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study

FAR_ENDS: list[dict[str, Any]] = [
    {"number": ECHO, "far_end": "echo"},
    {"number": PLAYS, "far_end": "plays"},
    {"number": ANSWERS, "far_end": "answers"},
    {"number": BUSY, "far_end": "rejects", "status": 486},
    {"number": RINGS, "far_end": "rings"},
]
QUICK = CheckOptions(hold_s=1.2, machine=False, wrong_exophone=True)


def study(*, customer: str = CUSTOMER, caller: str = CALLER, callers: list[str] | None = None) -> Study:
    traffic = {
        "arrivals": {"kind": "constant", "rate_per_minute": 300},
        "holding": 1.5,
        "callers": callers or [caller],
        "destinations": FAR_ENDS,
    }
    trunk = {"customer_address": customer, "from_domain": DOMAIN, "traffic": traffic}
    return Study.model_validate({"name": "abroad", "duration_s": 4, "trunks": [trunk]})


@dataclass
class Checked:
    reports: dict[str, CheckReport]
    folder: Path


@pytest.fixture(scope="module")
def checked(asterisk: Installation, tmp_path_factory: pytest.TempPathFactory) -> Checked:  # noqa: F811
    folder = tmp_path_factory.mktemp("checked")

    async def run() -> dict[str, CheckReport]:
        questions = {
            "healthy": study(),
            "wrong Exophone": study(callers=["+918040009999", CALLER]),
            "stranger": study(customer="127.0.55.9"),
        }
        async with foreign_trunk(asterisk, folder) as card:
            # At the same time: all mostly wait. Only one of two customers at an address has the port 5061.
            checks = (check_trunk(draw_plan(question), card, RunOptions(), QUICK) for question in questions.values())
            return dict(zip(questions, await asyncio.gather(*checks), strict=True))

    return Checked(run_loop(run()), folder)


def state_of(report: CheckReport, name: CheckName, subject: str = "") -> State:
    return next(check.state for check in report.checks if check.name is name and subject in check.subject)


def test_all_holds_of_an_asterisk_with_every_kind_of_far_end(checked: Checked) -> None:
    report = checked.reports["healthy"]
    assert not report.broken, [f"{check.subject}, {check.name}: {check.seen}" for check in report.broken]
    for subject in ("echo", "announcement", "answers", "rejects", "rings"):
        assert state_of(report, CheckName.CALL, subject) is State.HOLDS
    echo = {check.name: check for check in report.checks if "echo" in check.subject}
    for name in (CheckName.SDP, CheckName.AUDIO_IN, CheckName.AUDIO_OUT, CheckName.NETWORK, CheckName.ACK):
        assert echo[name].state is State.HOLDS, echo[name]
    assert "mouth to ear" in echo[CheckName.AUDIO_OUT].seen
    for name in (CheckName.HOLD, CheckName.REFRESH, CheckName.CANCEL, CheckName.STRANGER, CheckName.WHITELIST):
        assert state_of(report, name) is State.HOLDS


def test_only_listed_numbers_were_dialled(checked: Checked) -> None:
    assert {number for number, _ in dialled(checked.folder)} <= {ECHO, PLAYS, ANSWERS, BUSY, RINGS}


def test_a_wrong_exophone_is_told_by_another_one_of_the_study(checked: Checked) -> None:
    report = checked.reports["wrong Exophone"]
    broken = {check.name: check for check in report.broken}
    assert set(broken) == {CheckName.IDENTITY}
    assert broken[CheckName.IDENTITY].troubles == (PathFault.WRONG_EXOPHONE,)
    # The check-up goes on with the caller that is admitted.
    assert state_of(report, CheckName.AUDIO_OUT, "echo") is State.HOLDS


def test_an_unknown_address_is_asked_for_credentials(checked: Checked) -> None:
    broken = {check.name: check for check in checked.reports["stranger"].broken}
    assert broken[CheckName.WHITELIST].troubles == (Status(401),)
    assert "whitelist" in (broken[CheckName.WHITELIST].remedy or pytest.fail("no remedy")).action
    assert state_of(checked.reports["stranger"], CheckName.CALL, "announcement") is State.NOT_TRIED


def test_the_report_is_json(checked: Checked) -> None:
    written = json.loads(json.dumps(checked.reports["stranger"].to_json(), allow_nan=False))
    assert written["counts"]["does not hold"] >= 1
    assert all(
        {"subject", "name", "state", "seen", "trouble", "meaning", "action"} == set(one) for one in written["checks"]
    )
