"""The carrier alone: it answers whoever may call, over TLS and TCP, and tells of each call."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import Guard
from trunkproof.loadgen.media.pump import VARIABLE
from trunkproof.loadgen.parties.call_book import ServedCall
from trunkproof.loadgen.run import RunResult, drive
from trunkproof.loadgen.sip.invite import Place
from trunkproof.loadgen.stacks.answering import AnswerOptions, answer
from trunkproof.loadgen.stacks.registry import check_playable
from trunkproof.models.errors import InputError, StackError
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study

CARRIER, CALLER = "127.0.0.53", "127.0.0.54"
TONE = "+918040007701"


def study(transport: str, media: str) -> Study:
    traffic = {
        "arrivals": {"kind": "constant", "rate_per_minute": 600},
        "holding": 0.6,
        "ringing": 0.1,
        "callers": ["+918040001234"],
        "destinations": [{"number": TONE, "far_end": "plays", "share": 0.5}, {"far_end": "plan"}],
    }
    trunk = {
        "customer_address": CALLER,
        "customer_port": 5492,
        "transport": transport,
        "media": media,
        "throttle": {"policy": "none"},
        "traffic": traffic,
    }
    carrier = {"address": CARRIER, "transport": transport, "media": media, "channels": 3, "setup": 0.02}
    return Study.model_validate({"name": "t", "duration_s": 0.95, "pop": {"carrier": carrier}, "trunks": [trunk]})


def called(question: Study, folder: Path) -> tuple[RunResult, list[ServedCall]]:
    """Let the study's customer call the carrier itself, without a trunk between them."""
    calls: list[ServedCall] = []

    async def run() -> RunResult:
        stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()

        def listens(place: Place, ca_file: Path) -> None:
            ready.set_result((place, ca_file))

        options = AnswerOptions(on_call=calls.append)
        answering = asyncio.create_task(answer(question, folder, options, on_ready=listens, stop=stop))
        place, ca_file = await ready
        card = TrunkCard(
            stack="foreign",
            server_name=place.host,
            host=place.host,
            port=place.port,
            transport=question.transport,
            ca_file=str(ca_file),
        )
        driven = await drive(draw_plan(question), card)
        stop.set()
        assert (await answering).bugs == ()
        return driven

    return asyncio.run(run()), calls


@pytest.mark.parametrize(("transport", "media"), [("tls", "srtp"), ("tcp", "rtp")])
def test_it_answers_planned_and_listed_numbers_within_its_channels(
    transport: str, media: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "plain")
    driven, calls = called(study(transport, media), tmp_path)
    ended = sorted(driven.records.select("call_id", "disposition", "status").iter_rows())
    told = sorted((call.record.call_id, call.record.disposition, call.record.status) for call in calls)
    assert told == ended, driven.records["reason"].to_list()
    assert {"completed", "no_channel"} == {disposition for _, disposition, _ in ended}
    kinds = {(call.record.far_end, call.record.row >= 0) for call in calls}
    assert kinds == {("plays", False), (None, True)}
    up = [call for call in calls if call.record.disposition == "completed"]
    assert all(call.heard and "ended by the caller" in (call.record.reason or "") for call in up)
    assert list(tmp_path.rglob("*-key.pem")) == []


def test_calls_that_are_up_at_the_end_are_hung_up_and_told(tmp_path: Path) -> None:
    settings = study("tcp", "rtp").model_dump(mode="json")
    settings["trunks"][0]["traffic"]["holding"] = {"kind": "constant", "value_s": 60}
    question, calls = Study.model_validate(settings), list[ServedCall]()

    async def run() -> RunResult:
        stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        answering = asyncio.create_task(
            answer(
                question,
                tmp_path,
                AnswerOptions(on_call=calls.append),
                on_ready=lambda place, _: ready.set_result(place),
                stop=stop,
            )
        )
        place = await ready
        card = TrunkCard(stack="foreign", server_name="a", host=place.host, port=place.port, transport="tcp")
        driving = asyncio.create_task(drive(draw_plan(question), card))
        await asyncio.sleep(2.0)
        stop.set()
        await answering
        return await driving

    records = asyncio.run(run()).records
    assert {call.record.disposition for call in calls} == {"still_up", "no_channel"}
    assert set(records.drop_nulls("answered_s")["ended_by"]) == {"peer"}


@pytest.mark.parametrize(
    ("address", "known"), [("127.0.0.9", True), ("::1", True), ("192.0.2.7", True), ("192.0.2.8", False), ("x", False)]
)
def test_only_this_machine_and_allowed_hosts_may_call(address: str, known: bool) -> None:
    assert Guard(frozenset({"192.0.2.7"})).knows(address) is known


@pytest.mark.parametrize("stack", ["kamailio", "asterisk"])
def test_behind_our_own_stacks_it_speaks_tls(stack: str) -> None:
    settings: dict[str, Any] = study("tcp", "rtp").on(stack).model_dump(mode="json")
    with pytest.raises(InputError) as caught:
        check_playable(Study.model_validate(settings))
    assert "pop.carrier.transport" in [problem.where for problem in caught.value.problems]


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), CARRIER, 5493)
        async with server:
            await answer(study("tcp", "rtp"), tmp_path, AnswerOptions(port=5493), on_ready=lambda *_: None)

    with pytest.raises(StackError, match="5493"):
        asyncio.run(run())
