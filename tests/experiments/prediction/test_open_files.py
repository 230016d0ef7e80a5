"""Open files: no word where they are enough, a warning where the throttle saves them, a problem where nothing does."""

from __future__ import annotations

import pytest

from trunkproof.experiments.prediction.forecast import forecast
from trunkproof.experiments.prediction.open_files import check_open_files, find_shortage
from trunkproof.models.errors import InputError
from trunkproof.models.plan import Plan, draw_plan
from trunkproof.models.study_file import parse_study

STUDY = """\
name: many at once
duration_s: 30
trunk:
  throttle: {policy: fixed_window, limit: LIMIT, window_s: 60}
traffic:
  arrivals: {kind: constant, rate_per_minute: 600}
  holding: 100
  tls: {policy: POLICY}
"""


def plan(limit: int = 1000, policy: str = "persistent") -> Plan:
    return draw_plan(parse_study(STUDY.replace("LIMIT", str(limit)).replace("POLICY", policy)))


def test_enough_for_every_call_is_no_word() -> None:
    drawn = plan()
    needed = 100 + 1 + 2 * forecast(drawn).peak_held
    assert check_open_files(drawn, allowed=needed) == ()
    assert find_shortage(drawn, allowed=needed - 1) is not None


def test_a_connection_for_each_call_is_counted() -> None:
    drawn = plan(policy="per_call")
    needed = 100 + 1 + 3 * forecast(drawn).peak_held
    assert check_open_files(drawn, allowed=needed) == ()
    assert find_shortage(drawn, allowed=needed - 1) is not None


def test_several_processes_share_them() -> None:
    drawn = plan()
    half = 101 + forecast(drawn).peak_held + 2
    assert check_open_files(drawn, allowed=half, processes=2) == ()
    assert find_shortage(drawn, allowed=half) is not None


def test_too_few_is_a_problem_with_its_figures() -> None:
    with pytest.raises(InputError, match=r"open files: 300 attempts .* need 701 open files; .* 256: raise"):
        check_open_files(plan(), allowed=256)


def test_where_the_throttle_refuses_most_it_is_a_warning() -> None:
    (warning,) = check_open_files(plan(limit=20), allowed=256)
    assert warning.startswith("open files may run out")
    assert "300 if the trunk refused none" in warning
