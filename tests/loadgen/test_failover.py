"""Real calls through two edges, of which one goes away: as predicted, call by call, and nothing is left."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.run import Run, RunResult
from trunkproof.loadgen.stacks.control import ControlClient
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study
from trunkproof.simulator.run import simulate

EDGES = [{"host": "a.example", "address": "127.0.0.61"}, {"host": "b.example", "address": "127.0.0.62", "priority": 2}]
# A call every 0.5 s from the second second on. When the first edge goes, one call rings, one is being set up, and two
# talk. It is back between two calls. All else is at least 0.1 s away, so that no delay of this machine decides.
FIRST_DOWN = {"kind": "edge_down", "at_s": 3.75, "lasts_s": 2.5}
SILENT = FIRST_DOWN | {"connects": "time_out"}
INSTANTS = [1.0 + call / 2 for call in range(18)]


def study(pop: dict[str, Any] | None = None, trunk: dict[str, Any] | None = None, **traffic: Any) -> Study:
    settings = {"arrivals": {"kind": "replay", "instants_s": INSTANTS}, "holding": 0.85, "ringing": 0.4}
    base = {"carrier": {"setup": 0.5}, "edges": EDGES, "incidents": [FIRST_DOWN], "failover": {"recheck_s": 1.3}}
    trunks = [{"customer_address": "127.0.0.43", "traffic": settings | traffic} | (trunk or {})]
    return Study.model_validate({"name": "t", "duration_s": 12, "pop": base | (pop or {}), "trunks": trunks})


def predicted_and_real(question: Study, folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    plan = draw_plan(question)

    async def run() -> tuple[pl.DataFrame, RunResult]:
        async with running_trunk(question, folder) as card:
            async with Run(plan, card, RunOptions()) as under_way:
                anchors = await under_way.begin()
                predicted = simulate(question, plan, anchors=anchors)
                driven = await under_way.finish()
            assert card.control_port is not None
            control = await ControlClient.connect(card.host, card.control_port, card.control_secret or "")
            status = await control.status()
            await control.close()
            assert (status.channels_used, status.ports_in_use, status.calls) == (0, 0, 0)
            return predicted, driven

    predicted, driven = asyncio.run(run())
    assert not driven.bugs
    return predicted, driven.records


def differing(predicted: pl.DataFrame, real: pl.DataFrame, *names: str) -> list[Any]:
    """Return the attempts that differ in these columns."""
    both = predicted.join(real, on="row", how="full", suffix="_real")
    return both.filter(pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_real")) for name in names)).rows()


BY_NAME = {"failover": {"recheck_s": 1.3, "record_route": "name"}}
BY_WEIGHT = {"edges": [edge | {"priority": 1, "weight": 3 - place} for place, edge in enumerate(EDGES)]}


@pytest.mark.parametrize(
    ("pop", "tls"),
    [({}, "persistent"), (BY_NAME | BY_WEIGHT, "per_call"), ({"incidents": [SILENT]}, "pool")],
    ids=["priority", "weight and name", "silent"],
)
def test_rfc3263_4_3_calls_fail_over_as_predicted_call_by_call(tmp_path: Path, pop: dict[str, Any], tls: str) -> None:
    predicted, real = predicted_and_real(study(pop, tls={"policy": tls, "pool_size": 2}), tmp_path)

    assert differing(predicted, real, "disposition", "edge", "redialled") == []
    assert set(real["edge"]) == {0, 1}
    lost = real.filter(pl.col("disposition") != "completed")
    assert set(lost["disposition"]) <= {"connection_failed"}


def test_a_503_is_tried_at_the_next_edge_whose_count_is_its_own(tmp_path: Path) -> None:
    pop = {"incidents": [], "throttle_per": "edge", "failover": {"on_503": True}}
    limit = {"throttle": {"policy": "sliding_window_admitted", "limit": 7, "window_s": 600}}
    predicted, real = predicted_and_real(study(pop, limit), tmp_path)

    assert differing(predicted, real, "disposition", "edge", "status", "cause") == []
    ended = real.sort("intended_s").select("disposition", "edge").rows()
    assert ended == [("completed", 0)] * 7 + [("completed", 1)] * 7 + [("throttled", 1)] * 4


def test_a_customer_takes_inbound_calls_of_every_edge_and_the_trunk_tries_its_destinations(tmp_path: Path) -> None:
    # Nobody answers at the preferred destination: its port is taken, and nobody listens there.
    with socket.socket() as taken:
        taken.bind(("127.0.0.45", 0))
        destinations = [
            {"host": "127.0.0.45", "port": taken.getsockname()[1], "priority": 1},
            {"host": "127.0.0.43", "port": 5061, "priority": 2},
            {"host": "127.0.0.44", "port": 5061, "priority": 2},
        ]
        question = study({"incidents": []}, {"customer_edges": destinations}, inbound_share=0.6)
        predicted, real = predicted_and_real(question, tmp_path)

    assert differing(predicted, real, "disposition", "edge", "direction") == []
    assert set(real["disposition"]) == {"completed"}
    assert (real["direction"] == "inbound").sum() > 3
