"""Miniature simulations whose records are known to the millisecond: the life of a call, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from models.costs import Costs
from models.study import Study
from simulator.host import Host
from simulator.run import simulate

RTT = 0.01
COSTS = {
    "tcp_accept_s": 0.001, "full_handshake_s": 0.004, "resumed_handshake_s": 0.002, "invite_s": 0.0, "refusal_s": 0.0,
    "bye_s": 0.0, "packet_s": 0.0, "round_trip_s": RTT,
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Simulate calls at the given instants on a machine with known costs."""
    calibration = tmp_path / "known.yaml"
    calibration.write_text("\n".join(f"{name}: {value}" for name, value in COSTS.items()))

    def simulated(
        instants: list[float], *, pop: dict[str, Any] | None = None, trunk: dict[str, Any] | None = None, **traffic: Any
    ) -> pl.DataFrame:
        settings = {"arrivals": {"kind": "replay", "instants_s": instants}, "holding": 3, "ringing": 2}
        machine = {"machine": {"calibration": str(calibration)}, "carrier": {"setup": 0.5}}
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


def test_work_queues_first_come_first_served_and_audio_takes_its_share() -> None:
    costs = Costs.model_validate(COSTS | {"packet_s": 0.001})
    host = Host(2, costs, legs=1)
    assert [host.finish(0.1, 0.0) for _ in range(3)] == pytest.approx([0.1, 0.1, 0.2])
    # 100 packets a second at 1 ms on two cores: 10 calls ask for half of them, and work takes twice as long.
    for _ in range(10):
        host.audio_begins(1.0)
    assert host.media_load == pytest.approx(0.5)
    assert host.finish(0.1, 1.0) == pytest.approx(0.2)


def test_audio_beyond_the_cores_loses_packets_for_the_time_it_lasts() -> None:
    host = Host(1, Costs.model_validate(COSTS | {"packet_s": 0.001}), legs=1)
    readings = [host.audio_begins(0.0) for _ in range(20)]
    # 20 calls ask for twice the core: half of the packets of these 4 seconds are lost.
    lost = host.audio_ends(readings[0], 4.0)
    assert lost == pytest.approx(2.0)
    for reading in readings[1:11]:
        host.audio_ends(reading, 4.0)
    assert host.media_load == pytest.approx(0.9)
    assert host.audio_ends(readings[11], 10.0) == pytest.approx(2.0)
