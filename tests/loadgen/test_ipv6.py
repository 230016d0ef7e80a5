"""Calls between IPv6 addresses: trunk and customer are both at ::1, the one IPv6 address that needs no set-up."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import LOOPBACK_ONLY
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.parties.customer import Customer
from trunkproof.loadgen.run import drive, reach
from trunkproof.loadgen.sip.trace import open_trace
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.loadgen.stacks.registry import check_playable
from trunkproof.loadgen.tls.certificates import Authority
from trunkproof.models.errors import InputError, StackError
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study
from trunkproof.simulator.run import simulate

V6 = "::1"


def study(customer: str = V6, pop: dict[str, Any] | None = None, **trunk: Any) -> Study:
    traffic = {"arrivals": {"kind": "constant", "rate_per_minute": 600}, "holding": 0.3, "ringing": 0.1}
    return Study.model_validate(
        {
            "name": "six",
            "duration_s": 1,
            "pop": {"address": V6} | (pop or {}),
            "trunks": [{"customer_address": customer, "customer_port": 5472, "traffic": traffic} | trunk],
        }
    )


def records_of(question: Study, folder: Path, trace: Path) -> pl.DataFrame:
    async def run() -> pl.DataFrame:
        plan = draw_plan(question)
        with open_trace(trace) as tracer:
            async with running_trunk(question, folder) as card:
                await reach(plan, card)
                return (await drive(plan, card, RunOptions(trace=tracer))).records

    return asyncio.run(run())


def test_rfc5118_4_1_calls_are_signalled_between_ipv6_addresses(tmp_path: Path) -> None:
    question = study(pop={"carrier": {"channels": 0, "setup": 0.03}})
    trace = tmp_path / "trace.txt"
    records = records_of(question, tmp_path / "trunk", trace)
    predicted = simulate(question)
    assert records["disposition"].to_list() == predicted["disposition"].to_list() == ["no_channel"] * 10
    said = trace.read_text()
    assert "Via: SIP/2.0/TLS [::1]:5472;alias;branch=" in said
    assert "@[::1]:5472;transport=tls>" in said
    assert ";received=" not in said


def test_rfc5118_4_9_audio_flows_both_ways_between_ipv6_addresses(tmp_path: Path) -> None:
    traffic = {"arrivals": {"kind": "constant", "rate_per_minute": 120}, "holding": 1.0, "ringing": 0.1}
    question = study(traffic=traffic | {"inbound_share": 0.5})
    question = question.model_copy(update={"duration_s": 2})
    trace = tmp_path / "trace.txt"
    records = records_of(question, tmp_path / "trunk", trace)
    assert set(records["direction"]) == {"inbound", "outbound"}
    assert records["disposition"].to_list() == ["completed"] * 4
    assert records["reason"].null_count() == 4
    # Each side has checked the other's key and voice, packet by packet. A call of 1 s has 50 packets each way.
    assert records.select((pl.col("rtp_authenticated") > 40).all(), (pl.col("rtp_sent") > 40).all()).row(0) == (
        True,
        True,
    )
    assert records.select(pl.sum("rtp_failed", "rtp_lost", "rtp_foreign", "rtp_stray")).row(0) == (0, 0, 0, 0)
    assert "c=IN IP6 ::1" in trace.read_text()


@pytest.mark.parametrize(
    ("whitelist", "disposition"), [(["::/64"], "no_channel"), (["2001:db8::/32"], "not_whitelisted")]
)
def test_a_whitelist_takes_networks_of_both_families(whitelist: list[str], disposition: str, tmp_path: Path) -> None:
    question = study(pop={"carrier": {"channels": 0, "setup": 0.03}}, whitelist=[*whitelist, "127.0.0.0/8"])
    records = records_of(question, tmp_path / "trunk", tmp_path / "trace.txt")
    assert set(records["disposition"]) == {disposition}


def test_a_customer_of_the_other_family_is_told_before_the_first_call(tmp_path: Path) -> None:
    async def run() -> None:
        plan = draw_plan(study("127.0.0.59"))
        card = TrunkCard(server_name="a.example", host=V6, port=5443, ca_file=str(tmp_path / "ca.pem"))
        async with Customer(plan, 0, card, LOOPBACK_ONLY.check(V6, 5443, 0.0), RunOptions()):
            pass

    Authority(tmp_path)
    with pytest.raises(StackError, match=r"127\.0\.0\.59 \(IPv4\) and cannot reach the trunk at ::1 \(IPv6\): give it"):
        asyncio.run(run())


def test_a_stack_that_we_run_with_ipv4_says_so() -> None:
    with pytest.raises(InputError) as caught:
        check_playable(study(pop={"stack": "kamailio"}, whitelist=["2001:db8::/32"]))
    found = {problem.where for problem in caught.value.problems}
    assert {"pop.address", "trunks[0].customer_address", "trunks[0].whitelist"} <= found


def test_a_study_reads_both_families_and_tells_what_is_no_address() -> None:
    whole = json.loads(study(whitelist=["2001:db8::/32"]).model_dump_json())
    assert whole["trunks"][0]["whitelist"] == ["2001:db8::/32"]
    assert Study.model_validate(whole).trunks[0].customer_address == study().trunks[0].customer_address
