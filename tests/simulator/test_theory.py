"""The simulator against exact theory: every throttle policy, channels, insensitivity, and what must always hold.

Tolerances: z = 4.5 with the standard error between independent repetitions (a false alarm once in 150,000 runs).
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trunkproof.experiments.prediction.twin import LARGEST_Z, analytic_twin, exact_refused_share
from trunkproof.models.costs import Costs, cpu_breakdown
from trunkproof.models.kpis import compute_kpis
from trunkproof.models.limits import Limits
from trunkproof.models.packets import PACKETS_PER_CALL_S
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import Disposition
from trunkproof.models.study import Machine, Study
from trunkproof.models.teletraffic import erlang_b
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.pipelimit import red_refused
from trunkproof.simulator.host import Host, busy_costs
from trunkproof.simulator.replicate import random_anchors, replicate
from trunkproof.simulator.run import Engine, Start, simulate

POLICIES = [
    "fixed_window", "pipelimit", "sliding_window_admitted", "sliding_window_attempts", "token_bucket", "shaper",
]  # fmt: skip
HOLDING = {
    "exponential": {"kind": "exponential", "mean_s": 20},
    "constant": {"kind": "constant", "value_s": 20},
    "lognormal": {"kind": "lognormal", "mean_s": 20, "cv": 1.5},
    "mixture": {
        "kind": "mixture",
        "parts": [
            {"weight": 0.5, "of": {"kind": "exponential", "mean_s": 5}},
            {"weight": 0.5, "of": {"kind": "lognormal", "mean_s": 35, "cv": 0.5}},
        ],
    },
}


def study(throttle: dict[str, object], *, rate: float = 130, duration_s: float = 400, **parts: object) -> Study:
    traffic = {"arrivals": {"kind": "poisson", "rate_per_minute": rate}, "holding": 1, "ringing": 0} | parts
    return Study.model_validate(
        {"name": "t", "duration_s": duration_s, "trunks": [{"throttle": throttle, "traffic": traffic}]}
    )


def z_score(question: Study, *, repetitions: int = 30) -> float:
    exact = exact_refused_share(question)
    assert isinstance(exact, float)
    found = replicate(question, replications=repetitions, start=Start.STATIONARY).estimates["refused_share"]
    return (found.mean - exact) / found.standard_error


@pytest.mark.parametrize("policy", ["fixed_window", "pipelimit", "sliding_window_admitted", "token_bucket", "shaper"])
def test_a_throttle_under_poisson_traffic_refuses_what_its_formula_says(policy: str) -> None:
    limit = {"policy": policy, "limit": 20, "window_s": 10}
    assert abs(z_score(study(limit))) < LARGEST_Z


def test_a_sliding_window_over_attempts_refuses_what_its_formula_says() -> None:
    # At the rate of the limit half of all is refused; far above it nearly everything, which would prove little.
    limit = {"policy": "sliding_window_attempts", "limit": 20, "window_s": 10}
    assert abs(z_score(study(limit, rate=115))) < LARGEST_Z


@pytest.mark.parametrize("limit", [5, 11])
def test_pipelimit_with_red_refuses_what_its_formula_says(limit: int) -> None:
    # 21.7 attempts a window: a load of 3 to 5, or one that is 1 as often as 2.
    question = study({"policy": "pipelimit", "algorithm": "red", "limit": limit, "window_s": 10})
    assert abs(z_score(question)) < LARGEST_Z


@pytest.mark.parametrize(("offered", "limit"), [(0.5, 1), (3.0, 1), (21.7, 11), (200.0, 60)])
def test_reds_formula_is_the_sum_over_all_pairs_of_windows(offered: float, limit: int) -> None:
    chance = [stats.poisson.pmf(k, offered) for k in range(500)]
    admitted = sum(
        before * sum(now * (attempts // max(1, earlier // limit)) for attempts, now in enumerate(chance))
        for earlier, before in enumerate(chance)
    )
    assert red_refused(offered, limit) == pytest.approx(1 - admitted / offered, abs=1e-12)


def test_trunks_on_one_timer_have_one_phase_and_others_their_own() -> None:
    trunk = study({"policy": "pipelimit", "limit": 20, "window_s": 10}).trunks[0]
    trunks = [trunk.model_copy(update={"name": f"t{k}"}) for k in range(3)]
    throttles = [trunk.throttle, trunk.throttle, FixedWindow(limit=20, window_s=10)]
    together = [one.model_copy(update={"throttle": each}) for one, each in zip(trunks, throttles, strict=True)]
    question = study({"policy": "none"}).model_copy(update={"trunks": tuple(together)})
    anchors = [random_anchors(question, seed) for seed in range(5)]
    assert all(each["t0"] == each["t1"] != each["t2"] for each in anchors)
    assert len({each["t0"] for each in anchors}) == 5


@pytest.mark.parametrize("policy", POLICIES)
def test_where_nobody_calls_nobody_is_refused(policy: str) -> None:
    question = study({"policy": policy}, rate=0)
    assert exact_refused_share(question) == 0
    assert analytic_twin(question) == "no calls are offered"


@pytest.mark.parametrize("kind", list(HOLDING))
def test_erlang_b_holds_whatever_the_holding_time_is_distributed_like(kind: str) -> None:
    question = study({"policy": "none"}, rate=60, duration_s=600, holding=HOLDING[kind])
    carrier = question.pop.carrier.model_copy(update={"channels": 22})
    question = question.model_copy(update={"pop": question.pop.model_copy(update={"carrier": carrier})})
    assert abs(z_score(question)) < LARGEST_Z


def trunks_on(carrier: dict[str, object], *accounts: str) -> Study:
    """Trunks of these accounts, each with 12.1 E of calls from both directions."""
    traffic = {
        "arrivals": {"kind": "poisson", "rate_per_minute": 36},
        "holding": {"kind": "exponential", "mean_s": 15.1},
        "ringing": 5,
        "inbound_share": 0.5,
    }
    trunks = [
        {"name": f"t{k}", "account": account, "customer_address": f"127.0.0.{k + 2}", "traffic": traffic}
        for k, account in enumerate(accounts)
    ]
    throttle = {"policy": "none"}
    return Study.model_validate(
        {
            "name": "t",
            "duration_s": 900,
            "pop": {"carrier": {"setup": 0} | carrier},
            "trunks": [trunk | {"throttle": throttle} for trunk in trunks],
        }
    )


EACH_E = 36 / 60 * 20.1


@pytest.mark.parametrize(
    ("carrier", "accounts", "erlang", "servers"),
    [
        ({"channels": 14, "channels_per": "account"}, "aa", 2 * EACH_E, 14),
        ({"channels": 14, "channels_per": "account"}, "ab", EACH_E, 14),
        ({"channels": 14}, "ab", 2 * EACH_E, 14),
        # A burst that hardly ends gives its channels to all; one that hardly begins none.
        ({"channels": 10, "burst": {"channels": 14, "for_s": 86_400}}, "a", EACH_E, 14),
        ({"channels": 10, "burst": {"channels": 14, "for_s": 0.001}}, "a", EACH_E, 10),
    ],
    ids=["one account", "two accounts", "pop", "long burst", "short burst"],
)
def test_erlang_b_holds_for_the_load_that_shares_channels(
    carrier: dict[str, object], accounts: str, erlang: float, servers: int
) -> None:
    found = replicate(trunks_on(carrier, *accounts), replications=12, start=Start.STATIONARY)
    blocked = found.estimates["refused_share"]
    assert abs(blocked.mean - erlang_b(erlang, servers)) < LARGEST_Z * blocked.standard_error


def test_a_burst_in_between_blocks_more_than_its_channels_and_less_than_the_base() -> None:
    shares = []
    for for_s in (0.001, 20, 60, 86_400):
        burst = {"channels": 14, "for_s": for_s}
        records = simulate(trunks_on({"channels": 10, "burst": burst}, "a"), engine=Engine.KERNEL)
        shares.append(records["disposition"].eq("no_channel").mean())
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) == len(shares)


@pytest.mark.parametrize("policy", ["fixed_window", "pipelimit", "sliding_window_admitted", "token_bucket"])
def test_totals_admitted_never_fall_when_the_limit_grows(policy: str) -> None:
    admitted = []
    for limit in range(10, 40, 3):
        records = simulate(study({"policy": policy, "limit": limit, "window_s": 10}, duration_s=120))
        admitted.append(records.filter(pl.col("disposition") == "completed").height)
    assert admitted == sorted(admitted)
    assert admitted[0] < admitted[-1]


def shares(most: float) -> st.SearchStrategy[float]:
    return st.floats(0, most, allow_nan=False)


@st.composite
def studies(draw: st.DrawFn) -> Study:
    throttle = {"policy": draw(st.sampled_from(POLICIES)), "limit": draw(st.integers(1, 30)), "window_s": 10}
    traffic = {
        "arrivals": {"kind": "poisson", "rate_per_minute": draw(st.integers(0, 400))},
        "holding": {"kind": "exponential", "mean_s": draw(st.floats(0.1, 10))},
        "outcomes": {name: draw(shares(0.25)) for name in ("busy", "no_answer", "abandoned")},
        "redial": {"probability": draw(shares(1.0)), "attempts": draw(st.integers(1, 4))},
        "inbound_share": draw(shares(1.0)),
        "tls": {"policy": draw(st.sampled_from(["persistent", "pool", "per_call"])), "resumption_share": 0.5},
    }
    carrier = {"channels": draw(st.integers(0, 20)), "calls_per_second": draw(st.none() | st.integers(1, 5))}
    legs = draw(st.sampled_from([1, 2]))
    ports = {"low": 10000, "high": 10000 + draw(st.integers(2 * legs, 40)), "legs": legs, "quarantine_s": 2}
    incidents = draw(
        st.sampled_from(
            [
                [],
                [{"kind": "edge_restart", "at_s": 5, "down_s": 2}],
                [{"kind": "edge_restart", "at_s": 5, "down_s": 2, "forgets_throttle": True}],
                [{"kind": "carrier_brown_out", "at_s": 5, "lasts_s": 5}],
            ]
        )
    )
    pop = {"carrier": carrier, "ports": ports, "incidents": incidents}
    seed = draw(st.integers(0, 1000))
    trunks = [{"throttle": throttle, "traffic": traffic}]
    return Study.model_validate({"name": "t", "seed": seed, "duration_s": 20, "pop": pop, "trunks": trunks})


@given(question=studies())
@settings(deadline=None, max_examples=40)
def test_conservation_whatever_the_study(question: Study) -> None:
    records, plan = simulate(question), draw_plan(question)
    kpis = compute_kpis(records)
    assert sum(kpis.dispositions.values()) == records.height
    assert kpis.dispositions[Disposition.STILL_UP] == 0
    assert records.filter(pl.col("attempt") == 0).height == plan.calls
    # Every redial follows an attempt that says it was redialled, and every such attempt is followed.
    assert records["redialled"].sum() == records.filter(pl.col("attempt") > 0).height
    assert records["ended_s"].null_count() == 0
    assert (records["ended_s"] >= records["intended_s"]).all()


@given(question=studies())
@settings(deadline=None, max_examples=20)
def test_nothing_is_left_in_use_when_the_last_call_is_over(question: Study) -> None:
    made: list[Limits] = []

    def kept(study: Study, anchors: Mapping[str, float]) -> Limits:
        made.append(Limits(study, anchors))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trunkproof.simulator.run.Limits", kept)
        simulate(question)
    assert [(limits.carrier.used, limits.pool.in_use) for limits in made] == [(0, 0)]


@given(
    question=studies().filter(lambda question: not question.pop.incidents), quota=st.sampled_from([None, 0.001, 0.1])
)
@settings(deadline=None, max_examples=30)
def test_the_cpu_spent_is_what_the_records_are_charged_with(question: Study, quota: float | None) -> None:
    machine = question.pop.machine.model_copy(update={"quota": quota})
    question = question.model_copy(update={"pop": question.pop.model_copy(update={"machine": machine})})
    made: list[Host] = []

    def kept(machine: Machine, costs: Costs) -> Host:
        made.append(Host(machine, costs))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trunkproof.simulator.run.Host", kept)
        records = simulate(question)
    (host,), costs = made, busy_costs(question)
    charged = cpu_breakdown(costs, records, 0.0)
    media_s = charged.pop("packet_s")
    assert host.signalling_s == pytest.approx(sum(charged.values()))
    # A stream has a packet at its beginning, and its last interval need not be full.
    rounding_s = costs.packet_s * 2 * (records.height - records["answered_s"].null_count())
    lost_s = costs.packet_s * 2 * records["rtp_lost"].sum()
    # The other side talks on until the BYE is with it, which no record counts.
    talked_on_s = costs.packet_s * PACKETS_PER_CALL_S / 2 * (records["ended_s"] - records["bye_s"]).sum()
    assert host.media_s <= media_s + talked_on_s + 1e-9
    assert media_s - host.media_s <= rounding_s + lost_s + 1e-9


@given(question=studies())
@settings(deadline=None, max_examples=10)
def test_the_same_seed_gives_the_same_records(question: Study) -> None:
    assert simulate(question).equals(simulate(question))
