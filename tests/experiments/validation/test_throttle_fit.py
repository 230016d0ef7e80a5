"""What the records of a run say of a throttle: its phase, which values they constrain, and what it is instead."""

from __future__ import annotations

import json

from trunkproof.experiments.validation.throttle_fit import Constraint, ThrottleFit, fit_throttles, fitted_anchors
from trunkproof.experiments.validation.throttle_words import alternative_words, constraint_words, throttle_lines
from trunkproof.models.study import Study
from trunkproof.models.study_file import parse_study
from trunkproof.simulator.run import simulate

STUDY = """\
name: fitted
duration_s: 60
trunk:
  name: main
  throttle: {throttle}
traffic:
  arrivals: {{kind: poisson, rate_per_minute: 300}}
  holding: 1
"""
WINDOW = "{policy: fixed_window, limit: 40, window_s: 10}"
BUCKET = "{policy: token_bucket, limit: 200, burst: 30}"


def described(throttle: str) -> Study:
    return parse_study(STUDY.format(throttle=throttle))


def fit(real: str, described_as: str, *, anchor_s: float = 3.7, told: bool = False) -> ThrottleFit:
    anchors = {"main": anchor_s}
    records = simulate(described(real), anchors=anchors)
    (found,) = fit_throttles(described(described_as), records, anchors if told else {})
    return found


def by_name(found: ThrottleFit) -> dict[str, Constraint]:
    return {one.parameter: one for one in found.constraints}


def test_the_phase_of_a_window_is_fitted_and_told_beside_the_unfitted_figure() -> None:
    found = fit(WINDOW, WINDOW)
    assert found.share < 0.95
    assert found.fitted_share == 1
    assert found.phase is not None
    assert found.phase.is_told
    assert abs(found.phase.anchor_s - 3.7) <= found.phase.within_s + 0.002
    assert fitted_anchors((found,), {}) == {"main": found.phase.anchor_s}
    assert ThrottleFit.from_json(json.loads(json.dumps(found.to_json()))) == found
    words = " ".join(throttle_lines(found))
    assert "fitted to these records, 100 %" in words
    assert "known to ±" in words


def test_a_phase_that_the_trunk_tells_is_not_fitted() -> None:
    found = fit(WINDOW, WINDOW, told=True)
    assert (found.share, found.fitted_share, found.phase) == (1.0, None, None)


def test_a_bucket_that_never_ran_dry_says_nothing_of_its_burst() -> None:
    full = "{policy: token_bucket, limit: 400, burst: 100}"
    burst = by_name(fit(full, full))["burst"]
    assert burst.most is None
    assert burst.least < 100
    assert "the records cannot tell" in constraint_words(burst)


def test_a_limit_that_is_one_off_still_agrees_and_is_told_so() -> None:
    limit = by_name(fit(WINDOW, WINDOW))["limit"]
    assert (limit.least, limit.most) == (40, 40)
    assert limit.agrees_most is not None
    assert limit.agrees_least <= 40 <= limit.agrees_most
    assert limit.agrees_most - limit.agrees_least >= 1


def test_a_wrong_description_is_told_with_the_right_one() -> None:
    found = fit(BUCKET, WINDOW)
    assert not found.explains
    assert found.alternative is not None
    assert found.alternative.settings.describe() == "200 calls in 60 s, token bucket of 30"
    assert found.alternative.share == 1
    assert "100 % as 200 calls in 60 s, token bucket of 30" in alternative_words(found)


def test_two_trunks_that_share_a_limit_are_one_throttle() -> None:
    trunks = [
        {
            "name": name,
            "customer_address": f"127.0.0.{place}",
            "throttle": {"shared": "account"},
            "traffic": {"arrivals": {"kind": "poisson", "rate_per_minute": 150}, "holding": 1},
        }
        for place, name in enumerate(("one", "other"), 50)
    ]
    limit = {"policy": "token_bucket", "limit": 200, "burst": 20}
    study = Study.model_validate(
        {"name": "shared", "duration_s": 60, "pop": {"throttles": {"account": limit}}, "trunks": trunks}
    )
    (found,) = fit_throttles(study, simulate(study), {})
    assert found.trunks == ("one", "other")
    assert found.share == 1
    assert found.refused > 10
    own = [trunk | {"throttle": limit} for trunk in trunks]
    apart = Study.model_validate({"name": "apart", "duration_s": 60, "trunks": own})
    assert max(one.share for one in fit_throttles(apart, simulate(study), {})) < 0.95


def test_without_a_throttle_nothing_is_fitted() -> None:
    study = described("{policy: none}")
    assert fit_throttles(study, simulate(study), {}) == ()
