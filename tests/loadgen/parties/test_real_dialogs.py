"""Dialogs that a foreign telephone leads otherwise than we do, on real calls over TLS with real audio.

One run has one call for each scenario. The called side is the embedded trunk's answerer with one step replaced.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from tests.loadgen.test_sabotage import study, trunk_with

from trunkproof.loadgen.parties.incoming import Answerer, _Conversation
from trunkproof.loadgen.parties.negotiation import AudioNegotiator
from trunkproof.loadgen.run import drive
from trunkproof.loadgen.sip.reason import sip_reason
from trunkproof.loadgen.sip.sdp import MediaDirection, write_sdp
from trunkproof.loadgen.sip.sdp_reader import parse_sdp
from trunkproof.models.plan import draw_plan, row_of

HOLD_S = 2.5
SCENARIOS = ("early answer", "hold and resume", "refused offer", "hangs up early")


class Telephone(Answerer):
    """Plays the scenario whose number is the plan row's."""

    async def talk(self, talk: _Conversation, media: AudioNegotiator) -> None:
        row = row_of(talk.call.dialled)
        assert row is not None
        body = media.answer(talk.call.offer, talk.dialog)
        assert body is not None
        scenario = SCENARIOS[row % len(SCENARIOS)]
        if scenario == "early answer":
            # The caller says that it can: so this is reliable, and the 200 has no body (RFC 3262).
            talk.agent.act(lambda now: talk.call.ring(now, 183, body))
            await asyncio.sleep(0.2)
        talk.agent.act(lambda now: talk.call.answer(now, body))
        media.confirm(talk.dialog)
        later = asyncio.create_task(self._later(scenario, talk, media, body))
        await talk.until_ended()
        later.cancel()

    async def _later(self, scenario: str, talk: _Conversation, media: AudioNegotiator, body: bytes) -> None:
        await asyncio.sleep(0.6)
        if scenario == "hold and resume":
            for direction in (MediaDirection.SENDONLY, MediaDirection.SENDRECV):
                offer = media.reoffer(talk.dialog, direction)
                talk.agent.act(lambda now, offer=offer: talk.call.reoffer(offer, now))
                await asyncio.sleep(0.4)
        elif scenario == "refused offer":
            plain = write_sdp(replace(parse_sdp(body), profile="RTP/AVP", crypto=()))
            talk.agent.act(lambda now: talk.call.reoffer(plain, now))
        elif scenario == "hangs up early":
            talk.agent.act(lambda now: talk.call.bye(now, sip_reason(503, "gateway restarts")))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The records of one call for each scenario, in order."""

    async def run() -> pl.DataFrame:
        plan = draw_plan(study(calls=len(SCENARIOS), hold_s=HOLD_S))
        folder: Path = tmp_path_factory.mktemp("dialogs")
        trunk = trunk_with(Telephone)(plan, folder)
        card = await trunk.start()
        try:
            driven = await drive(plan, card)
        finally:
            await trunk.close()
        assert trunk.gate.limits.pool.in_use == 0
        assert trunk.agent.idle
        return driven.records.sort("row")

    return asyncio.run(run())


def of(told: pl.DataFrame, scenario: str) -> dict[str, object]:
    return told.row(SCENARIOS.index(scenario), named=True)


@pytest.mark.parametrize("scenario", SCENARIOS[:3])
def test_rfc3264_8_a_healthy_call_is_judged_healthy(told: pl.DataFrame, scenario: str) -> None:
    record = of(told, scenario)
    assert (record["disposition"], record["reason"]) == ("completed", None)
    assert record["ended_by"] == "us"
    assert record["rtp_received"] == record["rtp_authenticated"] != 0


def test_rfc3326_2_a_call_that_is_hung_up_early_is_dropped_and_says_why(told: pl.DataFrame) -> None:
    record = of(told, "hangs up early")
    assert (record["disposition"], record["ended_by"]) == ("dropped", "peer")
    assert record["bye_reason"] == 'SIP;cause=503;text="gateway restarts"'
    assert str(record["reason"]).startswith("the far end hung up after 0.")
