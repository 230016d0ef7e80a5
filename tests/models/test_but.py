"""`Study.but`: another study, validated, with keys as a file has them."""

from __future__ import annotations

import pytest

from trunkproof.models.distributions import Exponential, Lognormal
from trunkproof.models.errors import InputError
from trunkproof.models.study_file import parse_study

TEXT = """\
name: one
trunk: {throttle: {policy: token_bucket, limit: 100, burst: 7}}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 200}
  holding: {kind: lognormal, mean_s: 5, cv: 1}
"""
ONE = parse_study(TEXT)
TWO = parse_study("""\
trunks:
  - {name: a, traffic: &t {arrivals: {kind: poisson, rate_per_minute: 6}, holding: 1}}
  - {name: b, customer_address: 127.0.0.9, traffic: *t}
""")


def test_it_is_the_study_that_the_changed_file_would_be() -> None:
    changed = ONE.but({"traffic.arrivals.rate_per_minute": 300, "trunk.throttle.limit": 150, "seed": 4})
    assert changed == parse_study(TEXT.replace("200", "300").replace("limit: 100", "limit: 150") + "seed: 4")


def test_the_only_trunk_may_be_called_as_in_a_list() -> None:
    assert ONE.but({"trunks[0].traffic.inbound_share": 0.5}) == ONE.but({"traffic.inbound_share": 0.5})


def test_nothing_changed_is_the_same_study() -> None:
    assert ONE.but({}) == ONE
    assert TWO.but({}) == TWO


def test_a_value_may_be_settings_of_another_kind() -> None:
    assert ONE.but({"traffic.holding": Exponential(mean_s=3)}).trunks[0].traffic.holding == Exponential(mean_s=3)
    assert ONE.but({"traffic.holding.mean_s": 9}).trunks[0].traffic.holding == Lognormal(mean_s=9, cv=1)


def test_one_of_several_trunks() -> None:
    changed = TWO.but({"trunks[1].throttle": {"policy": "none"}})
    assert [trunk.throttle.name() for trunk in changed.trunks] == ["fixed_window", "none"]


def test_all_mistakes_are_told_at_once_at_their_keys() -> None:
    with pytest.raises(InputError) as refused:
        ONE.but({"traffic.arrivals.rate_per_minute": "many", "trunk.frob": 1, "seed": -1})
    told = {problem.where for problem in refused.value.problems}
    assert told == {"seed", "trunk.frob", "traffic.arrivals.rate_per_minute"}


@pytest.mark.parametrize(("key", "what"), [("a..b", "no path of keys"), ("name.x", "has no keys")])
def test_a_key_that_leads_nowhere(key: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        ONE.but({key: 1})
