"""Miniature simulations whose records are known to the millisecond: the life of a call, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from trunkproof.models.errors import InputError
from trunkproof.models.study import Study
from trunkproof.simulator.run import simulate

RTT = 0.01
COSTS = {
    "full_handshake_s": 0.005, "resumed_handshake_s": 0.003, "invite_s": 0.0, "refusal_s": 0.0, "bye_s": 0.0,
    "packet_s": 0.0, "idle_share": 0.0, "round_trip_s": RTT,
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Simulate calls at the given instants on a machine with known costs, some of them others than `COSTS`."""
    calibration = tmp_path / "known.yaml"

    def simulated(
        instants: list[float],
        *,
        costs: dict[str, float] | None = None,
        quota: float | None = None,
        pop: dict[str, Any] | None = None,
        trunk: dict[str, Any] | None = None,
        **traffic: Any,
    ) -> pl.DataFrame:
        known = {"stack": "embedded", "measured": "2026-11-24", "costs": COSTS | (costs or {})}
        calibration.write_text(yaml.safe_dump(known))
        settings = {"arrivals": {"kind": "replay", "instants_s": instants}, "holding": 3, "ringing": 2}
        machine = {"machine": {"calibration": str(calibration), "quota": quota}, "carrier": {"setup": 0.5}}
        study = {
            "name": "t",
            "duration_s": 1000,
            "pop": machine | (pop or {}),
            "trunks": [{"traffic": settings | traffic} | (trunk or {})],
        }
        return simulate(Study.model_validate(study))

    return simulated


def instants_of(records: pl.DataFrame, index: int = 0) -> dict[str, Any]:
    names = ("intended_s", "sent_s", "ringing_s", "answered_s", "bye_s", "ended_s")
    return {name: records[name][index] for name in names}


def test_a_plain_call_to_the_millisecond(run: Any) -> None:
    records = run([1.0, 100.0])
    # TCP and TLS 1.3 take a round trip each, and 5 ms of CPU; then everything is half a round trip away.
    sent = 1.0 + 2 * RTT + 0.005
    expected = {
        "intended_s": 1.0, "sent_s": sent, "ringing_s": sent + RTT + 0.5, "answered_s": sent + RTT + 2.5,
        "bye_s": sent + RTT + 5.5, "ended_s": sent + 2 * RTT + 5.5,
    }  # fmt: skip
    assert instants_of(records) == pytest.approx(expected)
    assert instants_of(records, 1)["sent_s"] == 100.0
    assert records["connection"].to_list() == ["full", "reused"]
    assert records["disposition"].to_list() == ["completed"] * 2
    assert records["rtp_received"].to_list() == [151, 151]


@pytest.mark.parametrize(("policy", "waits"), [("fixed_window", 0.04), ("none", 0.0)])
def test_an_invite_waits_for_its_throttle_to_decide(run: Any, policy: str, waits: float) -> None:
    records = run([1.0, 100.0], costs={"throttle_decision_s": 0.04}, trunk={"throttle": {"policy": policy}})
    assert instants_of(records, 1)["ringing_s"] == pytest.approx(100.0 + RTT + 0.5 + waits)


@pytest.mark.parametrize(("inbound_share", "status"), [(0, 503), (1, 486)])
def test_a_call_that_only_rings_has_a_channel_and_who_meets_full_channels_hears_why(
    run: Any, inbound_share: int, status: int
) -> None:
    carrier = {"setup": 0.5, "channels": 1}
    records = run([1.0, 3.0], pop={"carrier": carrier}, ringing=30.0, inbound_share=inbound_share)
    assert records["disposition"].to_list() == ["completed", "no_channel"]
    assert (records["status"][1], records["cause"][1]) == (status, 34)


def test_a_burst_lends_a_channel_for_its_time(run: Any) -> None:
    carrier = {"setup": 0.5, "channels": 1, "burst": {"channels": 2, "for_s": 10}}
    # Two at once from 10 s on; each takes 2 s to ring and 20 s to talk, and some ms on the way.
    records = run([0.0, 10.0, 15.0, 23.0, 33.0], pop={"carrier": carrier}, holding=20.0)
    # The third finds both in use. The fourth comes after 10 s of burst, and finds the base taken; the fifth has it.
    assert records["disposition"].to_list() == ["completed", "completed", "no_channel", "no_channel", "completed"]


@pytest.mark.parametrize(
    ("outcomes", "disposition", "status", "rings"),
    [
        ({"busy": 1}, "busy", 486, False),
        ({"no_answer": 1}, "no_answer", 480, True),
        ({"abandoned": 1}, "abandoned", 487, True),
        ({"rejected": [{"status": 404, "share": 1}]}, "carrier_rejected", 404, False),
    ],
)
def test_each_outcome(run: Any, outcomes: dict[str, Any], disposition: str, status: int, rings: bool) -> None:
    records = run([0.0], outcomes=outcomes, patience=1.0)
    assert (records["disposition"][0], records["status"][0]) == (disposition, status)
    assert (records["ringing_s"][0] is not None) == rings
    assert records["answered_s"][0] is None
    assert records["rtp_sent"][0] == 0


def test_a_throttled_caller_who_obeys_retry_after_comes_back_then(run: Any) -> None:
    throttle = {"policy": "fixed_window", "limit": 1, "window_s": 60, "retry_after_s": 70}
    redial = {"probability": 1, "delay": 5, "attempts": 2}
    records = run([1.0, 2.0], trunk={"throttle": throttle}, redial=redial)
    assert records["disposition"].to_list() == ["completed", "throttled", "completed"]
    refused_at = records["ended_s"][1]
    assert records["intended_s"][2] == pytest.approx(refused_at + 70)
    assert records["redialled"].to_list() == [False, True, False]
    ignoring = run([1.0, 2.0], trunk={"throttle": throttle}, redial=redial | {"obeys_retry_after": False})
    assert ignoring["intended_s"][2] == pytest.approx(refused_at + 5)
    assert ignoring["disposition"][2] == "throttled"


def test_a_caller_tries_again_after_the_reasons_that_he_tries_again_after(run: Any) -> None:
    throttle = {"policy": "fixed_window", "limit": 1, "window_s": 60, "retry_after_s": None}
    redial = {"delay": 5, "attempts": 20, "by_reason": {"throttled": 1.0, "busy": [1.0, 0.0]}}
    records = run([1.0], trunk={"throttle": throttle}, redial=redial, outcomes={"busy": 1})
    # One attempt a minute passes. Busy at first, he tries again; busy later, he does not.
    first, *refused, last = records.sort("attempt")["disposition"].to_list()
    assert (first, last) == ("busy", "busy")
    assert len(refused) >= 9
    assert set(refused) == {"throttled"}
    assert records.sort("attempt")["redialled"].to_list() == [*[True] * (len(refused) + 1), False]


def test_a_shaper_holds_a_call_before_it_rings(run: Any) -> None:
    shaper = {"policy": "shaper", "limit": 60, "window_s": 60, "max_delay_s": 1.5}
    records = run([0.0, 10.0, 10.0, 10.0], trunk={"throttle": shaper}, ringing=0)
    assert records["disposition"].to_list() == ["completed"] * 3 + ["throttled"]
    delays = (records["ringing_s"] - records["sent_s"]).to_list()[1:3]
    assert delays == pytest.approx([RTT + 0.5, RTT / 2 + 1.0 + 0.5 + RTT / 2], abs=1e-6)


def test_ports_rest_in_quarantine(run: Any) -> None:
    ports = {"low": 10000, "high": 10003, "legs": 2, "quarantine_s": 20}
    records = run([0.0, 10.0, 40.0], pop={"ports": ports, "machine": {}})
    assert records["disposition"].to_list() == ["completed", "no_port", "completed"]
    assert records["ports"].to_list() == [2, 0, 2]


def test_a_brown_out_refuses_new_calls_and_leaves_old_ones(run: Any) -> None:
    incident = {"kind": "carrier_brown_out", "at_s": 1.0, "lasts_s": 10}
    records = run([0.0, 2.0, 20.0], pop={"incidents": [incident], "machine": {}})
    assert records["disposition"].to_list() == ["completed", "no_channel", "completed"]


def test_an_edge_restart_breaks_invites_and_refuses_connections_but_not_calls(run: Any) -> None:
    incident = {"kind": "edge_restart", "at_s": 10.0, "down_s": 4.0}
    records = run([5.0, 9.0, 12.0, 20.0], pop={"incidents": [incident]})
    # The first is talking when the edge goes, and hangs up while it is down; the second is ringing; the third comes.
    assert records["disposition"].to_list() == ["completed", "connection_failed", "connection_failed", "completed"]
    assert records["ended_s"][0] >= 14.0
    assert records["ended_s"][1] == pytest.approx(10.0)
    assert records["sent_s"][2] is None


def test_a_refusal_that_was_on_its_way_when_the_edge_went_never_arrived(run: Any) -> None:
    throttle = {"policy": "fixed_window", "limit": 1, "retry_after_s": 70}
    # Refused half a round trip after 2 s, and there is as much to go back.
    incident = {"kind": "edge_restart", "at_s": 2 + 0.75 * RTT, "down_s": 1.0}
    redial = {"probability": 1, "delay": 5, "attempts": 2}
    records = run([1.0, 2.0], trunk={"throttle": throttle}, pop={"incidents": [incident]}, redial=redial)
    broken = records.row(1, named=True)
    assert broken["disposition"] == "connection_failed"
    assert (broken["status"], broken["cause"], broken["retry_after_s"]) == (None, None, None)
    # The caller heard of no Retry-After.
    redialled = records.filter((pl.col("call") == broken["call"]) & (pl.col("attempt") == 1))
    assert redialled["intended_s"].item() == pytest.approx(incident["at_s"] + 5)


@pytest.mark.parametrize("policy", ["fixed_window", "pipelimit", "sliding_window_attempts", "token_bucket", "shaper"])
def test_a_restart_that_forgets_the_throttle_lets_calls_in_again(run: Any, policy: str) -> None:
    size = {"token_bucket": {"burst": 1}, "shaper": {"max_delay_s": 0}}.get(policy, {})
    throttle = {"policy": policy, "limit": 1, "window_s": 60} | size
    incident = {"kind": "edge_restart", "at_s": 10.0, "down_s": 4.0}
    for forgets, third in ((True, "completed"), (False, "throttled")):
        pop = {"incidents": [incident | {"forgets_throttle": forgets}]}
        records = run([1.0, 5.0, 15.0, 20.0], trunk={"throttle": throttle}, pop=pop)
        assert records["disposition"].to_list() == ["completed", "throttled", third, "throttled"]


def test_after_such_a_restart_windows_begin_when_the_edge_is_back(run: Any) -> None:
    throttle = {"policy": "pipelimit", "limit": 1, "window_s": 60}
    incident = {"kind": "edge_restart", "at_s": 10.0, "down_s": 4.0, "forgets_throttle": True}
    records = run([20.0, 70.0, 73.9, 74.0], trunk={"throttle": throttle}, pop={"incidents": [incident]})
    assert records["disposition"].to_list() == ["completed", "throttled", "throttled", "completed"]


@pytest.mark.parametrize(
    ("tls", "kinds"),
    [
        ({"policy": "persistent"}, ["full", "reused", "reused"]),
        ({"policy": "pool", "pool_size": 2}, ["full", "full", "reused"]),
        ({"policy": "per_call"}, ["full", "full", "full"]),
        ({"policy": "per_call", "resumption_share": 1}, ["full", "resumed", "resumed"]),
    ],
)
def test_connections_by_policy(run: Any, tls: dict[str, Any], kinds: list[str]) -> None:
    assert run([0.0, 1.0, 2.0], tls=tls)["connection"].to_list() == kinds


def test_a_stranger_is_refused_before_the_throttle_counts_him(run: Any) -> None:
    records = run([0.0, 1.0], trunk={"whitelist": ["10.0.0.0/8"], "throttle": {"policy": "fixed_window", "limit": 1}})
    assert records["disposition"].to_list() == ["not_whitelisted"] * 2
    assert records["cause"].to_list() == [57, 57]


def test_inbound_calls_meet_the_same_limits_and_need_no_customer_connection(run: Any) -> None:
    records = run([0.0, 1.0], inbound_share=1, pop={"carrier": {"channels": 1, "setup": 0.5}})
    assert records["disposition"].to_list() == ["completed", "no_channel"]
    assert records["connection"].to_list() == [None, None]


def test_an_invite_waits_for_the_work_on_those_before_it(run: Any) -> None:
    costs = {"full_handshake_s": 0.0, "refusal_s": 0.2, "invite_s": 1.0}
    records = run([1.0, 1.0], costs=costs, trunk={"throttle": {"policy": "none"}})
    sent = 1.0 + 2 * RTT
    # Both are read, 0.2 s each, before the rest of the first is done, 0.8 s; set-up, 0.5 s, goes on beside it.
    # Work begins when the INVITE is sent (a simplification); what comes of it is half a round trip away.
    assert records["ringing_s"].to_list() == pytest.approx([sent + 0.4 + 0.8 + RTT / 2, sent + 0.4 + 1.6 + RTT / 2])
    # Calls from the PSTN queue for the same work.
    inbound = run([1.0, 1.0], costs=costs, trunk={"throttle": {"policy": "none"}}, inbound_share=1)
    assert inbound["ringing_s"].to_list() == pytest.approx([2.0 + RTT / 2, 3.0 + RTT / 2])
    refused = run([1.0, 1.0], costs=costs, trunk={"throttle": {"policy": "pipelimit", "limit": 1}})
    assert refused["ended_s"][1] == pytest.approx(sent + 0.4 + RTT)


def test_an_invite_that_finds_half_a_minute_of_work_before_it_is_given_up(run: Any) -> None:
    costs = {"full_handshake_s": 0.0, "refusal_s": 10.0, "invite_s": 10.0}
    records = run([1.0] * 5, costs=costs, trunk={"throttle": {"policy": "none"}})
    assert records["disposition"].to_list() == ["completed"] * 3 + ["timed_out"] * 2
    assert (records["ended_s"] - records["sent_s"]).to_list()[3:] == pytest.approx([32.0, 32.0])
    assert records["status"].to_list() == [200] * 3 + [None] * 2


def test_calls_come_through_as_fast_as_a_quota_lets_their_work_be_done(run: Any) -> None:
    costs = {"full_handshake_s": 0.0, "refusal_s": 0.01, "invite_s": 0.01}
    open_trunk = {"throttle": {"policy": "none"}}

    def delays_s(quota: float, calls_per_s: float) -> pl.Series:
        instants = [1.0 + number / calls_per_s for number in range(200)]
        records = run(instants, costs=costs, quota=quota, trunk=open_trunk, pop={"carrier": {"setup": 0}})
        return records["ringing_s"] - records["sent_s"]

    # 10 ms each: 50 a second by half a core, 25 by a quarter.
    for quota, most_per_s in ((0.5, 50), (0.25, 25)):
        assert delays_s(quota, most_per_s - 1)[-1] == pytest.approx(0.01 / quota + RTT)
        beyond = delays_s(quota, 2 * most_per_s)
        assert beyond[-1] == pytest.approx(100 / most_per_s, rel=0.05)


def test_a_quota_below_what_idle_programs_take_is_refused(run: Any) -> None:
    with pytest.raises(InputError, match=r"pop.machine: leaves no CPU .* take 0.1 cores"):
        run([1.0], costs={"idle_share": 0.1}, quota=0.1)


def test_media_beyond_a_quota_costs_quality_only_beyond_it(run: Any) -> None:
    # 10 calls ask for 100 packets a second at 1 ms each, all together 1 core.
    calls: dict[str, Any] = {"costs": {"packet_s": 0.001}, "trunk": {"throttle": {"policy": "none"}}, "holding": 20}
    instants = [1.0] * 10
    whole, enough, half = (run(instants, quota=quota, **calls) for quota in (None, 1.0, 0.5))
    assert whole.equals(enough)
    assert enough["rtp_lost"].sum() == 0
    assert (half["rtp_lost"] / half["rtp_sent"]).to_list() == pytest.approx([0.5] * 10, abs=0.01)
    assert (half["mos"] < 2).all()
    assert (enough["mos"] > 4).all()
