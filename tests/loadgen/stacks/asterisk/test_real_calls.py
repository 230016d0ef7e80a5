"""Real calls through Asterisk, as the trunk and as the customer's PBX: each ends as the plan and the limits say."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.loadgen.stacks.asterisk.conftest import CUSTOMER, POP, study

from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.run import RunResult, drive
from trunkproof.loadgen.stacks.asterisk.programs import pbx_programs
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.loadgen.system.ports import free_port
from trunkproof.loadgen.system.programs import Programs
from trunkproof.loadgen.tls.certificates import CertificateFiles
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study
from trunkproof.models.throttles.decision import Admitted

pytestmark = pytest.mark.usefixtures("asterisk")
EVERY_OUTCOME: dict[str, Any] = {
    "busy": 0.1,
    "no_answer": 0.1,
    "abandoned": 0.1,
    "rejected": [{"status": status, "share": 0.08} for status in (403, 404, 410, 488, 500, 503)],
}


def real(question: Study, folder: Path, *, begins_at: float | None = None) -> RunResult:
    """RunResult the study; plan zero comes `begins_at` seconds after a whole second of the wall clock."""

    async def run() -> RunResult:
        async with running_trunk(question, folder) as card:
            head_start_s = 0.5 if begins_at is None else 1 + begins_at - time.time() % 1
            return await drive(draw_plan(question), card, RunOptions(head_start_s=head_start_s))

    return asyncio.run(run())


def counts(records: pl.DataFrame) -> dict[str, int]:
    return dict(records["disposition"].cast(pl.String).value_counts().iter_rows())


def assert_ended_as_planned(question: Study, records: pl.DataFrame) -> None:
    planned = {row.row: row.status for row in draw_plan(question).rows.values()}
    assert dict(records.select("row", "status").iter_rows()) == planned
    completed = records.filter(pl.col("disposition") == "completed")
    assert (completed["rtp_received"] > 0).all()
    assert completed["rtp_failed"].sum() == completed["rtp_foreign"].sum() == 0


@pytest.mark.parametrize("media", ["rtp", "srtp"])
def test_every_outcome_in_both_directions(media: str, tmp_path: Path) -> None:
    carrier = POP["carrier"] | {"media": media}
    question = study({"carrier": carrier}, duration_s=4, inbound_share=0.5, outcomes=EVERY_OUTCOME)
    records = real(question, tmp_path).records
    assert set(counts(records)) == {"completed", "busy", "no_answer", "abandoned", "carrier_rejected"}
    assert_ended_as_planned(question, records)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_connections_per_call_are_resumed(version: str, tmp_path: Path) -> None:
    records = real(study(tls={"policy": "per_call", "resumption_share": 1, "version": version}), tmp_path).records
    assert dict(records["connection"].cast(pl.String).value_counts().iter_rows()) == {"full": 1, "resumed": 19}
    assert counts(records) == {"completed": 20}


@pytest.mark.parametrize(
    ("throttle", "duration_s"),
    [
        ({"policy": "fixed_window", "limit": 3, "window_s": 1}, 4),
        # Five calls a second, and a token every 0.75 s: whatever decides lies 50 ms from an arrival or more.
        ({"policy": "token_bucket", "limit": 80, "window_s": 60, "burst": 3, "refusal_status": 480}, 2.9),
    ],
)
def test_a_throttle_decides_call_by_call_as_its_model(
    throttle: dict[str, Any], duration_s: float, tmp_path: Path
) -> None:
    arrivals = {"kind": "constant", "rate_per_minute": 300}
    question = study(trunk={"throttle": throttle | {"retry_after_s": None}}, duration_s=duration_s, arrivals=arrivals)
    # The arrivals keep a distance from the boundaries of the windows.
    driven = real(question, tmp_path, begins_at=0.1)
    records = driven.records.sort("sent_s")
    model = question.trunks[0].throttle.make_throttle(anchor=driven.anchors.get("trunk", 0.0))
    expected = [isinstance(model.try_admit(at), Admitted) for at in records["sent_s"]]
    assert (records["disposition"] == "completed").to_list() == expected
    assert set(records["disposition"]) == {"completed", "throttled"}
    statuses = set(records.filter(pl.col("disposition") == "throttled")["status"])
    assert statuses == {question.trunks[0].throttle.refusal_status}


@pytest.mark.parametrize("legs", [1, 2])
def test_the_port_range_carries_as_many_calls_as_the_study_says(legs: int, tmp_path: Path) -> None:
    ports = {"low": 31_000, "high": 31_012, "legs": legs}
    records = real(study({"ports": ports}, duration_s=1, holding=2), tmp_path).records
    assert (records["status"] == 200).sum() == 6 // legs
    # The description of the session is what cannot be accepted without a port.
    assert set(records.filter(pl.col("status") != 200)["status"]) == {488}


def test_the_carriers_channels_and_a_stranger_are_told_apart(tmp_path: Path) -> None:
    carrier = POP["carrier"] | {"channels": 2}
    records = real(study({"carrier": carrier}, holding=1), tmp_path / "channels").records
    assert set(counts(records)) == {"completed", "no_channel"}
    assert set(records.filter(pl.col("disposition") == "no_channel")["cause"]) == {34}
    strange = real(study(trunk={"whitelist": ["127.0.50.99/32"]}, duration_s=0.5), tmp_path / "stranger").records
    assert counts(strange) == {"not_whitelisted": strange.height}


def test_the_customers_pbx_rings_its_telephones(tmp_path: Path) -> None:
    ports = {"customer_port": free_port(CUSTOMER)}
    phone_port = free_port(CUSTOMER)
    question = study(trunk=ports, duration_s=4, inbound_share=1, outcomes=EVERY_OUTCOME).on("embedded")
    behind = question.trunks[0].model_copy(update={"customer_port": phone_port})

    async def run() -> RunResult:
        programs = Programs()
        async with running_trunk(question, tmp_path) as card:
            files = card.customers["trunk"]
            (pbx,) = pbx_programs(
                question,
                0,
                tmp_path,
                certificate=CertificateFiles(Path(files.certificate), Path(files.key)),
                ca_file=Path(card.ca_file),
                phone_port=phone_port,
            )
            try:
                await programs.start(pbx)
                # Who answers behind the PBX is the same customer, on another port.
                return await drive(draw_plan(question.model_copy(update={"trunks": (behind,)})), card)
            finally:
                await programs.close()

    assert_ended_as_planned(question, asyncio.run(run()).records)
