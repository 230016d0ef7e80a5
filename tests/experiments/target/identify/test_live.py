"""A throttle told by real calls on a real trunk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from trunkproof.experiments.target.identify.live import Placed, note, probe_trunk, probing_plan
from trunkproof.experiments.target.identify.probe import Probe, ProbeBounds
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.models.errors import GuardError, InputError
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import Direction, Disposition, Record
from trunkproof.models.study import Study
from trunkproof.models.study_file import parse_study
from trunkproof.models.traffic import TlsPolicy

STUDY = """\
name: to be identified
duration_s: 60
trunk:
  throttle: {policy: token_bucket, limit: 120, burst: 10}
traffic:
  arrivals: {kind: constant, rate_per_minute: 120}
  holding: 5
  tls: {policy: per_call}
"""
BOUNDS = ProbeBounds(calls=60, seconds=16)


def study(text: str = STUDY) -> Study:
    return parse_study(text)


def test_short_calls_tell_the_bucket_of_the_embedded_trunk(tmp_path: Path) -> None:
    async def run() -> None:
        asked, probe = study(), Probe(BOUNDS)
        async with running_trunk(asked, tmp_path) as card:
            found, records = await probe_trunk(draw_plan(asked), card, RunOptions(), probe)
        assert found.settings == asked.trunks[0].throttle
        assert [family.policy.name() for family in found.families] == ["token_bucket"]
        kinds = set(records["disposition"])
        assert kinds <= {Disposition.ABANDONED, Disposition.COMPLETED, Disposition.THROTTLED, Disposition.STILL_UP}
        assert records.height == len(found.attempts) <= BOUNDS.calls

    asyncio.run(run())


def test_all_calls_go_over_one_connection_that_stays_open() -> None:
    plan = probing_plan(draw_plan(study()))
    assert plan.study.trunks[0].traffic.tls.policy is TlsPolicy.PERSISTENT


def test_a_target_outside_loopback_is_not_probed_unless_it_is_named() -> None:
    card = TrunkCard(stack="foreign", server_name="x", host="192.0.2.1", port=5061, ca_file="none")

    async def run() -> None:
        await probe_trunk(draw_plan(study()), card, RunOptions(), Probe(BOUNDS))

    with pytest.raises(GuardError):
        asyncio.run(run())


def test_a_study_without_a_call_that_rings_cannot_probe() -> None:
    card = TrunkCard(stack="foreign", server_name="x", host="127.0.0.1", port=5061, ca_file="none")
    busy = study(STUDY + "  outcomes: {busy: 1.0}\n")

    async def run() -> None:
        await probe_trunk(draw_plan(busy), card, RunOptions(), Probe(BOUNDS))

    with pytest.raises(InputError, match="no outbound call that rings"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("disposition", "status", "passed"),
    [
        (Disposition.THROTTLED, 503, False),
        (Disposition.FORBIDDEN, 403, False),
        (Disposition.BUSY, 486, True),
        (Disposition.NO_ANSWER, 480, True),
        (Disposition.NOT_FOUND, 404, None),
    ],
)
def test_what_a_final_response_says_of_the_throttle(disposition: Disposition, status: int, passed: bool | None) -> None:
    probe = Probe(BOUNDS)

    async def run() -> bool:
        record = Record(
            row=0,
            call=0,
            attempt=0,
            trunk="trunk",
            direction=Direction.OUTBOUND,
            disposition=disposition,
            intended_s=1.0,
            sent_s=1.0,
            ended_s=1.1,
            status=status,
        )
        task = asyncio.create_task(asyncio.sleep(0))
        await task
        probe.placed(1.0)
        return note(Placed(1.0, record, task), probe)

    assert asyncio.run(run()) is (passed is not None)
    assert [attempt.admitted for attempt in probe.attempts] == ([] if passed is None else [passed])
    assert probe.lost == (passed is None)
