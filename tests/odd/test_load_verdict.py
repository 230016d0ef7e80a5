"""Load tests that fail are told to fail: real calls to odd trunks, the exit code, the first reason, and a red CI."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.odd.peer import Call, Message, OddPeer, Wire, at
from tests.odd.play import NAME, certificates, server, settle

from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.common.result_folder import ResultFolder
from trunkproof.experiments.load.exports import junit, threshold_csv
from trunkproof.experiments.load.result import LoadResult, read_load, write_load
from trunkproof.experiments.load.run import load_async
from trunkproof.experiments.report.load_page import render
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.run_end import EndKind
from trunkproof.loadgen.tls.endpoints import serve_tls
from trunkproof.loadgen.verdict import Measurements, judge
from trunkproof.models.faults import TlsAlert
from trunkproof.models.study_file import parse_study

Script = Callable[[Call], Awaitable[None]]
STUDY = """\
name: told to fail
duration_s: {seconds}
pop: {{address: 127.0.68.1, host: pstn.odd.test}}
trunk: {{customer_address: 127.0.68.10, throttle: {{policy: none, refusal_status: 503}}}}
traffic:
  arrivals: {{kind: constant, rate_per_minute: {rate}}}
  holding: 0.6
  tls: {{policy: {policy}, versions: [1.3]}}
{more}
"""


def refusing(status: int, *headers: tuple[str, str]) -> Script:
    async def refuse(call: Call) -> None:
        call.respond(status, headers=headers)

    return refuse


async def talk(call: Call, *, speaks: bool = True) -> None:
    call.answer(call.sdp(), headers=[("X-Exotel-CallSid", "a1b2c3d4e5f6a7b8")])
    if speaks:
        call.audio.start()
    await call.until_bye()
    call.audio.stop()


async def stay_silent(call: Call) -> None:
    await talk(call, speaks=False)


async def run(
    folder: Path, script: Callable[[int], Script], *, forgets_tls_13: bool = False, **study: object
) -> LoadResult:
    """Load an odd trunk, which plays the script of each call's number."""
    certificate, key, ca_file = certificates(folder, "127.0.68.1")
    context, count, tasks = server(certificate, key), itertools.count(), list[asyncio.Task[None]]()

    def invited(peer: OddPeer, wire: Wire, invite: Message) -> Call:
        if invite["Call-ID"] in peer.calls:
            return peer.calls[invite["Call-ID"]]
        host, port = wire.local
        number = next(count)
        call = Call(wire, number, host, at(host, port), invite["Call-ID"], peer)
        peer.calls[call.call_id] = call
        tasks.append(asyncio.create_task(script(number)(call)))
        return call

    peer = OddPeer(invited)
    # Python's own server sends no alert where the versions do not meet, so this one is ours.
    ours = await serve_tls("127.0.68.1", 0, context, lambda _: None) if forgets_tls_13 else None
    port = ours.address[1] if ours else await peer.listen("127.0.68.1", 0, context)
    text = {"seconds": 2, "rate": 300, "policy": "persistent", "more": ""} | study
    card = TrunkCard(stack="foreign", server_name=NAME, host="127.0.68.1", port=port, ca_file=str(ca_file))

    def forget(progress: float, words: str) -> None:
        # After the check before the run, which would have told of it.
        if forgets_tls_13:
            context.maximum_version = ssl.TLSVersion.TLSv1_2

    try:
        result = await load_async(parse_study(STUDY.format(**text)), card, advance=forget)
        # The odd trunk shares this process, so whether the generator kept up says nothing here.
        return replace(result, generator=judge(Measurements()))
    finally:
        await peer.close()
        if ours is not None:
            await ours.close()
        await settle(tasks)


@dataclass(frozen=True)
class Failing:
    script: Callable[[int], Script]
    kpi: str
    """A target that is missed."""
    first: str
    """The kind of the most frequent reason."""
    to_do: str
    more: tuple[tuple[str, object], ...] = ()


CASES = {
    "tls version": Failing(
        lambda _: talk, "customers_lost_share", "TLS alert protocol version", "tls.versions",
        (("policy", "per_call"), ("forgets_tls_13", True)),
    ),
    "401": Failing(lambda _: refusing(401), "refused_share", "unauthorised, status 401", "credentials"),
    "404": Failing(lambda _: refusing(404), "customers_lost_share", "not found, status 404", "country code"),
    "one of twenty gets 503": Failing(
        lambda number: refusing(503, ("Reason", "Q.850;cause=42")) if number % 20 == 7 else talk,
        "refused_share", "throttled, status 503, cause 42", "identify", (("rate", 600),),
    ),
    "no audio": Failing(lambda _: stay_silent, "failed_calls_share", "no audio came back", "Open UDP"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_trunk_that_fails_makes_a_load_test_fail(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    result = asyncio.run(run(tmp_path, case.script, **dict(case.more)))  # type: ignore[arg-type]
    assert result.exit_code is ExitCode.MISSED
    assert case.kpi in [row.target.kpi for row in result.rows if row.holds is False]
    first = result.reasons[0]
    assert case.first in first.what
    assert first.remedy is not None
    assert case.to_do in first.remedy.action
    if name == "tls version":
        assert first.tls_alert is TlsAlert.PROTOCOL_VERSION
    if name == "no audio":
        assert first.call_sid == "a1b2c3d4e5f6a7b8"
    # A CI shows it red, with the reason.
    suites = ET.fromstring(junit(result))
    failures = suites.findall(".//failure")
    assert int(suites.get("failures") or 0) == len(failures) > 0
    assert case.first in (failures[0].text or "")
    assert ",missed" in threshold_csv(result)
    # The folder says the same again, and so does its page.
    write_load(result, ResultFolder(tmp_path))
    again = read_load(tmp_path)
    assert again.to_json() == result.to_json()
    page = render(again)
    assert case.first in page
    assert "What was not measured" in page


def test_a_healthy_trunk_is_kept(tmp_path: Path) -> None:
    result = asyncio.run(run(tmp_path, lambda _: talk))
    assert (result.exit_code, result.reasons, junit(result).count("<failure")) == (ExitCode.OK, (), 0)
    assert {one.what for one in result.observations} >= {"answered calls ended by us, by the far end"}


def test_a_threshold_ends_the_run_while_it_lasts(tmp_path: Path) -> None:
    more = "thresholds:\n  - {kpi: refused_share, at_most: 0.3, abort_after_s: 2}\n"
    begun = asyncio.run(
        run(
            tmp_path,
            lambda number: refusing(503, ("Reason", "Q.850;cause=42")) if number % 2 else talk,
            more=more, seconds=40, rate=600,
        )
    )  # fmt: skip
    assert (begun.exit_code, begun.end.kind) == (ExitCode.ABORTED, EndKind.THRESHOLD)
    assert begun.end.at_s is not None
    assert 2.0 <= begun.end.at_s < 10.0
    assert begun.sentence.startswith("ABORTED: ended by a threshold")
    assert [row.holds for row in begun.rows if row.is_threshold] == [False]
