"""`trunkproof serve`: what a telephone did is seen on the console, in the records and in the trace; no key is left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from trunkproof.loadgen.card import TrunkCard, read_card
from trunkproof.loadgen.run import RunResult, drive
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study

CUSTOMER, WITHIN_S = "127.0.94.2", 60.0


def study(instants_s: list[float], **trunk: Any) -> Study:
    traffic = {"arrivals": {"kind": "replay", "instants_s": instants_s}, "holding": 0.6, "ringing": 0.1}
    trunks = [{"customer_address": CUSTOMER, "traffic": traffic} | trunk]
    pop = {"carrier": {"setup": 0.03}}
    return Study.model_validate({"name": "served", "duration_s": 3, "pop": pop, "trunks": trunks})


@dataclass
class Served:
    """What was seen of a served trunk."""

    card: TrunkCard
    output: str
    said: str
    code: int
    driven: RunResult | None = None


def serve(question: Study, folder: Path, called: Study | None, *options: str) -> Served:
    """Serve a study as the command does, call it as another study says, and press Ctrl-C."""
    file, out = folder / "study.yaml", folder / "out"
    file.write_text(yaml.safe_dump(question.model_dump(mode="json")), encoding="utf-8")
    words = ("-m", "trunkproof.experiments.cli", "serve", str(file), "--port", "0", "--out", str(out), *options)

    async def run() -> Served:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=pipe, stderr=pipe)
        async with asyncio.timeout(WITHIN_S):
            while not (out / "trunk.json").exists():
                assert process.returncode is None
                await asyncio.sleep(0.05)
            card = read_card(out / "trunk.json")
            driven = None if called is None else await drive(draw_plan(called), card)
            process.send_signal(signal.SIGINT)
            output, said = await process.communicate()
        assert process.returncode is not None
        return Served(card, output.decode(), said.decode(), process.returncode, driven)

    return asyncio.run(run())


def test_calls_to_any_number_are_answered_heard_told_and_recorded(tmp_path: Path) -> None:
    planned, dialled = study([0.0]), study([0.0, 0.2, 0.4])
    served = serve(planned, tmp_path, dialled, "--answer-any", "--trace", str(tmp_path / "trace.txt"))
    assert served.code == 0, served.said
    assert served.driven is not None
    assert set(served.driven.records["disposition"]) == {"completed"}
    records = pl.read_parquet(tmp_path / "out" / "records.parquet").sort("call")
    # Only the first number is one of the served plan.
    assert records["row"].to_list() == [0, -1, -1]
    assert set(records["disposition"]) == {"completed"}
    assert records["rtp_received"].min() > 0
    lines = [line for line in served.said.splitlines() if line.startswith("call ")]
    assert len(lines) == 3
    assert all("completed, status 200" in line and line.endswith("ended by the caller") for line in lines)
    trace = (tmp_path / "trace.txt").read_text(encoding="utf-8")
    assert "INVITE sip:+91" in trace
    # Neither numbers nor keys of a peer are in clear anywhere.
    for text in (served.said, served.output, trace, *records["reason"]):
        assert "+910000000001" not in text
    # The secret of the control channel is in the card alone, and the card and all keys are gone.
    assert served.card.control_secret
    assert served.card.control_secret not in served.output + served.said
    assert not (tmp_path / "out" / "trunk.json").exists()
    assert list((tmp_path / "out").rglob("*-key.pem")) == []


def test_without_the_option_a_number_of_no_plan_is_refused_and_recorded(tmp_path: Path) -> None:
    served = serve(study([0.0]), tmp_path, study([0.0, 0.2]))
    records = pl.read_parquet(tmp_path / "out" / "records.parquet").sort("call")
    ends = [(0, 200, "completed"), (-1, 404, "not_found")]
    assert records.select("row", "status", "disposition").rows() == ends
    assert "ended by the trunk" in served.said


def test_a_stranger_is_seen_on_the_console_and_in_the_records(tmp_path: Path) -> None:
    elsewhere = study([0.0], whitelist=["10.0.0.0/8"])
    served = serve(elsewhere, tmp_path, elsewhere)
    assert "not_whitelisted, status 403" in served.said
    records = pl.read_parquet(tmp_path / "out" / "records.parquet")
    assert records.select("row", "status", "disposition").rows() == [(-1, 403, "not_whitelisted")]


def test_after_a_trunk_that_was_killed_no_key_is_left_either(tmp_path: Path) -> None:
    async def run() -> list[Path]:
        async with running_trunk(study([0.0]), tmp_path) as card:
            assert card.pid is not None
            keys = list(tmp_path.rglob("*-key.pem"))
            os.kill(card.pid, signal.SIGKILL)
        return keys

    assert asyncio.run(run())
    assert list(tmp_path.rglob("*-key.pem")) == []
