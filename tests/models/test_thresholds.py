"""Thresholds as a user writes them: what is wrong is told with its line, and what is right is read."""

from __future__ import annotations

import pytest

from trunkproof.models.errors import InputError
from trunkproof.models.study import Study
from trunkproof.models.study_file import parse_study

STUDY = """\
name: judged
duration_s: 6
traffic:
  arrivals: {kind: constant, rate_per_minute: 60}
  holding: 1
  destinations: [{number: "+918040005555", far_end: echo}, {number: "+918040006666", far_end: answers}]
thresholds:
"""


def study_with(*thresholds: str) -> Study:
    return parse_study(STUDY + "".join(f"  - {{{one}}}\n" for one in thresholds))


def test_thresholds_are_read_with_their_scope_and_the_instant_from_which_they_abort() -> None:
    whole, windowed, at_once = study_with(
        "kpi: mos_p5, at_least: 4, far_end: echo",
        "kpi: refused_share, at_most: 0.05, window_s: 60, trunk: trunk, abort_after_s: 30",
        'kpi: asr, at_least: 0.9, number: "+918040006666", abort: true',
    ).thresholds
    assert (str(whole.target.operator), whole.aborts_from_s, whole.scope) == ("at least", None, "far end echo")
    assert (windowed.aborts_from_s, windowed.scope) == (30.0, "trunk trunk, any 60 s")
    assert (at_once.aborts_from_s, at_once.scope) == (0.0, "number +91••••••••66")
    assert at_once.places_in({"trunk": study_with("kpi: calls, at_least: 1").trunks[0].traffic.where}) == {"trunk": 1}


def test_a_running_trunk_takes_new_thresholds() -> None:
    assert study_with("kpi: calls, at_least: 1").digest() == study_with("kpi: calls, at_least: 2").digest()


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        ("kpi: srd_p95, at_most: 800", "did you mean `srd_p95_ms`?"),
        ("kpi: asr, at_most: 0.5", "asks for worse"),
        ("kpi: asr, at_least: 95", "between 0 and 1"),
        ("kpi: asr", "exactly one of at_most and at_least"),
        ("kpi: asr, at_least: 0.5, trunk: other", "there is no trunk other; the study has trunk"),
        ('kpi: asr, at_least: 0.5, number: "+918040007777"', "no trunk lists the number +91••••••••77"),
        ("kpi: asr, at_least: 0.5, far_end: rings", "no destination has the far end rings"),
    ],
)
def test_a_wrong_threshold_is_told(threshold: str, words: str) -> None:
    with pytest.raises(InputError, match="study") as told:
        study_with(threshold)
    assert words in str(told.value)
