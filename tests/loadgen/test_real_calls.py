"""Real calls end in every way there is, over every kind of connection, and leave nothing behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from trunkproof.loadgen.card import TrunkCard, read_card
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.parties.numbers import exophone, pstn_number
from trunkproof.loadgen.parties.refusal import CallRefused
from trunkproof.loadgen.run import RunResult, drive, reach
from trunkproof.loadgen.sip.trace import open_trace
from trunkproof.loadgen.stacks.control import ControlClient
from trunkproof.loadgen.stacks.embedded.gate import Gate
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.models.errors import GuardError, InputError
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import Direction
from trunkproof.models.study import Study
from trunkproof.simulator.run import simulate


def study(pop: dict[str, Any] | None = None, trunk: dict[str, Any] | None = None, **traffic: Any) -> Study:
    settings = {
        "arrivals": {"kind": "constant", "rate_per_minute": 600},
        "holding": 0.5,
        "ringing": 0.1,
        "patience": 0.05,
    }
    trunks = [{"customer_address": "127.0.0.43", "traffic": settings | traffic} | (trunk or {})]
    base = {"carrier": {"setup": 0.03}}
    return Study.model_validate({"name": "t", "duration_s": 2, "pop": base | (pop or {}), "trunks": trunks})


def real(question: Study, folder: Path, **options: Any) -> RunResult:
    async def run() -> RunResult:
        async with running_trunk(question, folder) as card:
            driven = await drive(draw_plan(question), card, RunOptions(**options))
            assert card.control_port is not None
            control = await ControlClient.connect(card.host, card.control_port, card.control_secret or "")
            status = await control.status()
            await control.close()
            # The drain audit: after the last call the trunk holds nothing.
            assert (status.channels_used, status.ports_in_use, status.calls) == (0, 0, 0)
            return driven

    return asyncio.run(run())


def counts(records: pl.DataFrame) -> dict[str, int]:
    return dict(records["disposition"].cast(pl.String).value_counts().iter_rows())


def test_every_outcome_of_the_called_side_in_both_directions(tmp_path: Path) -> None:
    mix = {"busy": 0.2, "no_answer": 0.2, "abandoned": 0.2, "rejected": [{"status": 404, "share": 0.2}]}
    question = study(inbound_share=0.5, outcomes=mix)
    records = real(question, tmp_path).records
    assert set(counts(records)) == {"completed", "busy", "no_answer", "abandoned", "carrier_rejected"}
    assert set(records["direction"]) == {Direction.INBOUND, Direction.OUTBOUND}
    planned = {row.row: row.status for row in draw_plan(question).rows.values()}
    assert all(planned[row] == status for row, status in records.select("row", "status").iter_rows())
    assert records.filter(pl.col("rtp_received") > 0).height == counts(records)["completed"]


def test_limits_refuse_real_calls_with_their_own_causes(tmp_path: Path) -> None:
    pop = {"carrier": {"setup": 0.03, "channels": 2, "calls_per_second": 8}}
    throttle = {"policy": "token_bucket", "limit": 400, "window_s": 60, "burst": 3}
    records = real(study(pop, {"throttle": throttle}), tmp_path).records
    found = counts(records)
    assert {"completed", "throttled", "no_channel"} <= set(found)
    causes = records.filter(pl.col("status") == 503).select("disposition", "cause", "retry_after_s").unique()
    expected = {("throttled", 42, 10.0), ("no_channel", 34, None), ("carrier_rejected", 41, None)}
    assert set(causes.iter_rows()) <= expected


def test_trunks_of_an_account_share_its_channels_and_inbound_callers_hear_busy(tmp_path: Path) -> None:
    instants = {"one": [0.0, 0.2, 0.4], "two": [0.1, 0.3, 0.5], "other": [0.0, 0.15, 0.3]}
    trunks = [
        {
            "name": name,
            "account": "other" if name == "other" else "shared",
            "customer_address": f"127.0.0.{43 + number}",
            # Of the shared ones, one is called and the other calls.
            "traffic": {
                "arrivals": {"kind": "replay", "instants_s": instants[name]},
                "holding": 2.0,
                "ringing": 0.1,
                "inbound_share": 1 if name == "two" else 0,
            },
        }
        for number, name in enumerate(instants)
    ]
    pop = {"carrier": {"setup": 0.03, "channels": 3, "channels_per": "account"}}
    question = Study.model_validate({"name": "t", "duration_s": 2, "pop": pop, "trunks": trunks})
    records = real(question, tmp_path).records
    ended = records.sort("intended_s").select("trunk", "disposition", "status", "cause")
    shared = ended.filter(pl.col("trunk") != "other").rows()
    assert [row[:2] for row in shared[:3]] == [("one", "completed"), ("two", "completed"), ("one", "completed")]
    assert shared[3:] == [
        ("two", "no_channel", 486, 34),
        ("one", "no_channel", 503, 34),
        ("two", "no_channel", 486, 34),
    ]
    assert ended.filter(pl.col("trunk") == "other")["disposition"].to_list() == ["completed"] * 3
    # Ringing and talk hold the same channel, and the simulated trunk decides alike.
    predicted = simulate(question).sort("intended_s").select("trunk", "disposition", "status", "cause")
    assert predicted.rows() == ended.rows()


def test_limits_in_tandem_and_a_limit_shared_by_two_customers_decide_as_predicted(tmp_path: Path) -> None:
    # 40 ms and more from every boundary and token, so that no delay of this machine decides.
    instants = {"one": [0.0, 0.1, 0.6, 1.1, 1.2], "two": [0.05, 0.15, 0.7, 1.15], "three": [0.2, 0.75]}
    own = {"policy": "sliding_window_admitted", "limit": 1, "window_s": 0.4, "refusal_status": 480}
    tandem = {"policy": "tandem", "limits": [own, {"shared": "line"}]}
    throttles = {"one": tandem, "two": {"shared": "line"}, "three": {"policy": "penalty_box", "limit": 1}}
    trunks = [
        {
            "name": name,
            "account": name,
            "customer_address": f"127.0.0.{43 + number}",
            "throttle": throttles[name],
            "traffic": {"arrivals": {"kind": "replay", "instants_s": instants[name]}, "holding": 0.2, "ringing": 0.1},
        }
        for number, name in enumerate(instants)
    ]
    shared = {"line": {"policy": "token_bucket", "limit": 1, "burst": 3, "retry_after_s": 7}}
    pop = {"throttles": shared, "carrier": {"setup": 0.03}}
    question = Study.model_validate({"name": "t", "duration_s": 2, "pop": pop, "trunks": trunks})
    columns = ("trunk", "disposition", "status", "retry_after_s")
    ended = real(question, tmp_path).records.sort("intended_s").select(columns)
    assert ended.filter(pl.col("trunk") != "three").rows() == [
        ("one", "completed", 200, None),
        ("two", "completed", 200, None),
        ("one", "throttled", 480, 10.0),
        ("two", "completed", 200, None),
        ("one", "throttled", 503, 7.0),
        ("two", "throttled", 503, 7.0),
        # Its own limit admits the call at 1.1 s and counts it. So it is full at 1.2 s, although the line refused.
        ("one", "throttled", 503, 7.0),
        ("two", "throttled", 503, 7.0),
        ("one", "throttled", 480, 10.0),
    ]
    assert ended.filter(pl.col("trunk") == "three")["disposition"].to_list() == ["completed", "throttled"]
    assert simulate(question).sort("intended_s").select(columns).rows() == ended.rows()


@pytest.mark.parametrize(
    ("tls", "kinds"),
    [
        ({"policy": "persistent", "version": "1.2"}, {"full": 1, "reused": 19}),
        ({"policy": "pool", "pool_size": 3}, {"full": 3, "reused": 17}),
        ({"policy": "per_call", "resumption_share": 1}, {"full": 1, "resumed": 19}),
    ],
)
def test_connections_by_policy(tls: dict[str, Any], kinds: dict[str, int], tmp_path: Path) -> None:
    records = real(study(tls=tls), tmp_path).records
    assert dict(records["connection"].cast(pl.String).value_counts().iter_rows()) == kinds
    assert counts(records) == {"completed": 20}


def test_an_edge_restart_breaks_ringing_calls_and_spares_those_that_talk(tmp_path: Path) -> None:
    incident = {"kind": "edge_restart", "at_s": 1.0, "down_s": 0.4}
    records = real(study({"incidents": [incident]}, holding=1.0), tmp_path).records
    found = counts(records)
    assert found["connection_failed"] >= 4
    talking = records.filter((pl.col("answered_s") < 1.0) & (pl.col("bye_s") > 1.0))
    assert talking.height
    assert set(talking["disposition"]) == {"completed"}


def test_refused_callers_who_obey_come_back_after_retry_after(tmp_path: Path) -> None:
    throttle = {"policy": "fixed_window", "limit": 15, "window_s": 60, "retry_after_s": 2}
    redial = {"probability": 1, "delay": 0.1, "attempts": 2}
    records = real(study(trunk={"throttle": throttle}, redial=redial), tmp_path).records
    first = records.filter(pl.col("redialled"))
    again = records.filter(pl.col("attempt") == 1).join(first, on="call", suffix="_first")
    assert again.height == 5
    assert ((again["intended_s"] - again["ended_s_first"]) >= 2).all()


def test_a_trace_is_written_masked(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    with open_trace(path) as trace:
        real(study(), tmp_path / "trunk", trace=trace)
    text = path.read_text()
    assert "INVITE sip:+91" in text
    assert "inline:***" in text
    assert exophone(0) not in text
    with pytest.raises(InputError), open_trace(tmp_path / "no" / "folder"):
        pass


def test_numbers_are_recognisable_and_of_one_length() -> None:
    assert len(exophone(98)) == len(pstn_number(10**9 + 7)) == 13


def test_a_gate_denies_with_the_cause_of_each_limit() -> None:
    gate = Gate(study({"carrier": {"channels": 0}}, {"throttle": {"policy": "fixed_window", "limit": 1}}), anchor=0.0)
    gate.check_source(0, "127.0.0.43")
    with pytest.raises(CallRefused) as stranger:
        gate.check_source(0, "127.0.0.99")
    assert (stranger.value.refusal.status, stranger.value.refusal.cause) == (403, 57)
    assert gate.throttle(0, Direction.OUTBOUND, 0.0) == 0.0
    with pytest.raises(CallRefused) as throttled:
        gate.throttle(0, Direction.OUTBOUND, 0.1)
    refusal = throttled.value.refusal
    assert (refusal.status, refusal.cause, refusal.retry_after_s) == (503, 42, 10)
    with pytest.raises(CallRefused):
        gate.reserve(0, Direction.OUTBOUND, 0.0)


def test_a_card_is_read_back_and_a_wrong_one_told(tmp_path: Path) -> None:
    card = TrunkCard(server_name="a.example", host="127.0.0.1", port=5443, ca_file="ca.pem")
    path = tmp_path / "card.json"
    card.write(path)
    assert read_card(path) == card
    path.write_text('{"host": "127.0.0.1", "port": 0}')
    with pytest.raises(InputError) as caught:
        read_card(path)
    assert {problem.where for problem in caught.value.problems} >= {"port", "server_name"}
    with pytest.raises(InputError, match="cannot be read"):
        read_card(tmp_path / "none.json")


def test_nobody_outside_loopback_is_reached_for() -> None:
    card = TrunkCard(server_name="a.example", host="192.0.2.1", port=5443, ca_file="ca.pem")
    with pytest.raises(GuardError):
        asyncio.run(reach(draw_plan(study()), card))
    with pytest.raises(GuardError):
        asyncio.run(drive(draw_plan(study()), card))


def test_a_generator_without_ports_is_void_and_blames_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One pair for all calls of the customer: its second call finds none.
    monkeypatch.setattr("trunkproof.loadgen.system.ports._CUSTOMER_PORTS", (50_000, 50_002))
    driven = real(study(), tmp_path)
    failed = driven.records.filter(pl.col("disposition") == "connection_failed")
    assert failed.height
    assert all(reason.startswith("this machine: ") for reason in failed["reason"])
    assert driven.generator.verdict == "void"
    assert any("never placed" in reason for reason in driven.generator.reasons)


def test_a_block_that_is_routed_to_our_answering_side_plays_the_plan(tmp_path: Path) -> None:
    block = {"block": "+918040010000-+918040010099", "far_end": "plan"}
    question = study(
        outcomes={"busy": 0.5}, callers=["+918040001234"], destinations=[block | {"share": 0.7}, {"far_end": "plan"}]
    )
    records = real(question, tmp_path).records
    planned = {row.row: row.status for row in draw_plan(question).rows.values()}
    assert dict(records.select("row", "status").iter_rows()) == planned
    assert set(counts(records)) == {"completed", "busy"}
    assert set(records.select("destination", "far_end").iter_rows()) == {(0, "plan"), (1, "plan")}
    # Both ends of each call agree on its row, or its audio would be another call's.
    assert records["rtp_foreign"].sum() == 0


def test_keys_of_the_plan_are_recorded_on_both_sides_and_change_nothing_but_time(tmp_path: Path) -> None:
    question = study(inbound_share=0.5, holding=0.1, digits="1w2#", voiceprint="tones")
    plan, records = draw_plan(question), real(question, tmp_path).records
    assert set(records["direction"]) == {Direction.INBOUND, Direction.OUTBOUND}
    assert counts(records) == {"completed": records.height}, records["reason"].to_list()
    keys = records.select("digits_sent", "digits_received", "far_digits_received")
    assert set(keys.iter_rows()) == {("12#", None, "12#")}
    # A pause of 0.5 s, and three keys; the simulator holds as long.
    held = {row.hold_s for row in plan.rows.values()}
    assert held == {0.5 + 0.16 * 3 + 0.2}
    assert simulate(question, plan).height == records.height
    # Tones of this call only, in calls that are up side by side.
    assert records["rtp_foreign"].sum() == 0
