"""The whole way from a history with a known truth to a decision: small requests, each with its right answer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import cache
from pathlib import Path

import pytest
from tests.experiments.review.conftest import PRESENT, SIZE

from trunkproof.experiments.review.decision_json import to_json
from trunkproof.experiments.review.request import Neighbour, Request
from trunkproof.experiments.review.result import Decision, Resource, Review
from trunkproof.experiments.review.review import review
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.errors import InputError
from trunkproof.models.study import Carrier, Pop
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted
from trunkproof.models.throttles.token_bucket import TokenBucket

BUSIEST = 24 * SIZE
CHANNELS = Pop(carrier=Carrier(channels=200))


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    """Less is simulated than for a real request; intervals are wider by that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trunkproof.experiments.review.sweep.sweep.CALLS_WANTED", 15_000)
        patch.setattr("trunkproof.experiments.review.backcast._MOST_REPETITIONS", 6)
        patch.setattr("trunkproof.experiments.review.courses.DRAWS", 100)
        yield


def request(requested: int, history: str = "small", **changes: object) -> Request:
    values: dict[str, object] = {
        "name": f"from {PRESENT} to {requested}",
        "history": HistorySettings(path=Path(f"{history}.csv")),
        "now_per_minute": PRESENT,
        "requested_per_minute": requested,
        "interpretations": (FixedWindow(),),
        "enforced": FixedWindow(limit=PRESENT),
        "pop": CHANNELS,
        "growth": 1.0,
        "growth_cv": 0.05,
    }
    return Request.model_validate(values | changes)


@cache
def raised(folder: Path, executor: Executor) -> Review:
    """Asks for far more than is needed."""
    return review(request(60, interpretations=(FixedWindow(), SlidingWindowAdmitted())), folder, executor=executor)


def test_more_than_is_needed_is_answered_by_the_smallest_that_is_sure_with_headroom(
    histories: Path, two_processes: Executor
) -> None:
    made = raised(histories, two_processes)
    assert made.decision is Decision.APPROVE_LOWER
    assert made.recommended_per_minute is not None
    # Of 9.6 callers a minute a sliding window of 17 refuses 1 %; what is not known of their level adds to it.
    assert 17 <= made.recommended_per_minute <= 26
    assert made.confidence >= 0.95
    assert made.headline.startswith(f"Raise to {made.recommended_per_minute}, not 60")
    for one in made.interpretations:
        assert one.at(made.recommended_per_minute).holds
        assert one.at(PRESENT).holds is False
        assert one.smallest_per_minute is not None
        assert one.smallest_per_minute <= made.recommended_per_minute / 1.09
        lower = [point for point in one.points if point.limit_per_minute < one.smallest_per_minute]
        assert not any(point.holds for point in lower)


def test_an_answer_says_what_it_rests_on(histories: Path, two_processes: Executor) -> None:
    made = raised(histories, two_processes)
    # Ten weekdays, each off by its day's factor (CV 6 %) and by the Poisson noise of an hour's calls: 4.5 errors.
    error = math.hypot(0.06, 1 / math.sqrt(60 * BUSIEST)) / math.sqrt(10)
    assert made.busy_hour_per_minute.value == pytest.approx(BUSIEST, rel=4.5 * error)
    assert [period.weekdays for period in made.busy_periods] == [(0, 1, 2, 3, 4)]
    assert abs(made.busy_periods[0].start_s - 10 * 3600) <= 1800
    assert all(one.reproduces for one in made.backcast)
    assert made.contradicted == ()
    assert made.binding_now is Resource.THROTTLE
    names = ["today", "recommended", "asked for", "nothing done for a year"]
    assert [one.name for one in made.situations] == names
    today, recommended = made.situations[:2]
    assert today.refused_share.value > 0.1
    assert recommended.refused_share.value < 0.01
    assert {one.limit_per_minute for one in made.protection} >= {PRESENT, 60, made.recommended_per_minute}
    assert made.replay is not None
    assert made.replay.now["refused"].sum() > made.replay.requested["refused"].sum()
    assert made.endings is not None
    assert made.endings.now["throttled"] > made.endings.requested.get("throttled", 0.0)
    assert made.rollout[-1].per_minute == made.recommended_per_minute
    assert all(check.holds for check in made.checks if "theory" in check.name or "real" in check.name)
    assert made.needed[0].per_minute == 60
    assert made.assumptions
    assert made.simulated_calls > 0


def test_the_answer_leaves_as_json(histories: Path, two_processes: Executor) -> None:
    saved = json.loads(json.dumps(to_json(raised(histories, two_processes)), allow_nan=False))
    assert saved["decision"] == "approve_lower"
    assert saved["history"]["oddities"]["duplicate"] == 31


def test_what_is_needed_and_not_more_is_approved(histories: Path, two_processes: Executor) -> None:
    wanted = raised(histories, two_processes).recommended_per_minute
    assert wanted is not None
    made = review(request(wanted, candidates=(wanted - 1,)), histories, executor=two_processes)
    assert made.decision is Decision.APPROVE
    assert made.recommended_per_minute == wanted
    assert made.headline.startswith(f"Raise to {wanted}")


def test_a_present_throttle_that_is_enough_needs_no_raise(histories: Path, two_processes: Executor) -> None:
    made = review(request(60, now_per_minute=40, throttle_history=[{"from": "2026-09-01", "per_minute": PRESENT}]),
                  histories, executor=two_processes)  # fmt: skip
    assert made.decision is Decision.NOT_NEEDED
    assert made.recommended_per_minute == 40
    assert made.rollout == ()
    assert made.headline.startswith("No raise is needed")


def test_too_few_channels_are_no_matter_of_the_throttle(histories: Path, two_processes: Executor) -> None:
    """Behind the present throttle 26 channels are enough, so that the history does not show the lack. Half as many
    callers again are 33 E.
    """
    pop = Pop(carrier=Carrier(channels=26))
    made = review(request(25, pop=pop, growth=1.5), histories, executor=two_processes)
    assert made.decision is Decision.REFUSE
    assert made.recommended_per_minute is None
    assert made.binding_next is Resource.CHANNELS
    assert made.needed[-1].channels > 33
    assert made.rollout == ()


def test_none_is_advised_that_harms_a_neighbour(histories: Path, two_processes: Executor) -> None:
    """The customer's callers would find channels, but a neighbour's would not when all of the throttle is used."""
    pop = Pop(carrier=Carrier(channels=40))
    other = Neighbour(name="other", per_minute=1.0, throttle=FixedWindow(limit=8), mean_hold_s=60.0)
    made = review(request(60, pop=pop, neighbours=(other,), candidates=(21,)), histories, executor=two_processes)
    protects = {one.limit_per_minute: one.holds for one in made.protection}
    assert protects[60] is False
    assert made.decision in {Decision.REFUSE, Decision.CANNOT_TELL}
    assert {"other"} == {name for one in made.protection for name in one.blocked}


def test_an_interpretation_that_the_history_contradicts_takes_no_part(histories: Path, two_processes: Executor) -> None:
    interpretations = (FixedWindow(), TokenBucket(burst=1))
    made = review(
        request(60, interpretations=interpretations, enforced=None, candidates=(22,)), histories, executor=two_processes
    )
    assert made.contradicted == (TokenBucket(burst=1),)
    assert [one.interpretation for one in made.interpretations] == [FixedWindow()]
    assert made.decision is Decision.APPROVE_LOWER


def test_a_history_that_no_interpretation_reproduces_is_not_extrapolated(
    histories: Path, two_processes: Executor
) -> None:
    interpretations = (TokenBucket(burst=1),)
    made = review(
        request(60, interpretations=interpretations, enforced=None, candidates=(22,)), histories, executor=two_processes
    )
    assert made.decision is Decision.CANNOT_TELL
    assert made.recommended_per_minute is None
    assert not any(one.reproduces for one in made.backcast)


def test_three_days_are_not_enough_and_nothing_is_simulated(histories: Path) -> None:
    made = review(request(25, "three_days"), histories)
    assert made.decision is Decision.CANNOT_TELL
    assert made.simulated_calls == 0
    assert made.reasons
    assert json.loads(json.dumps(to_json(made), allow_nan=False))["decision"] == "cannot_tell"


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(2000), b"Dear planner,\nplease raise it.\n"])
def test_a_file_that_is_no_history(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "small.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"small\.csv"):
        review(request(25), tmp_path)
