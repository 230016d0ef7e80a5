"""Limits that trunks share: how a study names them, and what of it is told to be unclear."""

from __future__ import annotations

import pytest

from trunkproof.models.errors import InputError
from trunkproof.models.study_file import parse_study

SHARING = """\
pop:
  throttles:
    line: {policy: token_bucket, limit: 60, PER}
trunks:
  - {name: a, throttle: {shared: line}, traffic: &t {arrivals: {kind: constant, rate_per_minute: 6}, holding: 1}}
  - {name: b, customer_address: 127.0.0.9, throttle: THROTTLE, traffic: *t}
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_study(text)
    return [str(problem) for problem in caught.value.problems]


def shared_study(throttle: str, per: str = "per: account") -> str:
    return SHARING.replace("THROTTLE", throttle).replace("PER", per)


def test_a_trunk_names_a_limit_that_it_shares() -> None:
    study = parse_study(shared_study("{shared: line}"))
    first, second = (trunk.throttle for trunk in study.trunks)
    assert first == second
    assert (first.limit, first.shared, first.per) == (60, "line", "account")
    assert (study.pop.throttles["line"].shared, study.count_of(first, 1)) == (None, ("line", "example"))


@pytest.mark.parametrize(
    ("throttle", "what"),
    [
        ("{shared: lien}", "trunks[1].throttle.shared: pop.throttles has no lien; it has line"),
        ("{shared: line, limit: 5}", "trunks[1].throttle: `shared: line` stands alone"),
        ("{policy: token_bucket, limit: 5, shared: line}", "trunks[1].throttle: differs from pop.throttles.line"),
        ("{policy: token_bucket, per: account}", "trunks[1].throttle: `per: account` is for limits that trunks share"),
        (
            "{policy: tandem, limits: [{shared: lien}]}",
            "trunks[1].throttle.limits[0].shared: pop.throttles has no lien",
        ),
        ("{policy: tandem, limits: [{policy: shaper, per: trunk}]}", "`per: trunk` is for limits that trunks share"),
        ("{policy: tandem, limits: [{shared: line}, {shared: line}]}", "two limits of a tandem are the same"),
    ],
)
def test_sharing_that_is_not_clear_is_told(throttle: str, what: str) -> None:
    (problem,) = problems_of(shared_study(throttle))
    assert what in problem


def test_a_mistake_in_a_shared_limit_is_told_at_its_key() -> None:
    found = problems_of(shared_study("{policy: none}", "brust: 5"))
    assert found[0] == "line 3: pop.throttles.line.brust: unknown key; did you mean `burst`?"
    assert "pop.throttles.line: names another shared limit" in str(
        problems_of(shared_study("{policy: none}", "shared: line"))
    )
