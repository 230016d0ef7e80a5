"""What TLS and SRTP cost: the same calls, predicted over both ways."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from trunkproof.experiments.prediction.prices import prices
from trunkproof.models.costs import load_calibration
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study


def study(calibration: Path) -> Study:
    traffic = {
        "arrivals": {"kind": "constant", "rate_per_minute": 600},
        "holding": 2,
        "tls": {"policy": "per_call", "versions": ["1.2"]},
    }
    pop = {"machine": {"calibration": str(calibration)}}
    return Study.model_validate({"name": "t", "duration_s": 5, "pop": pop, "trunks": [{"traffic": traffic}]})


def calibration_with(folder: Path, **costs: float) -> Path:
    made = load_calibration("embedded").model_dump(mode="json")
    made["costs"] |= costs
    path = folder / "costs.yaml"
    path.write_text(yaml.safe_dump(made), encoding="utf-8")
    return path


def test_the_difference_is_that_of_handshakes_and_packets(tmp_path: Path) -> None:
    packet_s = load_calibration("embedded").costs.packet_s
    known = calibration_with(tmp_path, tcp_connection_s=1e-5, plain_packet_s=packet_s / 2, idle_penalty=0.0)
    plan = draw_plan(study(known))
    found = prices(plan)
    tls, tcp = found.ways
    costs = load_calibration(str(known)).costs
    # 50 calls, each with a connection of its own and two seconds of audio in both directions.
    packets = 50 * 2 * (2 * 50 + 1)
    saved_s = 50 * (costs.full_handshake_s - 1e-5) + packets * packet_s / 2
    assert tls.cpu_s - tcp.cpu_s == pytest.approx(saved_s)
    assert tls.connect_p50_ms is not None
    assert tcp.connect_p50_ms is not None
    # TLS 1.2 takes two round trips more than TCP's one, and its CPU.
    assert tls.connect_p50_ms - tcp.connect_p50_ms > 2000 * costs.round_trip_s
    assert found.notes == ()
    assert [way["media"] for way in found.to_json()["ways"]] == ["srtp", "rtp"]


def test_what_the_calibration_does_not_know_is_said(tmp_path: Path) -> None:
    found = prices(draw_plan(study(calibration_with(tmp_path))))
    assert [note.rpartition("(")[2] for note in found.notes] == ["tcp_connection_s).", "plain_packet_s)."]
