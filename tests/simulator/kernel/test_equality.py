"""The compiled model against SimPy: every column of every record equal to the last bit, and every batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study
from trunkproof.models.study_file import read_study
from trunkproof.simulator.run import Engine, Start, simulate_in_batches

STUDIES = Path(__file__).parents[3] / "experiments" / "studies"
LONGEST_S = 90.0
"""Of a shipped study: SimPy is slow."""
Batches = list[tuple[pl.DataFrame, float]]


def batches_of(engine: Engine, study: Study, **how: Any) -> Batches:
    batches: Batches = []
    simulate_in_batches(study, lambda frame, until_s: batches.append((frame, until_s)), engine=engine, **how)
    return batches


def assert_equal(study: Study, **how: Any) -> Batches:
    expected, found = (batches_of(engine, study, **how) for engine in (Engine.SIMPY, Engine.KERNEL))
    assert [until_s for _, until_s in found] == [until_s for _, until_s in expected]
    for (frame, _), (reference, _) in zip(found, expected, strict=True):
        assert frame.schema == reference.schema
        for name in reference.columns:
            assert frame[name].to_list() == reference[name].to_list(), name
    return found


@pytest.mark.parametrize("path", sorted(STUDIES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_study(path: Path) -> None:
    study = read_study(path)
    study = study.model_copy(update={"duration_s": min(study.duration_s, LONGEST_S)})
    assert_equal(study)
    assert_equal(study, plan=draw_plan(study), start=Start.STATIONARY, counts_from_s=0.0, batch=50)


SECONDS = st.sampled_from([0.0, 0.5, 1.0, 2.5])
"""Constants that meet at the same instants."""
COST_S = st.sampled_from([0.0, 0.001, 0.05, 0.5])


def durations(most: float = 8.0) -> st.SearchStrategy[Any]:
    drawn = st.floats(0.1, most).map(lambda mean_s: {"kind": "exponential", "mean_s": mean_s})
    return SECONDS | drawn | st.just({"kind": "lognormal", "mean_s": 2.0, "cv": 1.5})


ALONE = (
    "fixed_window",
    "pipelimit",
    "red",
    "sliding_window_admitted",
    "sliding_window_attempts",
    "token_bucket",
    "shaper",
    "penalty_box",
)


@st.composite
def throttles(draw: st.DrawFn, policies: tuple[str, ...] = (*ALONE, "none")) -> dict[str, Any]:
    policy = draw(st.sampled_from(policies))
    chosen: dict[str, Any] = {
        "policy": "pipelimit" if policy == "red" else policy,
        "counts": draw(st.sampled_from(["outbound", "both"])),
        "retry_after_s": draw(st.none() | st.integers(0, 4)),
        "refusal_status": draw(st.sampled_from([503, 480])),
    }
    if policy != "none":
        chosen |= {"limit": draw(st.integers(1, 12)), "window_s": draw(st.sampled_from([1, 5]))}
    if chosen["policy"] == "pipelimit":
        chosen |= {"algorithm": "red" if policy == "red" else "taildrop", "window_s": 3}
    if policy == "token_bucket":
        chosen["burst"] = draw(st.integers(1, 6))
    if policy == "shaper":
        chosen["max_delay_s"] = draw(st.sampled_from([0.0, 0.7, 3.0]))
        chosen["queue_size"] = draw(st.none() | st.integers(0, 3))
    if policy == "penalty_box":
        chosen |= {"window": draw(st.sampled_from(["sliding", "fixed"])), "prolonged": draw(st.booleans())}
        chosen["penalty_s"] = draw(st.sampled_from([0.5, 2.0, 7.5]))
    return chosen


@st.composite
def throttles_of_trunks(draw: st.DrawFn, shared: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A trunk's own throttle, one that it shares, or a tandem of such."""
    kind = draw(st.sampled_from(["own", "own", "shared", "tandem"]))
    if kind == "own":
        return draw(throttles())
    named = [{"shared": name} for name in shared]
    if kind == "shared":
        return draw(st.sampled_from(named))
    counts = draw(st.sampled_from(["outbound", "both"]))
    limits = [one | {"counts": counts} for one in draw(st.lists(throttles(ALONE), max_size=2))]
    fitting = [{"shared": name} for name, one in shared.items() if one["counts"] == counts and name != "pair"]
    parts = [*limits, *draw(st.lists(st.sampled_from(fitting), unique_by=str, max_size=2) if fitting else st.just([]))]
    distinct = [part for index, part in enumerate(parts) if part not in parts[:index]]
    default = [{"policy": "token_bucket", "limit": 4, "counts": counts}]
    limits = draw(st.permutations(distinct)) or default
    return {"policy": "tandem", "counts": counts, "limits": limits, "refused_later_counts": draw(st.booleans())}


@st.composite
def shared_limits(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """What a study has in `pop.throttles`."""
    per = st.sampled_from([None, None, "account", "trunk"])
    pair = {
        "policy": "tandem",
        "counts": "both",
        # The second refuses calls for which the first then has room, or has none.
        "limits": [
            {"policy": "sliding_window_admitted", "limit": 4, "window_s": 2},
            {"policy": "fixed_window", "limit": 2, "window_s": 1, "retry_after_s": 1},
        ],
        "refused_later_counts": False,
    }
    return {"one": draw(throttles(ALONE)), "two": draw(throttles(ALONE)) | {"per": draw(per)}, "pair": pair}


def arrivals() -> st.SearchStrategy[dict[str, Any]]:
    rates = st.sampled_from([0, 30, 60, 240, 600])
    return (
        st.builds(lambda rate: {"kind": "constant", "rate_per_minute": rate}, rates)
        | st.builds(lambda rate: {"kind": "poisson", "rate_per_minute": rate}, rates)
        | st.lists(st.integers(0, 20), min_size=1, max_size=40).map(
            lambda halves: {"kind": "replay", "instants_s": [half / 2 for half in halves]}
        )
    )


@st.composite
def traffics(draw: st.DrawFn) -> dict[str, Any]:
    share = st.floats(0, 0.24)
    outcomes = {name: draw(share) for name in ("busy", "no_answer", "abandoned")}
    after = ["throttled", "no_channel", "no_port", "carrier_rejected", "timed_out", "connection_failed"]
    return {
        "arrivals": draw(arrivals()),
        "holding": draw(durations()),
        "ringing": draw(durations(3)),
        "patience": draw(durations(3)),
        "outcomes": outcomes | {"rejected": [{"status": 404, "share": draw(share)}]},
        "redial": {
            "probability": draw(st.sampled_from([0.0, 0.7, 1.0])),
            "delay": draw(durations(5)),
            "attempts": draw(st.integers(1, 5)),
            "obeys_retry_after": draw(st.booleans()),
            "after": draw(st.just(after) | st.just([*after, "busy", "no_answer", "abandoned", "completed"])),
            "by_reason": draw(
                st.just({}) | st.just({"throttled": [0.9, 0.4], "no_channel": 0.0, "busy": 0.5, "abandoned": [0.2, 1]})
            ),
        },
        "inbound_share": draw(st.sampled_from([0.0, 0.4, 1.0])),
        "tls": {
            "policy": draw(st.sampled_from(["persistent", "pool", "per_call"])),
            "pool_size": draw(st.integers(1, 3)),
            "resumption_share": draw(st.sampled_from([0.0, 0.5, 1.0])),
            "version": draw(st.sampled_from(["1.2", "1.3"])),
        },
    }


@st.composite
def incidents(draw: st.DrawFn) -> list[dict[str, Any]]:
    instants = st.sampled_from([0.0, 1.0, 4.5, 5.0, 7.25])
    restarts = st.builds(
        lambda at_s, down_s, forgets: {
            "kind": "edge_restart", "at_s": at_s, "down_s": down_s, "forgets_throttle": forgets,
        },
        instants, st.sampled_from([0.0, 0.5, 2.0]), st.booleans(),
    )  # fmt: skip
    brown_outs = st.builds(
        lambda at_s, channels: {"kind": "carrier_brown_out", "at_s": at_s, "lasts_s": 3, "channels": channels},
        instants, st.integers(0, 3),
    )  # fmt: skip
    return draw(st.lists(restarts | brown_outs, max_size=3))


@st.composite
def edges(draw: st.DrawFn) -> dict[str, Any]:
    """Up to three edges, of which some are away for a while."""
    ranks = st.integers(0, 2)
    doors = [
        {"host": f"e{number}.example", "priority": draw(ranks), "weight": draw(ranks)}
        for number in range(draw(st.integers(1, 3)))
    ]
    downs = st.builds(
        lambda at_s, lasts_s, edge, connects: {
            "kind": "edge_down", "at_s": at_s, "lasts_s": lasts_s, "edge": edge, "connects": connects,
        },
        st.sampled_from([0.0, 1.0, 4.5, 5.0, 7.25]), st.sampled_from([0.5, 2.0, 15.0, 50.0]),
        st.integers(0, len(doors) - 1), st.sampled_from(["refused", "time_out"]),
    )  # fmt: skip
    failover = {
        "recheck_s": draw(st.sampled_from([0.0, 1.0, 30.0])),
        "on_503": draw(st.booleans()),
        "record_route": draw(st.sampled_from(["address", "name"])),
    }
    per = draw(st.sampled_from(["trunk", "edge"]))
    return {
        "edges": doors, "failover": failover, "throttle_per": per,
        "incidents": draw(st.lists(downs, max_size=3)) + draw(incidents()),
    }  # fmt: skip


@st.composite
def costs(draw: st.DrawFn) -> dict[str, float]:
    names = ("full_handshake_s", "resumed_handshake_s", "invite_s", "refusal_s", "bye_s")
    return {name: draw(COST_S) for name in names} | {
        "packet_s": draw(st.sampled_from([0.0, 0.0004, 0.003])),
        "contended_packet_s": draw(st.sampled_from([0.0002, 0.002])),
        "contended_work_share": draw(st.sampled_from([0.5, 1.0, 1.5])),
        "idle_penalty": draw(st.sampled_from([0.0, 0.5])),
        "idle_share": 0.01,
        "round_trip_s": draw(st.sampled_from([0.0, 0.01, 0.5])),
        "throttle_decision_s": draw(st.sampled_from([0.0, 0.25])),
    }


@st.composite
def questions(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, float]]:
    shared = draw(shared_limits())
    trunks = [
        {
            "name": f"t{number}",
            "account": draw(st.sampled_from(["first", "second"])),
            "customer_address": f"127.0.0.{number + 2}",
            "throttle": draw(throttles_of_trunks(shared)),
            "traffic": draw(traffics()),
            "whitelist": draw(st.sampled_from([[], [], [], ["10.0.0.0/8"]])),
        }
        for number in range(draw(st.integers(1, 3)))
    ]
    legs = draw(st.sampled_from([1, 2]))
    ports = {"low": 10000, "high": 10000 + draw(st.sampled_from([4, 5, 30, 2000])), "legs": legs}
    channels = draw(st.none() | st.integers(0, 20))
    bursts = st.builds(
        lambda more, for_s: {"channels": (channels or 0) + more, "for_s": for_s},
        st.integers(1, 6), st.sampled_from([0.25, 1.0, 3.0]),
    )  # fmt: skip
    carrier = {
        "channels": channels,
        "channels_per": draw(st.sampled_from(["account", "pop"])),
        "burst": None if channels is None else draw(st.none() | bursts),
        "calls_per_second": draw(st.none() | st.integers(1, 5)),
        "setup": draw(durations(2)),
    }
    pop = {
        "throttles": shared,
        "ports": ports | {"quarantine_s": draw(SECONDS)},
        "carrier": carrier,
        **draw(st.builds(lambda known: {"incidents": known}, incidents()) | edges()),
        "machine": {
            "cores": draw(st.sampled_from([1, 2, 7])),
            "quota": draw(st.none() | st.sampled_from([0.05, 0.5, 1.5])),
            "slowdown": draw(st.sampled_from([1.0, 1.7])),
        },
    }
    study = {"name": "t", "seed": draw(st.integers(0, 1000)), "duration_s": 10, "pop": pop, "trunks": trunks}
    return study, draw(costs())


@pytest.fixture(scope="session")
def calibrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calibrations")


def study_of(written: Mapping[str, Any], spent: Mapping[str, float], folder: Path) -> Study:
    text = yaml.safe_dump({"stack": "embedded", "measured": "2026-11-24", "costs": dict(spent)})
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.yaml"
    path.write_text(text)
    machine = written["pop"]["machine"] | {"calibration": str(path)}
    return Study.model_validate({**written, "pop": {**written["pop"], "machine": machine}})


@given(
    question=questions(),
    start=st.sampled_from(list(Start)),
    until_s=st.none() | st.sampled_from([0.25, 4.5, 5.0, 30.0]),
    counts_from_s=st.sampled_from([0.0, 3.0]),
    batch=st.sampled_from([1, 7, 20_000]),
    anchor_s=st.sampled_from([0.0, -0.3, -2.5]),
)
@settings(max_examples=100)
def test_whatever_the_study(calibrations: Path, question: tuple[Any, Any], anchor_s: float, **how: Any) -> None:
    study = study_of(*question, calibrations)
    assert_equal(study, anchors={trunk.name: anchor_s for trunk in study.trunks}, **how)


@st.composite
def crowded(draw: st.DrawFn) -> Study:
    """Trunks that meet nothing but their throttles, which they share, at more calls than pass."""
    shared = draw(shared_limits())
    choices = [{"shared": name} for name in shared] + [draw(throttles_of_trunks(shared)) for _ in range(2)]
    # Drawn one by one, hardly two trunks would choose the same.
    chosen = draw(st.permutations([choices[number % len(choices)] for number in range(8)]))
    redial = {"probability": 0.8, "delay": 0.5, "attempts": 3}
    trunks = [
        {
            "name": f"t{number}",
            "account": draw(st.sampled_from(["first", "second"])),
            "customer_address": f"127.0.0.{number + 2}",
            "throttle": chosen[number],
            "traffic": {
                "arrivals": {"kind": "poisson", "rate_per_minute": draw(st.sampled_from([60, 400]))},
                "holding": 0.2,
                "redial": redial,
                "inbound_share": draw(st.sampled_from([0.0, 0.5])),
            },
        }
        for number in range(draw(st.integers(2, 4)))
    ]
    incidents = draw(st.sampled_from([[], [{"kind": "edge_restart", "at_s": 3.0, "forgets_throttle": True}]]))
    pop = {"throttles": shared, "incidents": incidents}
    return Study.model_validate(
        {"name": "t", "seed": draw(st.integers(0, 1000)), "duration_s": 8, "pop": pop, "trunks": trunks}
    )


@pytest.mark.parametrize("policy", ["persistent", "per_call"])
def test_tcp_and_plain_rtp(policy: str) -> None:
    traffic = {
        "arrivals": {"kind": "poisson", "rate_per_minute": 900},
        "holding": 2,
        "inbound_share": 0.3,
        "tls": {"policy": policy, "resumption_share": 0.5},
    }
    trunks = [{"transport": "tcp", "media": "rtp", "traffic": traffic}]
    pop = {"machine": {"quota": 0.02}, "incidents": [{"kind": "edge_restart", "at_s": 5}]}
    study = Study.model_validate({"name": "t", "duration_s": 15, "pop": pop, "trunks": trunks})
    records = pl.concat(frame for frame, _ in assert_equal(study))
    assert set(records["connection"].drop_nulls()) <= {"tcp", "reused"}
    assert records["rtp_received"].sum() > 0
    assert records["rtp_authenticated"].sum() == 0


@given(study=crowded(), anchor_s=st.sampled_from([0.0, -0.3]))
@settings(max_examples=60)
def test_whoever_shares_a_throttle(study: Study, anchor_s: float) -> None:
    assert_equal(study, anchors={trunk.name: anchor_s - index for index, trunk in enumerate(study.trunks)})


def test_a_caller_who_comes_a_rounding_error_early_is_not_waited_for_again() -> None:
    study = Study.model_validate(
        {
            "name": "t",
            "seed": 0,
            "duration_s": 10,
            "trunks": [
                {"name": name, "customer_address": f"127.0.0.{rate + 2}", "traffic": {
                    "arrivals": {"kind": "poisson", "rate_per_minute": 600 * rate}, "holding": 0}}
                for rate, name in enumerate(("quiet", "busy"))
            ],
        }
    )  # fmt: skip
    (found, _), *_ = assert_equal(study)
    # There is such an instant among them, or this would show nothing.
    assert found.sort("row")["intended_s"].to_list() != draw_plan(study).table["place_s"].to_list()
