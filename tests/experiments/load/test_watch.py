"""Thresholds while a run lasts: never ended for what calls under way would still have mended."""

from __future__ import annotations

from trunkproof.experiments.load.watch import ThresholdWatch
from trunkproof.loadgen.observer import RunProgress
from trunkproof.models.plan import Plan, draw_plan
from trunkproof.models.records import Direction, Disposition, Record
from trunkproof.models.study_file import parse_study

STUDY = """\
name: watched
duration_s: 60
traffic:
  arrivals: {{kind: constant, rate_per_minute: 60}}
  holding: 300
  redial: {{probability: 1.0, delay: 2}}
thresholds:
  - {{kpi: refused_share, at_most: 0.4, {more}}}
"""


class Watched:
    """A watch, and what it said when it ended the run."""

    def __init__(self, more: str) -> None:
        self.plan: Plan = draw_plan(parse_study(STUDY.format(more=more)))
        self.watch = ThresholdWatch(self.plan)
        self.said: list[str] = []
        self.watch.abort = self.said.append

    def refuse(self, call: int, at_s: float, **values: object) -> None:
        record = Record(
            row=call, call=call, attempt=0, trunk="trunk", direction=Direction.OUTBOUND, intended_s=at_s, sent_s=at_s,
            disposition=Disposition.THROTTLED, status=503, ended_s=at_s + 0.1,
        )  # fmt: skip
        for name, value in values.items():
            setattr(record, name, value)
        self.watch.attempt_ended(record)

    def at(self, seconds: float) -> bool:
        self.watch.progressed(RunProgress(seconds, seconds / 60, 0, 0))
        return bool(self.said)


def test_three_refused_of_ten_placed_are_three_tenths_while_seven_are_up() -> None:
    watched = Watched("abort: true")
    placed = [row.place_s or 0.0 for row in watched.plan.first_attempts()]
    for call in (1, 4, 7):
        watched.refuse(call, placed[call])
    assert not watched.at(placed[9] + 0.5)
    for call in (2, 3):
        watched.refuse(call, placed[call])
    # Five of eleven.
    assert watched.at(placed[10] + 2)
    assert watched.said[0].startswith("Attempts refused at most 40.00 %: 4")


def test_a_redial_that_is_still_to_come_counts_as_good() -> None:
    watched = Watched("abort: true")
    # Nine others were placed, and will be up for minutes.
    for call in range(5):
        watched.refuse(call, float(call), redialled=True)
    assert not watched.at(10.5)
    for call in range(5):
        watched.refuse(call, call + 2.0, attempt=1)
    assert watched.at(12.0)


def test_it_waits_for_its_instant_and_for_a_full_window() -> None:
    watched = Watched("window_s: 10, abort_after_s: 20")
    for call in range(10):
        watched.refuse(call, float(call))
    assert not watched.at(9.0)
    assert not watched.at(12.0)
    for call in range(10, 20):
        watched.refuse(call, float(call))
    assert watched.at(21.0)
    assert "any 10 s" in watched.said[0]


def test_too_few_attempts_do_not_end_a_run() -> None:
    watched = Watched("abort: true, attempts_min: 3")
    watched.refuse(0, 0.0)
    watched.refuse(1, 1.0)
    assert not watched.at(1.5)
