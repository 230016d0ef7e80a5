"""Miniature simulations of a trunk with two edges, by both engines: who fails over, when, and what is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from trunkproof.models.study import Study
from trunkproof.simulator.run import Engine, simulate

RTT = 0.01
HANDSHAKE_S = 2 * RTT + 0.005
COSTS = {
    "full_handshake_s": 0.005, "resumed_handshake_s": 0.003, "invite_s": 0.0, "refusal_s": 0.0, "bye_s": 0.0,
    "packet_s": 0.0, "idle_share": 0.0, "round_trip_s": RTT,
}  # fmt: skip
FIRST, SECOND = {"host": "a.example", "priority": 1}, {"host": "b.example", "priority": 2}


@pytest.fixture
def run(tmp_path: Path) -> Any:
    calibration = tmp_path / "known.yaml"
    calibration.write_text(yaml.safe_dump({"stack": "embedded", "measured": "2026-11-24", "costs": COSTS}))

    def simulated(instants: list[float], *, trunk: dict[str, Any] | None = None, **pop: Any) -> pl.DataFrame:
        settings = {"arrivals": {"kind": "replay", "instants_s": instants}, "holding": 3, "ringing": 2}
        known = {"machine": {"calibration": str(calibration)}, "carrier": {"setup": 0.5}, "edges": [FIRST, SECOND]}
        trunks = [{"traffic": settings} | (trunk or {})]
        study = Study.model_validate({"name": "t", "duration_s": 1000, "pop": known | pop, "trunks": trunks})
        records = simulate(study)
        assert_frame_equal(records, simulate(study, engine=Engine.KERNEL))
        return records

    return simulated


def down(at_s: float, lasts_s: float, connects: str = "refused", edge: int = 0) -> dict[str, Any]:
    return {"kind": "edge_down", "at_s": at_s, "lasts_s": lasts_s, "edge": edge, "connects": connects}


def test_calls_move_to_the_second_edge_and_come_back(run: Any) -> None:
    records = run([1.0, 21.0, 45.0, 55.0], incidents=[down(20.0, 15.0)])

    assert records["edge"].to_list() == [0, 1, 1, 0]  # at 45 s the first is back, but not yet tried again
    assert records["disposition"].to_list() == ["completed"] * 4
    assert records["connection"].to_list() == ["full", "full", "reused", "full"]


def test_rfc3263_4_3_a_call_that_does_not_ring_yet_is_sent_again_over_the_next_edge(run: Any) -> None:
    (record,) = run([1.0], incidents=[down(1.2, 15.0)]).to_dicts()

    assert (record["edge"], record["disposition"]) == (1, "completed")
    assert record["sent_s"] == pytest.approx(1.0 + HANDSHAKE_S)
    assert record["ringing_s"] == pytest.approx(1.2 + HANDSHAKE_S + 0.5 + RTT)


def test_a_call_that_rings_is_lost(run: Any) -> None:
    (record,) = run([1.0], incidents=[down(2.0, 15.0)]).to_dicts()

    assert (record["edge"], record["disposition"], record["ended_s"]) == (0, "connection_failed", 2.0)


def test_an_edge_that_does_not_answer_costs_the_time_limit_of_a_connection(run: Any) -> None:
    records = run([21.0, 22.0, 32.0], incidents=[down(20.0, 15.0, "time_out")])

    # The second waits for the same handshake. The third comes when the edge is known to be away.
    assert records["sent_s"].to_list() == pytest.approx([31.0 + HANDSHAKE_S, 31.0 + HANDSHAKE_S, 32.0])
    assert records["edge"].to_list() == [1, 1, 1]


def test_the_time_limit_is_not_reached_where_the_edge_is_back_before(run: Any) -> None:
    (record,) = run([28.0], incidents=[down(20.0, 15.0, "time_out")]).to_dicts()

    assert (record["edge"], record["sent_s"]) == (0, pytest.approx(35.0 + HANDSHAKE_S))


@pytest.mark.parametrize(
    ("record_route", "lasts_s", "bye", "disposition"),
    [
        # The BYE is tried every 0.1 s, and can go out when the edge is back.
        ("address", 6.0, 10.0 + HANDSHAKE_S, "completed"),
        ("name", 6.0, 1.0 + 2 * HANDSHAKE_S + 2.5 + RTT + 3.0, "completed"),
        # Timer F.
        ("address", 90.0, 6.525 + HANDSHAKE_S + 32 + RTT, "connection_failed"),
    ],
)
def test_rfc3261_12_2_1_1_the_bye_goes_where_the_route_says(
    run: Any, record_route: str, lasts_s: float, bye: float, disposition: str
) -> None:
    (record,) = run([1.0], incidents=[down(4.0, lasts_s)], failover={"record_route": record_route}).to_dicts()

    assert record["disposition"] == disposition
    assert record["ended_s"] == pytest.approx(bye + RTT, abs=0.11)
    assert record["edge"] == 0  # where its INVITE went


@pytest.mark.parametrize(("throttle_per", "refused"), [("trunk", 2), ("edge", 0)])
def test_edges_count_together_or_each_for_itself(run: Any, throttle_per: str, refused: int) -> None:
    limit = {"throttle": {"policy": "fixed_window", "limit": 2}}
    records = run([1.0, 2.0, 21.0, 22.0], incidents=[down(20.0, 15.0)], throttle_per=throttle_per, trunk=limit)

    assert (records["disposition"] == "throttled").sum() == refused


@pytest.mark.parametrize(("on_503", "edges"), [(False, [0, 0]), (True, [0, 1])])
def test_a_503_is_tried_at_the_next_edge_where_the_study_says_so(run: Any, on_503: bool, edges: list[int]) -> None:
    limit = {"throttle": {"policy": "fixed_window", "limit": 1}}
    records = run([1.0, 2.0], failover={"on_503": on_503}, throttle_per="edge", trunk=limit)

    assert records["edge"].to_list() == edges
    assert records["disposition"].to_list() == ["completed", "completed" if on_503 else "throttled"]


def test_rfc2782_calls_are_spread_by_weight(run: Any) -> None:
    records = run(
        [1.0 + call / 10 for call in range(2000)], edges=[FIRST | {"weight": 3}, FIRST | {"host": "b.example"}],
        trunk={"throttle": {"policy": "none"}},
    )  # fmt: skip

    # z = 4.5 of a binomial with p = 3/4.
    assert abs((records["edge"] == 0).sum() - 1500) < 4.5 * (2000 * 0.75 * 0.25) ** 0.5
