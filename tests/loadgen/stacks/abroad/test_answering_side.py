"""Our answering side behind a trunk that is not ours: an Asterisk with a hand-written configuration routes to it.

The trunk speaks TCP and plain RTP, as the operator's older sibling does.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from tests.loadgen.stacks.abroad.conftest import _FILES, _MODULES, asterisk_in

from trunkproof.experiments.validation.far_side import join_far_end
from trunkproof.loadgen.card import FOREIGN, TrunkCard
from trunkproof.loadgen.run import RunResult, drive
from trunkproof.loadgen.stacks.asterisk.find import Installation
from trunkproof.loadgen.system.ports import free_port
from trunkproof.loadgen.system.programs import Programs
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import read_records
from trunkproof.models.study import Study

TRUNK, CUSTOMER, CARRIER = "127.0.58.1", "127.0.58.2", "127.0.58.3"
BLOCK, ECHO, BUSY, UNKNOWN = "+918040010000-+918040010099", "+918040022201", "+918040022202", "+918040022203"
_PJSIP = """
[global]
type = global
endpoint_identifier_order = ip
[edge]
type = transport
protocol = tcp
bind = {trunk}:{port}
[customer]
type = endpoint
context = dialled
transport = edge
disallow = all
allow = alaw
media_address = {trunk}
bind_rtp_to_media_address = yes
direct_media = no
timers = no
[customer-source]
type = identify
endpoint = customer
match = {customer}
[carrier]
type = endpoint
context = none
transport = edge
disallow = all
allow = alaw
media_address = {trunk}
bind_rtp_to_media_address = yes
direct_media = no
timers = no
"""
_EXTENSIONS = """
[dialled]
exten => _[+0-9].,1,Dial(PJSIP/carrier/sip:${{EXTEN}}@{carrier}:{carrier_port}\\;transport=tcp)
 same => n,Hangup(${{HANGUPCAUSE}})
"""
DESTINATIONS: list[dict[str, Any]] = [
    {"block": BLOCK, "far_end": "plan", "share": 0.5},
    {"number": ECHO, "far_end": "echo"},
    {"number": BUSY, "far_end": "rejects"},
]


def study(destinations: list[dict[str, Any]] = DESTINATIONS) -> Study:
    traffic = {
        "arrivals": {"kind": "constant", "rate_per_minute": 300},
        "holding": 1.0,
        "ringing": 0.2,
        "callers": ["+918040001234"],
        "destinations": destinations,
    }
    trunk = {
        "customer_address": CUSTOMER,
        "customer_port": 5488,
        "transport": "tcp",
        "media": "rtp",
        "throttle": {"policy": "none"},
        "traffic": traffic,
    }
    pop = {"carrier": {"address": CARRIER, "transport": "tcp", "media": "rtp", "setup": 0.05}}
    return Study.model_validate({"name": "routed", "duration_s": 3.9, "pop": pop, "trunks": [trunk]})


def files(port: int, carrier_port: int) -> dict[str, str]:
    """Return file name -> content of the trunk before the answering side."""
    names = (*_MODULES, "app_dial", "bridge_simple", "bridge_native_rtp", "func_hangupcause")
    values = {
        "loads": "".join(f"load = {name}.so\n" for name in names),
        "port": port,
        "trunk": TRUNK,
        "customer": CUSTOMER,
        "carrier": CARRIER,
        "carrier_port": carrier_port,
    }
    contents = {name: _FILES[name] for name in ("modules.conf", "logger.conf", "rtp.conf")}
    contents |= {"pjsip.conf": _PJSIP, "extensions.conf": _EXTENSIONS}
    return {name: content.format(**values) for name, content in contents.items()}


async def routed(installation: Installation, folder: Path, answering: Study, calling: Study) -> tuple[RunResult, str]:
    """Run `trunkproof answer`, the trunk before it, and the calls. Return the result, and what the command said."""
    folder = folder.resolve()
    port, carrier_port = free_port(TRUNK), free_port(CARRIER)
    (folder / "study.yaml").write_text(yaml.safe_dump(answering.model_dump(mode="json")), encoding="utf-8")
    words = ("answer", str(folder / "study.yaml"), "--port", str(carrier_port), "--out", str(folder / "out"))
    answerer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trunkproof.experiments.cli", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    programs = Programs()
    try:
        assert answerer.stdout is not None
        async with asyncio.timeout(60):
            assert b"answers at" in await answerer.stdout.readline()
        await programs.start(asterisk_in(installation, folder, files(port, carrier_port)))
        card = TrunkCard(stack=FOREIGN, server_name="trunk.example", host=TRUNK, port=port, transport="tcp")
        result = await drive(draw_plan(calling), card)
    finally:
        await programs.close()
        answerer.send_signal(signal.SIGINT)
        _, said = await asyncio.wait_for(answerer.communicate(), 30)
    assert answerer.returncode == 0, said.decode()
    return result, said.decode()


def test_calls_through_a_foreign_trunk_reach_our_answering_side_by_number(
    asterisk: Installation, tmp_path: Path
) -> None:
    calling = study([*DESTINATIONS, {"number": UNKNOWN, "far_end": "rejects", "status": 404}])
    result, said = asyncio.run(routed(asterisk, tmp_path, study(), calling))
    records = result.records
    # Numbers of the block play the plan of the study that answers: the same one but for the last destination.
    planned = records.filter(far_end="plan")
    assert set(planned["disposition"]) == {"completed"}, planned["reason"].to_list()
    assert (planned["rtp_received"] > 20).all()
    echo = records.filter(far_end="echo")
    assert set(echo["disposition"]) == {"completed"}, echo["reason"].to_list()
    assert (echo["round_trip_ms"] > 0).all()
    rejected = records.filter(far_end="rejects").select("destination", "status").unique()
    assert {status for _, status in rejected.iter_rows()} == {486, 404}
    # Both ends agree call by call. The PBX has made Call-IDs of its own, so rows join the plan's calls.
    far = read_records(tmp_path / "out" / "records.parquet")
    assert far.height == records.height
    both = join_far_end(records, far)
    joined = both.joined.filter(pl.col("joined_by") == "row")
    assert joined.height == planned.height
    assert (joined["far_disposition"] == joined["disposition"]).all()
    assert (joined["far_rtp_received"] - joined["rtp_sent"]).abs().max() <= 3
    kinds = dict(far["disposition"].cast(pl.String).value_counts().iter_rows())
    assert kinds["not_found"] == records.filter(status=404).height
    assert kinds["busy"] == records.filter(status=486).height
    assert set(far.filter(far_end="echo")["disposition"]) == {"completed"}
    lines = [line for line in said.splitlines() if line.startswith("call ")]
    assert len(lines) == far.height
    # Numbers are masked.
    assert ECHO not in said


@pytest.mark.parametrize("key", ["--key", "--certificate"])
def test_a_certificate_without_its_key_is_told(key: str, tmp_path: Path) -> None:
    async def run() -> tuple[int | None, str]:
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(study().model_dump(mode="json")), encoding="utf-8")
        words = ("answer", str(tmp_path / "study.yaml"), key, "x.pem", "--out", str(tmp_path / "out"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "trunkproof.experiments.cli", *words), stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
        return process.returncode, said.decode()

    code, said = asyncio.run(run())
    assert code == 2
    assert "a certificate and its key go together" in said
