"""Calls that come to a customer from a trunk which others run: here a second load generator calls its Exophones."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.media.pump import VARIABLE
from trunkproof.loadgen.observer import Observer
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.run import Run, RunResult, drive
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.models.errors import InputError
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import Record
from trunkproof.models.study import Study

CUSTOMER, PORT, CALLER = "127.0.0.48", 5478, "127.0.0.49"
ECHO, PLAYS, ANSWERS, BUSY, RINGS, UNKNOWN, HANGS_UP = (f"+9180400066{last:02d}" for last in range(1, 8))
INBOUND: list[dict[str, Any]] = [
    {"number": ECHO, "far_end": "echo"},
    {"number": PLAYS, "far_end": "plays"},
    {"number": ANSWERS, "far_end": "answers"},
    {"number": BUSY, "far_end": "rejects"},
    {"number": RINGS, "far_end": "rings"},
    {"number": HANGS_UP, "far_end": "answers", "holding": 0.4},
]
QUIET = {"arrivals": {"kind": "constant", "rate_per_minute": 0}, "holding": 1, "ringing": 0.1}


def called(duration_s: float = 3.0, *, media: str = "srtp", inbound: Any = INBOUND, **traffic: Any) -> Study:
    """The customer that is called. It calls nobody."""
    trunk = {
        "customer_address": CUSTOMER,
        "customer_port": PORT,
        "trusted": [CALLER],
        "transport": "tcp",
        "media": media,
        "traffic": QUIET | {"inbound": inbound} | traffic,
    }
    return Study.model_validate({"name": "called", "duration_s": duration_s, "trunks": [trunk]})


def calling(*numbers: tuple[str, str], media: str = "srtp", hold_s: float = 1.2) -> Study:
    """Who calls: three calls for each of these numbers, to the customer's listener."""
    listed = [{"number": number, "far_end": far_end} for number, far_end in numbers]
    traffic = {
        "arrivals": {"kind": "constant", "rate_per_minute": 600},
        "holding": hold_s,
        "patience": {"kind": "constant", "value_s": 0.3},
        "callers": ["+919000000001"],
        "destinations": listed,
    }
    trunk = {
        "customer_address": CALLER,
        "customer_port": 5479,
        "transport": "tcp",
        "media": media,
        "throttle": {"policy": "none"},
        "traffic": traffic,
    }
    study = {"name": "calling", "duration_s": 3 * len(numbers) / 10 - 0.05, "trunks": [trunk]}
    return Study.model_validate(study)


class Told(Observer):
    def __init__(self) -> None:
        self.ended: list[Record] = []

    def attempt_ended(self, record: Record) -> None:
        self.ended.append(record)


NOWHERE = TrunkCard(stack="foreign", server_name="a.example", host="127.0.0.1", port=5477, transport="tcp")
LISTENER = TrunkCard(stack="foreign", server_name="a.example", host=CUSTOMER, port=PORT, transport="tcp")


def both(question: Study, callers: Study, observer: Observer | None = None) -> tuple[RunResult, RunResult]:
    """Have one study's customer called by another's."""

    async def run() -> tuple[RunResult, RunResult]:
        observers = () if observer is None else (observer,)
        async with Run(draw_plan(question), NOWHERE, RunOptions(observers=observers)) as waiting:
            await waiting.begin()
            await asyncio.sleep(0.6)
            finishing = asyncio.create_task(waiting.finish())
            caller = await drive(draw_plan(callers), LISTENER)
            return await finishing, caller

    return asyncio.run(run())


@pytest.mark.parametrize("pump", ["plain", "compiled"])
@pytest.mark.parametrize("media", ["srtp", "rtp"])
def test_each_kind_of_number_answers_whoever_calls(media: str, pump: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, pump)
    told = Told()
    numbers = [(ECHO, "echo"), (PLAYS, "plays"), (ANSWERS, "answers"), (BUSY, "rejects"), (RINGS, "rings")]
    numbers += [(HANGS_UP, "plays"), (UNKNOWN, "answers")]
    waited, caller = both(called(media=media), calling(*numbers, media=media), told)
    # What the caller saw: every far end did what it is listed for.
    seen = caller.records.with_columns(
        number=pl.col("destination").replace_strict(dict(enumerate(n for n, _ in numbers)))
    )
    assert set(seen.select("number", "disposition", "status").iter_rows()) == {
        (ECHO, "completed", 200),
        (PLAYS, "completed", 200),
        (ANSWERS, "completed", 200),
        (BUSY, "busy", 486),
        (RINGS, "abandoned", 487),
        (HANGS_UP, "completed", 200),
        (UNKNOWN, "not_found", 404),
    }, seen["reason"].to_list()
    # Our own audio came back: two ways, and within the time of a few frames.
    assert seen.filter(number=ECHO)["round_trip_ms"].is_between(0, 120, closed="none").all()
    assert (seen.filter(pl.col("number").is_in([ECHO, PLAYS, ANSWERS]))["rtp_received"] > 40).all()
    assert set(seen.filter(number=HANGS_UP)["ended_by"]) == {"peer"}
    # What the called side kept: one row for each call, joined by its Call-ID.
    records = waited.records
    assert set(records["direction"]) == {"inbound"}
    kept = {row["call_id"]: row for row in records.to_dicts()}
    assert len(kept) == seen.height
    for theirs in seen.to_dicts():
        mine = kept[theirs["call_id"]]
        assert mine["status"] == theirs["status"]
        assert (mine["rtp_received"] > 0) == (theirs["rtp_sent"] > 0)
    assert set(records.filter(far_end="echo")["destination"]) == {0}
    assert set(records.filter(pl.col("far_end").is_null())["disposition"]) == {"not_found"}
    assert set(records["row"]) == {-1}
    assert sorted(record.call_id or "" for record in told.ended) == sorted(kept)
    assert (records["rtp_authenticated"].sum() == 0) == (media == "rtp")
    assert not waited.end.cut_short


def test_a_run_without_calls_of_its_own_waits_as_long_as_the_study_says_and_can_be_stopped() -> None:
    question = called(duration_s=30, inbound=INBOUND[0])

    async def run() -> RunResult:
        stop = asyncio.Event()
        async with Run(draw_plan(question), NOWHERE) as waiting:
            await waiting.begin()
            await asyncio.sleep(0.6)
            finishing = asyncio.create_task(waiting.finish(stop))
            calls = asyncio.create_task(drive(draw_plan(calling((ECHO, "echo"), hold_s=60)), LISTENER))
            await asyncio.sleep(1.5)
            assert not finishing.done()
            stop.set()
            result = await finishing
            assert set((await calls).records["disposition"]) == {"dropped"}
            return result

    result = asyncio.run(run())
    # It was up when the run was stopped, and its caller was told by a BYE.
    assert set(result.records["disposition"]) == {"still_up"}
    assert result.end.cut_short


def test_planned_inbound_calls_need_a_trunk_that_places_them() -> None:
    question = called(inbound_share=0.5)

    async def run() -> None:
        await drive(draw_plan(question), NOWHERE)

    with pytest.raises(InputError, match=r"traffic\.inbound_share"):
        asyncio.run(run())


def test_our_own_trunk_plays_its_plan_beside_listed_numbers(tmp_path: Path) -> None:
    arrivals = {"kind": "constant", "rate_per_minute": 300}
    question = called(duration_s=1.0, arrivals=arrivals, inbound_share=1.0, holding=0.3)

    async def run() -> RunResult:
        async with running_trunk(question, tmp_path) as card:
            return await drive(draw_plan(question), card)

    records = asyncio.run(run()).records
    # One record for each, that of the trunk's side.
    assert sorted(records["row"]) == sorted(draw_plan(question).rows)
    assert set(records["disposition"]) == {"completed"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"far_end": "plan"}, "far_end: plan"),
        ({"number": ECHO, "far_end": "echo", "share": 0.5}, "share"),
        ({"far_end": "echo"}, "exactly one"),
    ],
)
def test_an_inbound_entry_says_only_what_its_numbers_do(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        called(inbound=entry)
