from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trunkproof.loadgen.stacks.kamailio.throttles import RENDERED
from trunkproof.loadgen.stacks.kamailio.unsupported import unsupported
from trunkproof.models.study import Study


def _where(study: Study) -> list[str]:
    return [problem.where for problem in unsupported(study)]


def test_the_documented_trunk_can_be_played(study_of: Callable[..., Study]) -> None:
    assert unsupported(study_of()) == []


@pytest.mark.parametrize("policy", [policy.name() for policy in RENDERED])
def test_each_policy_that_it_names_can_be_played(
    policy: str, study_of: Callable[..., Study], trunk_of: Callable[..., dict[str, Any]]
) -> None:
    assert unsupported(study_of(trunk_of(throttle={"policy": policy}))) == []


@pytest.mark.parametrize("window_s", [0.001, 0.29, 1.001, 60])
def test_whole_milliseconds_however_they_are_stored(
    window_s: float, study_of: Callable[..., Study], trunk_of: Callable[..., dict[str, Any]]
) -> None:
    assert unsupported(study_of(trunk_of(throttle={"policy": "fixed_window", "window_s": window_s}))) == []


@pytest.mark.parametrize("policy", ["sliding_window_admitted", "sliding_window_attempts", "shaper"])
def test_policies_it_has_no_algorithm_for(
    policy: str, study_of: Callable[..., Study], trunk_of: Callable[..., dict[str, Any]]
) -> None:
    problem, *others = unsupported(study_of(trunk_of(1), trunk_of(2, throttle={"policy": policy})))
    assert not others
    assert problem.where == "trunks[1].throttle.policy"
    assert policy in problem.what
    assert "pipelimit" in problem.what


def test_trunks_of_one_account_are_not_told_apart(
    study_of: Callable[..., Study], trunk_of: Callable[..., dict[str, Any]]
) -> None:
    trunks = [trunk_of(1), trunk_of(2, account="account1"), trunk_of(3)]
    problem, *others = unsupported(study_of(*trunks, carrier={"channels": 5, "channels_per": "account"}))
    assert not others
    assert problem.where == "trunks[1].account"
    assert "trunks[0]" in problem.what


@pytest.mark.parametrize(
    ("throttle", "key"),
    [
        ({"policy": "fixed_window", "window_s": 0.0005}, "throttle.window_s"),
        ({"policy": "token_bucket", "window_s": 3600}, "throttle"),
        ({"policy": "token_bucket", "window_s": 1e-7}, "throttle"),
        ({"policy": "token_bucket", "window_s": 60, "limit": 700_001}, "throttle"),
    ],
)
def test_numbers_that_kamailio_cannot_count(
    throttle: dict[str, Any], key: str, study_of: Callable[..., Study], trunk_of: Callable[..., dict[str, Any]]
) -> None:
    assert _where(study_of(trunk_of(throttle=throttle))) == [f"trunks[0].{key}"]


def test_everything_is_told_at_once(study_of: Callable[..., Study], trunk_of: Callable[..., dict[str, Any]]) -> None:
    study = study_of(
        trunk_of(1, throttle={"policy": "token_bucket", "window_s": 3600}),
        trunk_of(2, customer_address="127.0.41.3"),
        trunk_of(3, throttle={"policy": "shaper"}, suites=["AES_CM_128_HMAC_SHA1_32", "AES_CM_128_HMAC_SHA1_80"]),
        ports={"quarantine_s": 1.5},
        inner_address="127.0.41.1",
        incidents=[{"kind": "edge_restart", "at_s": 1}],
    )
    assert sorted(_where(study)) == [
        "pop.carrier.address",
        "pop.incidents[0].forgets_throttle",
        "pop.inner_address",
        "pop.ports.quarantine_s",
        "trunks[0].throttle",
        "trunks[2].suites",
        "trunks[2].throttle.policy",
    ]


def test_a_restart_that_forgets_or_has_nothing_to_forget(
    study_of: Callable[..., Study], trunk_of: Callable[..., dict[str, Any]]
) -> None:
    forgets = [{"kind": "edge_restart", "at_s": 1, "forgets_throttle": True}]
    assert unsupported(study_of(incidents=forgets)) == []
    remembers = [{"kind": "edge_restart", "at_s": 1}]
    assert unsupported(study_of(trunk_of(throttle={"policy": "none"}), incidents=remembers)) == []


def test_limits_that_trunks_share(study_of: Callable[..., Study], trunk_of: Callable[..., dict[str, Any]]) -> None:
    trunks = [trunk_of(number, throttle={"shared": "line"}) for number in (1, 2)]
    shared = {"policy": "fixed_window", "limit": 5}
    assert _where(study_of(*trunks, throttles={"line": shared})) == ["trunks[0].throttle", "trunks[1].throttle"]
    # Settings that are written once, and counted for each trunk, are as any others.
    assert _where(study_of(*trunks, throttles={"line": shared | {"per": "trunk"}})) == []
