"""Every way in which a trunk can be wrong is caught on real calls, and named.

Each saboteur is the embedded trunk with one step replaced; TLS, SIP and SRTP around it are real.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from trunkproof.experiments.common.exit_codes import ExitCode, code_of_run
from trunkproof.loadgen.parties.agent import IncomingCall
from trunkproof.loadgen.parties.audio import Audio
from trunkproof.loadgen.parties.incoming import Answerer, _Conversation
from trunkproof.loadgen.parties.negotiation import AudioNegotiator
from trunkproof.loadgen.parties.refusal import CallRefused, Refusal
from trunkproof.loadgen.run import RunResult, drive
from trunkproof.loadgen.run_end import EndKind
from trunkproof.loadgen.schedule.pacer import Pacer
from trunkproof.loadgen.sip.agreement import MediaAgreement
from trunkproof.loadgen.sip.offer_answer import Negotiated
from trunkproof.loadgen.sip.sdes import AES_CM_128_HMAC_SHA1_32, Crypto
from trunkproof.loadgen.sip.sdp import SessionDescription, write_sdp
from trunkproof.loadgen.sip.sdp_reader import parse_sdp
from trunkproof.loadgen.stacks.embedded.trunk import EmbeddedTrunk, TrunkReservation
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.loadgen.stacks.server import serve
from trunkproof.loadgen.tls.certificates import CertificateFiles
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.plan import PlanRow, draw_plan
from trunkproof.models.records import Disposition
from trunkproof.models.study import Study


def study(*, calls: int = 2, hold_s: float = 1.0, pop: dict[str, object] | None = None, **trunk: object) -> Study:
    traffic = {
        "arrivals": {"kind": "replay", "instants_s": [0.05 * n for n in range(calls)]},
        "holding": hold_s,
        "ringing": 0.1,
    }
    trunks = [{"traffic": traffic} | trunk]
    setup = {"carrier": {"setup": 0.05}}
    return Study.model_validate({"name": "sabotage", "duration_s": 60, "pop": setup | (pop or {}), "trunks": trunks})


class OddAnswerer(Answerer):
    """Answers otherwise than it should; each subclass replaces one step."""

    def altered(self, answer: SessionDescription) -> SessionDescription:
        return answer

    def speak(self, audio: Audio, agreement: MediaAgreement) -> None:
        audio.follow(agreement)

    async def talk(self, talk: _Conversation, media: AudioNegotiator) -> None:
        negotiated = media.audio.answer(parse_sdp(talk.call.offer))
        assert isinstance(negotiated, Negotiated)
        body = write_sdp(self.altered(negotiated.answer))
        talk.agent.act(lambda now: talk.call.answer(now, body))
        self.speak(media.audio, negotiated.agreement)
        await talk.until_ended()


class WrongKey(OddAnswerer):
    def altered(self, answer: SessionDescription) -> SessionDescription:
        crypto = answer.crypto[0]
        return replace(answer, crypto=(Crypto(crypto.tag, crypto.suite, os.urandom(30)),))


class WrongSuite(OddAnswerer):
    def altered(self, answer: SessionDescription) -> SessionDescription:
        crypto = answer.crypto[0]
        return replace(answer, crypto=(Crypto(crypto.tag, AES_CM_128_HMAC_SHA1_32, crypto.key),))


class PlainOffered(OddAnswerer):
    def altered(self, answer: SessionDescription) -> SessionDescription:
        return replace(answer, profile="RTP/AVP", crypto=())


class PlainSent(OddAnswerer):
    def speak(self, audio: Audio, agreement: MediaAgreement) -> None:
        # The answer has gone out with a key already.
        audio.key = None
        audio.follow(agreement)


class Mute(OddAnswerer):
    def speak(self, audio: Audio, agreement: MediaAgreement) -> None:
        pass


class OtherVoice(OddAnswerer):
    def speak(self, audio: Audio, agreement: MediaAgreement) -> None:
        audio._row = audio._row._replace(row=audio._row.row + 7)
        audio.follow(agreement)


class NoSdp(OddAnswerer):
    async def talk(self, talk: _Conversation, media: AudioNegotiator) -> None:
        talk.agent.act(lambda now: talk.call.answer(now, b""))
        await talk.until_ended()


class LastPort(OddAnswerer):
    """Names a port that has no RTCP port after it (RFC 3550 section 11)."""

    def altered(self, answer: SessionDescription) -> SessionDescription:
        return replace(answer, port=65_535, rtcp_port=None)


class OtherFamily(OddAnswerer):
    """Names an IPv6 address to a caller who offered IPv4."""

    def altered(self, answer: SessionDescription) -> SessionDescription:
        return replace(answer, address="::1")


def trunk_with(kind: type[Answerer]) -> type[EmbeddedTrunk]:
    class Sabotaged(EmbeddedTrunk):
        def make_answerer(self) -> Answerer:
            return kind(self.plan.row_dialled, self._admit)

    return Sabotaged


def records_of(question: Study, kind: type[EmbeddedTrunk], folder: Path) -> pl.DataFrame:
    """RunResult a study against a trunk of that kind, served in the same event loop."""

    async def run() -> RunResult:
        plan = draw_plan(question)
        trunk = kind(plan, folder)
        card = await trunk.start()
        try:
            driven = await drive(plan, card)
        finally:
            await trunk.close()
        assert trunk.gate.limits.carrier.used == 0
        assert trunk.gate.limits.pool.in_use == 0
        return driven

    return asyncio.run(run()).records


def named(records: pl.DataFrame) -> set[tuple[str, str | None]]:
    return set(records.select("disposition", "reason").iter_rows())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (WrongKey, "were not authentic"),
        (WrongSuite, "crypto suite that was not offered"),
        (PlainOffered, "plain RTP where SRTP is to be used"),
        (PlainSent, "packets came as plain RTP where SRTP was agreed"),
        (Mute, "no audio came back (one-way audio)"),
        (OtherVoice, "another call's audio (cross-talk)"),
        (NoSdp, "no session description"),
    ],
)
def test_broken_audio_is_media_failed_with_its_reason(kind: type[Answerer], words: str, tmp_path: Path) -> None:
    found = named(records_of(study(), trunk_with(kind), tmp_path))
    assert found
    assert all(disposition == Disposition.MEDIA_FAILED and words in (reason or "") for disposition, reason in found)


@pytest.mark.parametrize("kind", [LastPort, OtherFamily])
def test_an_answer_that_no_audio_can_be_sent_to_ends_its_call_alone_and_no_record_is_lost(
    kind: type[Answerer], tmp_path: Path
) -> None:
    class Second(kind):  # type: ignore[misc, valid-type]
        """Answers the second call well."""

        def altered(self, answer: SessionDescription) -> SessionDescription:
            return answer if answer.session_id == 1 else super().altered(answer)

    records = records_of(study(), trunk_with(Second), tmp_path).sort("row")
    assert records["ended_s"].null_count() == 0
    odd, good = records["disposition"]
    assert good == Disposition.COMPLETED
    assert odd == Disposition.MEDIA_FAILED
    assert records["reason"][0]


def test_an_honest_trunk_is_not_accused(tmp_path: Path) -> None:
    assert named(records_of(study(), EmbeddedTrunk, tmp_path)) == {("completed", None)}


class NoRetryAfter(EmbeddedTrunk):
    async def _admit(self, incoming: IncomingCall, row: PlanRow) -> TrunkReservation:
        raise CallRefused(Refusal(503))


def test_a_503_without_retry_after_is_named(tmp_path: Path) -> None:
    assert named(records_of(study(), NoRetryAfter, tmp_path)) == {("throttled", "503 without Retry-After")}


class Silent(EmbeddedTrunk):
    def _invited(self, incoming: IncomingCall) -> None:
        pass


def test_rfc3261_17_1_1_2_a_trunk_that_never_answers_times_out_with_timer_b(tmp_path: Path) -> None:
    records = records_of(study(calls=1), Silent, tmp_path)
    assert named(records) == {("timed_out", "no response within 32 s (timer B)")}
    assert records["status"].to_list() == [408]
    waited = (records["ended_s"] - records["sent_s"]).item()
    assert waited >= 32


class OnlyTrying(EmbeddedTrunk):
    def _invited(self, incoming: IncomingCall) -> None:
        self.agent.act(incoming.call.trying)


def test_a_trunk_that_only_tries_is_given_up_with_cancel(tmp_path: Path) -> None:
    records = records_of(study(calls=1).but({"traffic.ring_patience_s": 0.5}), OnlyTrying, tmp_path)
    assert records["disposition"].to_list() == ["timed_out"]


class OtherName(EmbeddedTrunk):
    def edge_certificate(self, edge: int = 0) -> CertificateFiles:
        return self.authority.issue("somebody.else.example")


def test_a_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    records = records_of(study(), OtherName, tmp_path)
    assert set(records["disposition"]) == {"connection_failed"}
    assert all("certificate" in reason and "pstn.in2.exotel.com" in reason for reason in records["reason"])
    assert records["sent_s"].null_count() == records.height


def test_a_port_range_used_up_is_no_port(tmp_path: Path) -> None:
    two_pairs = {"ports": {"low": 10000, "high": 10003}}
    records = records_of(study(calls=4, pop=two_pairs), EmbeddedTrunk, tmp_path)
    assert records["disposition"].to_list() == ["completed", "completed", "no_port", "no_port"]
    assert records["cause"].to_list() == [None, None, 47, 47]


def test_a_source_off_the_whitelist_is_told_so(tmp_path: Path) -> None:
    records = records_of(study(whitelist=["10.0.0.0/8"]), EmbeddedTrunk, tmp_path)
    assert records["disposition"].to_list() == ["not_whitelisted"] * 2
    assert records["status"].to_list() == [403, 403]


def test_a_trunk_that_dies_ends_the_run_with_every_attempt_accounted_for(tmp_path: Path) -> None:
    async def run() -> RunResult:
        question = study(calls=20, hold_s=3.0)
        async with running_trunk(question, tmp_path) as card:
            assert card.pid is not None
            asyncio.get_running_loop().call_later(1.5, os.kill, card.pid, signal.SIGKILL)
            return await drive(draw_plan(question), card)

    driven = asyncio.run(run())
    assert driven.end.kind is EndKind.TRUNK_DIED
    assert driven.records.height
    assert driven.records["ended_s"].null_count() == 0
    assert "completed" not in set(driven.records["disposition"])


def test_a_bug_in_the_placing_of_calls_ends_the_run_in_order_with_every_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def planted(self: Pacer) -> None:
        if self.now_s() > 0.3:
            raise KeyError("planted")
        await wait(self)

    wait = Pacer._wait
    monkeypatch.setattr(Pacer, "_wait", planted)

    async def run() -> RunResult:
        question = study(calls=20, hold_s=1.0)
        async with running_trunk(question, tmp_path) as card:
            return await drive(draw_plan(question), card)

    driven = asyncio.run(run())
    assert driven.end.kind is EndKind.BUG
    # Nothing is wrong with the calls under way: they end as planned.
    assert 0 < driven.records.height < 20
    assert set(driven.records["disposition"]) == {"completed"}
    assert driven.generator.verdict is Verdict.VOID
    assert [bug.where for bug in driven.bugs] == ["the placing of the calls"]
    assert "KeyError: 'planted'" in driven.bugs[0].traceback
    assert code_of_run(driven.generator.verdict, driven.end, driven.bugs) is ExitCode.BUG


def test_stopping_a_run_ends_every_call_and_keeps_every_record(tmp_path: Path) -> None:
    async def run() -> tuple[RunResult, EmbeddedTrunk]:
        plan = draw_plan(study(calls=12, hold_s=30.0))
        trunk = EmbeddedTrunk(plan, tmp_path)
        card = await trunk.start()
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(1.0, stop.set)
        try:
            driven = await drive(plan, card, stop=stop)
        finally:
            await trunk.close()
        return driven, trunk

    driven, trunk = asyncio.run(run())
    assert driven.end.kind is EndKind.INTERRUPTED
    assert set(driven.records["disposition"]) == {"still_up"}
    assert driven.records["ended_s"].null_count() == 0
    # Ended with BYE or CANCEL, not by dropping the line: the trunk has nothing left.
    assert trunk.gate.limits.carrier.used == 0


def test_a_served_trunk_ends_on_its_stop_event_and_takes_its_card_away(tmp_path: Path) -> None:
    async def run() -> None:
        stop = asyncio.Event()
        cards = []

        def ready(card: object) -> None:
            cards.append(card)
            stop.set()

        await serve(study(), tmp_path, stop=stop, on_ready=ready)
        assert cards

    asyncio.run(run())
    assert not (tmp_path / "trunk.json").exists()
