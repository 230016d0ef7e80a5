"""Offer and answer of one call's audio, with scripted audio: what is answered, what is refused, what is followed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from tests.loadgen.scripted import HOST, STRANGER, ScriptedAudio

from trunkproof.loadgen.parties.negotiation import AudioNegotiator
from trunkproof.loadgen.sip.agreement import MediaAgreement
from trunkproof.loadgen.sip.invite import customer_offer
from trunkproof.loadgen.sip.sdp import Codec, MediaDirection, SessionDescription, write_sdp
from trunkproof.loadgen.sip.sdp_reader import parse_sdp

KEY = b"\3" * 30
OFFER = customer_offer(HOST, 40_000, KEY, session_id=1)


def offered(**changes: object) -> bytes:
    return write_sdp(replace(OFFER, **changes))  # type: ignore[arg-type]


def asked(*offers: bytes) -> tuple[list[SessionDescription | None], list[MediaAgreement], str]:
    """Let the peer offer these, one after the other: our answers, what the audio followed, and why we refused last."""
    audio = ScriptedAudio()
    negotiator = AudioNegotiator(audio)  # type: ignore[arg-type]

    async def run() -> list[SessionDescription | None]:
        answers: list[SessionDescription | None] = []
        for offer in offers:
            body = negotiator.answer(offer, "far")
            answers.append(None if body is None else parse_sdp(body))
            await asyncio.sleep(0)
        return answers

    return asyncio.run(run()), audio.followed, negotiator.refusal


def test_rfc3264_8_4_hold_and_resume_are_followed_and_raise_our_version() -> None:
    hold = offered(direction=MediaDirection.SENDONLY, session_version=2)
    answers, followed, _ = asked(offered(), hold, offered(session_version=3))
    assert [answer.direction.value for answer in answers if answer] == ["sendrecv", "recvonly", "sendrecv"]
    versions = [answer.session_version for answer in answers if answer]
    assert versions == [versions[0], versions[0] + 1, versions[0] + 2]
    assert len({answer.session_id for answer in answers if answer}) == 1
    assert [(one.sends, one.hears) for one in followed] == [(True, True), (False, True), (True, True)]


def test_rfc3264_8_4_the_old_hold_sends_nothing_to_nowhere() -> None:
    _, followed, _ = asked(offered(), offered(address="0.0.0.0"))
    assert (followed[-1].remote_address, followed[-1].sends, followed[-1].hears) == ("0.0.0.0", False, False)


def test_rfc3264_8_the_same_offer_again_changes_nothing() -> None:
    (first, second), followed, _ = asked(offered(), offered())
    assert first == second
    assert len(followed) == 1


def test_rfc3264_8_3_moved_media_and_new_keys_are_followed() -> None:
    moved = offered(port=41_000, session_version=2)
    rekeyed = write_sdp(customer_offer(HOST, 41_000, b"\4" * 30, session_id=1))
    _, followed, _ = asked(offered(), moved, rekeyed)
    assert [one.remote_port for one in followed] == [40_000, 41_000, 41_000]
    assert [one.remote_crypto.key[0] for one in followed if one.remote_crypto] == [3, 3, 4]


def test_rfc3264_8_3_2_another_codec_and_less_of_them_are_followed() -> None:
    answers, followed, _ = asked(offered(), offered(codecs=(Codec.PCMU,), session_version=2))
    assert [answer.codecs[0].name for answer in answers if answer] == ["PCMA", "PCMU"]
    assert [one.codec.name for one in followed] == ["PCMA", "PCMU"]


@pytest.mark.parametrize(
    ("offer", "why"),
    [
        (b"no SDP", "no audio stream"),
        (offered(profile="RTP/AVP", crypto=()), "plain RTP"),
        (offered(address=STRANGER), STRANGER),
    ],
)
def test_rfc3261_14_2_what_cannot_be_done_is_refused_and_nothing_changes(offer: bytes, why: str) -> None:
    (_, refused, again), followed, refusal = asked(offered(), offer, offered())
    assert refused is None
    assert why in refusal
    assert again is not None
    assert len(followed) == 1


def in_loop(run: Callable[[AudioNegotiator, ScriptedAudio], Awaitable[None]]) -> None:
    async def main() -> None:
        audio = ScriptedAudio()
        await run(AudioNegotiator(audio, audio.offer()), audio)  # type: ignore[arg-type]

    asyncio.run(main())


def answer_to(offer: bytes, key: bytes, port: int) -> bytes:
    audio = ScriptedAudio()
    negotiated = audio.answer(parse_sdp(offer))
    assert not isinstance(negotiated, str)
    crypto = tuple(replace(one, key=key) for one in negotiated.answer.crypto)
    return write_sdp(replace(negotiated.answer, port=port, crypto=crypto))


def test_rfc3261_13_2_2_4_the_audio_follows_the_fork_that_is_confirmed() -> None:
    async def run(negotiator: AudioNegotiator, audio: ScriptedAudio) -> None:
        for fork, port in (("a", 30_000), ("b", 31_000)):
            answer = answer_to(negotiator.offered, port.to_bytes(30, "big"), port)
            assert negotiator.accept(negotiator.offered, answer, fork) is None
        negotiator.confirm("a")
        assert audio.notes == ["early", "early", "follow"]
        assert [one.remote_port for one in audio.followed] == [30_000, 31_000, 30_000]
        keys = [one.remote_crypto.key for one in audio.followed if one.remote_crypto]
        assert keys[0] == keys[2] != keys[1]

    in_loop(run)


def test_rfc3264_8_4_our_own_hold_and_its_answer() -> None:
    async def run(negotiator: AudioNegotiator, audio: ScriptedAudio) -> None:
        negotiator.accept(negotiator.offered, answer_to(negotiator.offered, KEY, 30_000), "far")
        hold = negotiator.reoffer("far", MediaDirection.SENDONLY)
        assert parse_sdp(hold).direction is MediaDirection.SENDONLY
        assert negotiator.accept(hold, answer_to(hold, KEY, 30_000), "far") is None
        assert (audio.followed[-1].sends, audio.followed[-1].hears) == (True, False)
        # A late offer resumes: it offers both directions again (RFC 3261 section 14.2).
        assert parse_sdp(negotiator.offer("far")).direction is MediaDirection.SENDRECV

    in_loop(run)


def test_once_stopped_the_audio_is_not_started_again() -> None:
    async def run(negotiator: AudioNegotiator, audio: ScriptedAudio) -> None:
        negotiator.confirm("far")
        audio.notes.clear()
        assert negotiator.answer(offered(), "far") is not None
        negotiator.stop()
        await asyncio.sleep(0)
        assert audio.notes == ["stop"]

    in_loop(run)


def test_rfc3264_5_1_what_comes_before_the_answer_is_early_and_the_answer_needs_no_change() -> None:
    async def run(negotiator: AudioNegotiator, audio: ScriptedAudio) -> None:
        answer = answer_to(negotiator.offered, KEY, 30_000)
        for _ in range(2):  # a 183, and the 200 that repeats it
            assert negotiator.accept(negotiator.offered, answer, "far") is None
        negotiator.confirm("far")
        assert audio.notes == ["early", "answered"]

    in_loop(run)
