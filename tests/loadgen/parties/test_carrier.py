"""The carrier without any stack before it: it calls a customer's listener itself, and keeps its limits."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.loadgen.stacks.conftest import CUSTOMER, study

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import LOOPBACK_ONLY
from trunkproof.loadgen.options import DEFAULTS
from trunkproof.loadgen.parties.carrier import Carrier
from trunkproof.loadgen.parties.customer import Customer
from trunkproof.loadgen.stacks.stack import customer_files
from trunkproof.loadgen.system.ports import free_port
from trunkproof.loadgen.tls.certificates import Authority
from trunkproof.loadgen.tls.endpoints import LocalNetworkError
from trunkproof.loadgen.verdict import GeneratorVerdict, Verdict
from trunkproof.models.plan import Plan, draw_plan
from trunkproof.models.records import to_frame
from trunkproof.models.study import Study

OUTCOMES: dict[str, Any] = {
    "busy": 0.2,
    "no_answer": 0.2,
    "abandoned": 0.2,
    "rejected": [{"status": 404, "share": 0.2}],
}


def inbound(carrier: dict[str, Any] | None = None, **traffic: Any) -> Study:
    """Twenty inbound calls. The stack's inner side is the customer's own listener: nothing is between."""
    return study(
        pop={"inner_address": CUSTOMER},
        carrier={"media": "srtp"} | (carrier or {}),
        trunk={"customer_port": free_port(CUSTOMER)},
        inbound_share=1,
        **traffic,
    )


def ring(question: Study, folder: Path, *, stop_after_s: float | None = None) -> tuple[pl.DataFrame, GeneratorVerdict]:
    """Let the carrier place its calls; their records, and its own health."""
    plan = draw_plan(question)

    async def run() -> tuple[pl.DataFrame, GeneratorVerdict]:
        authority = Authority(folder / "certificates")
        carrier = Carrier(plan, authority, inner_port=question.trunks[0].customer_port)
        await carrier.start()
        try:
            async with _customer(plan, authority, carrier.host) as customer:
                carrier.begin(asyncio.get_running_loop().time() + 0.2)
                if stop_after_s is not None:
                    await asyncio.sleep(stop_after_s)
                records, health = await carrier.finish(stop=stop_after_s is not None)
                assert customer.audio.heard.authenticated == customer.audio.heard.received
            assert carrier.limits.used == 0
        finally:
            await carrier.close()
        return to_frame(records), health

    return asyncio.run(run())


def _customer(plan: Plan, authority: Authority, calls_come_from: str) -> Customer:
    card = TrunkCard(
        server_name=plan.study.pop.host,
        host=calls_come_from,
        port=1,
        ca_file=str(authority.ca_file),
        customers=customer_files(plan.study, authority),
    )
    return Customer(plan, 0, card, LOOPBACK_ONLY.check(calls_come_from, 1, 0), DEFAULTS)


def counts(records: pl.DataFrame) -> dict[str, int]:
    return dict(records["disposition"].cast(pl.String).value_counts().iter_rows())


def test_inbound_calls_end_as_their_rows_say(tmp_path: Path) -> None:
    question = inbound(outcomes=OUTCOMES)
    records, health = ring(question, tmp_path)
    planned = {row.row: row.status for row in draw_plan(question).rows.values()}
    assert dict(records.select("row", "status").iter_rows()) == planned
    assert set(counts(records)) == {"completed", "busy", "no_answer", "abandoned", "carrier_rejected"}
    completed = records.filter(pl.col("disposition") == "completed")
    assert (completed["rtp_authenticated"] == completed["rtp_received"]).all()
    assert (completed["rtp_received"] > 0).all()
    assert health.verdict is not Verdict.VOID, health.reasons


@pytest.mark.parametrize(
    ("limits", "disposition", "status", "cause"),
    [({"channels": 3}, "no_channel", 486, 34), ({"calls_per_second": 3}, "carrier_rejected", 503, 41)],
)
def test_inbound_calls_meet_the_carriers_limits_before_they_are_placed(
    limits: dict[str, int], disposition: str, status: int, cause: int, tmp_path: Path
) -> None:
    records, _ = ring(
        inbound(limits, holding=3, arrivals={"kind": "replay", "instants_s": [0, 0.1, 0.2, 0.3, 0.4]}), tmp_path
    )
    assert counts(records) == {"completed": 3, disposition: 2}
    refused = records.filter(pl.col("disposition") == disposition)
    assert set(refused.select("status", "cause", "ringing_s").iter_rows()) == {(status, cause, None)}
    assert refused["ended_s"].null_count() == 0


def test_a_carrier_that_is_stopped_ends_its_calls(tmp_path: Path) -> None:
    records, _ = ring(inbound(holding=60), tmp_path, stop_after_s=1.2)
    assert 8 <= records.height <= 12
    assert counts(records) == {"still_up": records.height}
    assert records["ended_s"].null_count() == 0


def test_one_that_never_began_has_nothing_to_say(tmp_path: Path) -> None:
    async def run() -> None:
        carrier = Carrier(draw_plan(study()), Authority(tmp_path / "certificates"), inner_port=1)
        with pytest.raises(RuntimeError, match="not been started"):
            _ = carrier.agent
        await carrier.start()
        try:
            records, health = await carrier.finish(stop=False)
            assert (records, health.verdict) == ([], Verdict.VALID)
        finally:
            await carrier.close()

    asyncio.run(run())


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    async def run() -> None:
        elsewhere = study(carrier={"address": "203.0.113.7"})  # RFC 5737: never anyone's address
        carrier = Carrier(draw_plan(elsewhere), Authority(tmp_path / "certificates"), inner_port=1)
        with pytest.raises(LocalNetworkError, match=r"cannot listen on 203\.0\.113\.7"):
            await carrier.start()
        await carrier.close()

    asyncio.run(run())
