"""Dialogs that a foreign telephone leads otherwise than we do, on real calls over TLS with real audio.

One run has one call for each scenario. The called side is the embedded trunk's answerer with one step replaced.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from tests.loadgen.test_sabotage import study, trunk_with

from trunkproof.loadgen.parties.incoming import Answerer, _Conversation
from trunkproof.loadgen.parties.negotiation import AudioNegotiator
from trunkproof.loadgen.parties.numbers import exophone
from trunkproof.loadgen.run import drive
from trunkproof.loadgen.sip.dialog import Dialog
from trunkproof.loadgen.sip.identifiers import Identifiers
from trunkproof.loadgen.sip.invite import Place, outbound_invite
from trunkproof.loadgen.sip.message import Request, Response, response_to, serialize
from trunkproof.loadgen.sip.offer_answer import Capability, Negotiated, negotiate
from trunkproof.loadgen.sip.parser import StreamParser
from trunkproof.loadgen.sip.reason import sip_reason
from trunkproof.loadgen.sip.sdes import KEY_BYTES
from trunkproof.loadgen.sip.sdp import MediaDirection, write_sdp
from trunkproof.loadgen.sip.sdp_reader import parse_sdp
from trunkproof.loadgen.stacks.embedded.trunk import EmbeddedTrunk
from trunkproof.loadgen.tls.certificates import client_context
from trunkproof.loadgen.tls.connection import Connection
from trunkproof.loadgen.tls.endpoints import Connector
from trunkproof.models.plan import dialled_number, draw_plan, row_of

HOLD_S = 2.5
SCENARIOS = ("early answer", "hold and resume", "moved media and new keys", "refused offer", "hangs up early")


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
        elif scenario == "moved media and new keys":
            row = row_of(talk.call.dialled)
            assert row is not None
            elsewhere = media.audio._factory.open(self._planned(talk.call.dialled))
            offered = parse_sdp(body)
            crypto = tuple(replace(one, key=elsewhere.key) for one in offered.crypto)
            version = offered.session_version + 1
            ports = {"port": elsewhere.port, "rtcp_port": elsewhere.port + 1}
            moved = AudioNegotiator(elsewhere, replace(offered, crypto=crypto, session_version=version, **ports))
            moved.confirm(talk.dialog)
            elsewhere.listen()
            talk.call.negotiator = moved
            talk.agent.act(lambda now: talk.call.reoffer(moved.offered, now))
            try:
                await asyncio.sleep(60)
            finally:
                moved.close()
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


@pytest.mark.parametrize("scenario", SCENARIOS[:4])
def test_rfc3264_8_a_healthy_call_is_judged_healthy(told: pl.DataFrame, scenario: str) -> None:
    record = of(told, scenario)
    assert (record["disposition"], record["reason"]) == ("completed", None)
    assert record["ended_by"] == "us"
    assert record["rtp_received"] == record["rtp_authenticated"] != 0


def test_rfc3264_8_3_the_audio_goes_on_from_where_it_moved_to(told: pl.DataFrame) -> None:
    record = of(told, "moved media and new keys")
    # A second source, with its own key; and no silence since then.
    assert record["rtp_sources"] == 2
    assert isinstance(record["silence_s"], float)
    assert record["silence_s"] < 1.0


def test_rfc3326_2_a_call_that_is_hung_up_early_is_dropped_and_says_why(told: pl.DataFrame) -> None:
    record = of(told, "hangs up early")
    assert (record["disposition"], record["ended_by"]) == ("dropped", "peer")
    assert record["bye_reason"] == 'SIP;cause=503;text="gateway restarts"'
    assert str(record["reason"]).startswith("the far end hung up after 0.")


class RawTelephone:
    """A telephone that writes its own messages, over a real TLS connection to the embedded trunk."""

    def __init__(self, trunk: EmbeddedTrunk, connection: Connection) -> None:
        self._trunk, self._connection = trunk, connection
        self._ids = Identifiers(random.Random(1))
        self._parser = StreamParser()
        self._received: asyncio.Queue[Request | Response] = asyncio.Queue()
        connection.deliver_to(self._receive)

    def _receive(self, data: bytes) -> None:
        self._parser.receive_data(data)
        while (message := self._parser.next_message()) is not None:
            self._received.put_nowait(message)

    def send(self, message: Request | Response) -> None:
        self._connection.write(serialize(message))

    async def next(self, within_s: float = 5.0) -> Request | Response | None:
        try:
            return await asyncio.wait_for(self._received.get(), within_s)
        except TimeoutError:
            return None

    async def call_without_offer(self) -> tuple[Dialog, Response]:
        """Place a call that asks for the trunk's offer: its dialog, and the 200."""
        settings = self._trunk.study.trunks[0]
        invite = outbound_invite(
            self._ids,
            dialled=dialled_number(0),
            exophone=exophone(0),
            domain=settings.domain,
            trunk=Place(*self._trunk.edge.address),
            customer=Place(str(settings.customer_address), settings.customer_port),
            sdp=b"",
        )
        self.send(invite)
        while True:
            response = await self.next()
            assert isinstance(response, Response)
            if response.status >= 200:
                assert response.status == 200
                return Dialog.as_caller(invite, response, "127.0.0.2", 1), response


def with_telephone(folder: Path, scenario: Callable[[RawTelephone, EmbeddedTrunk], Awaitable[None]]) -> None:
    async def run() -> None:
        trunk = EmbeddedTrunk(draw_plan(study(calls=1)), folder)
        card = await trunk.start()
        try:
            context = client_context(Path(card.ca_file))
            source = str(trunk.study.trunks[0].customer_address)
            connection = await Connector(context, card.server_name, source).connect(card.host, card.port)
            await scenario(RawTelephone(trunk, connection), trunk)
            connection.close()
        finally:
            await trunk.close()
        assert trunk.gate.limits.pool.in_use == 0

    asyncio.run(run())


VIA = "SIP/2.0/TLS 127.0.0.2:5061;branch=z9hG4bK"


def test_rfc3261_13_2_1_a_late_offer_is_answered_in_the_ack(tmp_path: Path) -> None:
    async def scenario(telephone: RawTelephone, trunk: EmbeddedTrunk) -> None:
        dialog, response = await telephone.call_without_offer()
        capability = Capability(address=trunk.host, port=40_000, key=os.urandom(KEY_BYTES))
        negotiated = negotiate(parse_sdp(response.body), capability)
        assert isinstance(negotiated, Negotiated)
        typed = (("Content-Type", "application/sdp"),)
        body = write_sdp(negotiated.answer)
        telephone.send(dialog._request("ACK", dialog.invite_cseq, f"{VIA}ack", typed, body))
        assert await telephone.next(within_s=0.7) is None  # neither a repeated 200 nor a BYE
        assert trunk.gate.limits.pool.in_use
        telephone.send(dialog.request("BYE", f"{VIA}bye"))
        answer = await telephone.next()
        assert isinstance(answer, Response)
        assert answer.status == 200

    with_telephone(tmp_path, scenario)


def test_rfc3261_13_2_1_an_ack_without_the_answer_is_hung_up_on_and_told_why(tmp_path: Path) -> None:
    async def scenario(telephone: RawTelephone, trunk: EmbeddedTrunk) -> None:
        dialog, _ = await telephone.call_without_offer()
        telephone.send(dialog.ack(f"{VIA}ack"))
        bye = await telephone.next()
        assert isinstance(bye, Request)
        assert (bye.method, bye.headers.get("Reason")) == ("BYE", 'SIP;cause=488;text="no session description"')
        # The ports belong to the call until its BYE is answered.
        assert trunk.gate.limits.pool.in_use
        telephone.send(response_to(bye, 200))
        await asyncio.sleep(0.1)
        assert not trunk.gate.limits.pool.in_use

    with_telephone(tmp_path, scenario)
