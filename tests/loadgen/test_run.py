"""A run step by step against an embedded trunk in this process: anchors before calls, ends, observers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from trunkproof.loadgen.media.pump import VARIABLE
from trunkproof.loadgen.meters.report import Sample
from trunkproof.loadgen.observer import Observer, RunProgress
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.run import Run, RunResult
from trunkproof.loadgen.run_end import COMPLETED, EndKind
from trunkproof.loadgen.stack_events import StackEvent
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import Record
from trunkproof.models.study import Study


@pytest.fixture(autouse=True)
def _plain_pump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "plain")


def study(calls: int = 4, hold_s: float = 0.3, **more: float) -> Study:
    traffic = {
        "arrivals": {"kind": "replay", "instants_s": [0.1 * number for number in range(calls)]},
        "holding": hold_s,
        "ringing": 0.1,
    } | more
    trunk = {"name": "bank", "customer_address": "127.0.0.58", "traffic": traffic}
    return Study.model_validate({"name": "t", "duration_s": 5, "trunks": [trunk]})


class Noting(Observer):
    def __init__(self) -> None:
        self.began: list[int] = []
        self.ended: list[tuple[int, str]] = []
        self.events: list[tuple[StackEvent, float]] = []
        self.samples: list[Sample] = []
        self.progress: list[RunProgress] = []

    def attempt_began(self, record: Record) -> None:
        self.began.append(record.row)

    def attempt_ended(self, record: Record) -> None:
        self.ended.append((record.row, record.disposition))

    def stack_event(self, event: StackEvent, at_s: float) -> None:
        self.events.append((event, at_s))

    def metered(self, samples: Sequence[Sample]) -> None:
        self.samples += samples

    def progressed(self, progress: RunProgress) -> None:
        self.progress.append(progress)


def test_anchors_come_before_the_first_call_and_observers_hear_of_everything(tmp_path: Path) -> None:
    noting = Noting()

    async def run() -> RunResult:
        question = study()
        async with (
            running_trunk(question, tmp_path) as card,
            Run(draw_plan(question), card, RunOptions(observers=(noting,))) as run,
        ):
            anchors = await run.begin()
            assert set(anchors) == {"bank"}
            assert noting.began == []
            driven = await run.finish()
            assert driven.anchors == anchors
            return driven

    driven = asyncio.run(run())
    assert driven.end == COMPLETED
    assert noting.began == driven.records["row"].to_list()
    assert dict(noting.ended) == dict(driven.records.select("row", "disposition").iter_rows())
    assert noting.events == []
    assert {sample.source for sample in noting.samples} == {"embedded"}
    assert driven.samples is not None
    # The first reading comes before plan zero is known, and one more when the result has been taken.
    first = min(sample.at_s for sample in noting.samples)
    kept = driven.samples.filter(driven.samples["at_s"] >= first)
    assert kept.height
    assert kept.rows() == [tuple(sample) for sample in noting.samples[: kept.height]]
    assert [each.begun for each in noting.progress] == sorted(each.begun for each in noting.progress)
    assert all(each.ended <= each.begun <= 4 for each in noting.progress)


def test_a_run_that_is_stopped_before_it_is_finished_places_nothing(tmp_path: Path) -> None:
    async def run() -> RunResult:
        question = study(hold_s=30.0)
        async with running_trunk(question, tmp_path) as card, Run(draw_plan(question), card) as run:
            await run.begin()
            run.stop()
            return await run.finish()

    driven = asyncio.run(run())
    assert driven.end.kind is EndKind.INTERRUPTED
    assert str(driven.end) == "interrupted before the first call"
    assert driven.records.height == 0


def test_calls_that_come_in_are_ended_when_the_run_is_stopped_after_its_own_calls(tmp_path: Path) -> None:
    class StopOnce(Observer):
        def __init__(self) -> None:
            self.stop = asyncio.Event()

        def progressed(self, progress: RunProgress) -> None:
            if progress.at_s > 1.0:
                self.stop.set()

    async def run() -> RunResult:
        question = study(hold_s=40.0, inbound_share=1.0)
        once = StopOnce()
        async with (
            running_trunk(question, tmp_path) as card,
            Run(draw_plan(question), card, RunOptions(observers=(once,))) as run,
        ):
            await run.begin()
            return await run.finish(once.stop)

    driven = asyncio.run(run())
    assert driven.end.kind is EndKind.INTERRUPTED
    assert driven.records["disposition"].to_list() == ["still_up"] * 4


def test_a_run_that_has_not_begun_cannot_be_finished_and_leaves_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        question = study()
        async with running_trunk(question, tmp_path) as card, Run(draw_plan(question), card) as run:
            run.stop()
            with pytest.raises(RuntimeError, match="has not begun"):
                await run.finish()

    asyncio.run(run())
