"""The whole way from a history with a known truth to a decision: four requests, four answers."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

import pytest

from experiments.histories.generate import generate
from experiments.histories.truth import Truth, read_truth
from experiments.report.review_page import write_review_page
from experiments.review.decision_json import to_json
from experiments.review.request import Request
from experiments.review.result import Decision, Resource, Review
from experiments.review.review import review
from models.costs import PACKETS_PER_S, load_calibration
from models.errors import InputError
from models.history.settings import HistorySettings
from models.policies import FixedWindow, SlidingWindowAdmitted
from models.study import Carrier, Machine, Pop, Quality

TRUTHS = Path(__file__).parents[3] / "experiments" / "requests" / "histories"
SIZE = 0.4
"""Of the shipped small customer: nothing here is about size, and simulations take as long as it is large."""
BUSIEST = 24 * SIZE
PRESENT = 8
CHANNELS = Pop(carrier=Carrier(channels=200))


def smaller(name: str) -> Truth:
    truth = read_truth(TRUTHS / f"{name}.yaml")
    hourly = tuple(tuple(SIZE * rate for rate in day) for day in truth.hourly_per_minute)
    return truth.model_copy(update={"hourly_per_minute": hourly, "throttle": FixedWindow(limit=PRESENT)})


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("histories")
    for name in ("small", "three_days"):
        generate(smaller(name), folder / f"{name}.csv")
    return folder


def request(requested: int, history: str = "small", **changes: object) -> Request:
    values: dict[str, object] = {
        "name": f"from {PRESENT} to {requested}",
        "history": HistorySettings(path=Path(f"{history}.csv")),
        "now_per_minute": PRESENT,
        "requested_per_minute": requested,
        "candidates": (requested,),
        "readings": (FixedWindow(),),
        "enforced": FixedWindow(limit=PRESENT),
        "pop": CHANNELS,
    }
    return Request.model_validate(values | changes)


@cache
def approved(folder: Path) -> Review:
    return review(request(25, readings=(FixedWindow(), SlidingWindowAdmitted())), folder)


def test_enough_is_approved_and_says_what_it_rests_on(histories: Path) -> None:
    made = approved(histories)
    assert made.decision is Decision.APPROVE
    assert made.recommended_per_minute == 25
    assert made.confidence >= 0.95
    assert made.headline.startswith("Raise to 25: ")
    assert made.binding_now is Resource.THROTTLE
    assert not made.depends_on_enforcement
    # Ten weekdays, each off by its day's factor (CV 6 %) and by the Poisson noise of an hour's calls: 4.5 errors.
    error = math.hypot(0.06, 1 / math.sqrt(60 * BUSIEST)) / math.sqrt(10)
    assert made.busy_hour_per_minute.value == pytest.approx(BUSIEST, rel=4.5 * error)
    assert made.replay is not None
    assert made.replay.now["refused"].sum() > made.replay.requested["refused"].sum()
    assert made.endings is not None
    assert made.endings.now["throttled"] > made.endings.requested.get("throttled", 0.0)
    assert [step.per_minute for step in made.rollout] == [25]
    assert all(check.holds for check in made.checks if "theory" in check.name or "real" in check.name)
    assert made.needed[0].per_minute == 25
    assert made.assumptions
    assert made.simulated_calls > 0


def test_the_answer_leaves_as_json_and_as_a_page(histories: Path, tmp_path: Path) -> None:
    made = approved(histories)
    saved = json.loads(json.dumps(to_json(made), allow_nan=False))
    assert saved["decision"] == "approve"
    assert saved["kpis"]["requested"] == saved["kpis"]["recommended"]
    assert saved["history"]["oddities"]["duplicate"] == 31
    write_review_page(made, tmp_path / "report.html")
    assert "Raise to 25: " in (tmp_path / "report.html").read_text()


def test_lower_is_advised_where_audio_suffers_from_what_a_higher_throttle_lets_in(histories: Path) -> None:
    """Demand is always beyond the throttle; 46 calls at once are all that the quota bears. Behind a full throttle of 14
    there are 14 / 60 x 0.78 x 165 = 30 of them, three standard deviations below that; behind 24 there are 51.
    """
    costs = load_calibration("embedded").costs
    audio = 46 * PACKETS_PER_S * costs.packet_s
    quota = costs.idle_share + audio * costs.cold_factor(audio)
    made = review(
        request(
            24,
            candidates=(14,),
            growth=2.6,
            pop=Pop(machine=Machine(cores=1, quota=quota)),
            quality=Quality(refused_share_max=None, customers_lost_share_max=None, srd_p95_ms_max=None),
        ),
        histories,
    )
    assert made.decision is Decision.APPROVE_LOWER
    assert made.recommended_per_minute == 14
    assert made.headline.startswith("Raise to 14, not 24: ")
    assert [step.per_minute for step in made.rollout] == [14]


def test_too_few_channels_are_no_matter_of_the_throttle(histories: Path) -> None:
    made = review(request(25, pop=Pop(carrier=Carrier(channels=14))), histories)
    assert made.decision is Decision.REFUSE
    assert made.recommended_per_minute is None
    assert made.binding_next is Resource.CHANNELS
    assert "channels (14 channels)" in made.headline
    assert made.needed[-1].channels > 14
    assert made.rollout == ()


def test_growth_that_may_be_anything_cannot_be_told(histories: Path) -> None:
    made = review(request(18, growth_cv=0.5), histories)
    assert made.decision is Decision.CANNOT_TELL
    assert made.headline.startswith("Cannot tell whether 18 will do")


def test_readings_that_disagree_are_told(histories: Path) -> None:
    """One call in two and a half seconds is the same rate, and refuses every caller who comes right after another."""
    made = review(request(24, readings=(FixedWindow(), FixedWindow(limit=1, window_s=2.5))), histories)
    assert made.depends_on_enforcement
    assert made.decision is Decision.REFUSE
    assert [reading.decision for reading in made.readings] == [Decision.APPROVE, Decision.REFUSE]


def test_three_days_are_not_enough_and_nothing_is_simulated(histories: Path, tmp_path: Path) -> None:
    made = review(request(25, "three_days"), histories)
    assert made.decision is Decision.CANNOT_TELL
    assert made.simulated_calls == 0
    assert made.reasons
    write_review_page(made, tmp_path / "report.html")
    assert json.loads(json.dumps(to_json(made), allow_nan=False))["decision"] == "cannot_tell"


def test_the_same_seed_is_the_same_answer(histories: Path) -> None:
    made = request(25, readings=(FixedWindow(), SlidingWindowAdmitted()))
    one, same = to_json(approved(histories)), to_json(review(made, histories))
    for saved in (one, same):
        del saved["provenance"]
    assert one == same


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(2000), b"Dear planner,\nplease raise it.\n"])
def test_a_file_that_is_no_history(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "small.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"small\.csv"):
        review(request(25), tmp_path)
