"""RFC 3264 and RFC 4568 section 7: the answer made, and every sabotaged answer named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trunkproof.loadgen.sip.invite import customer_offer
from trunkproof.loadgen.sip.offer_answer import Capability, Negotiated, SdpFault, judge_answer, negotiate
from trunkproof.loadgen.sip.sdes import AES_CM_128_HMAC_SHA1_32, AES_CM_128_HMAC_SHA1_80, Crypto
from trunkproof.loadgen.sip.sdp import Codec, MediaDirection, SessionDescription, write_sdp

OWN, THEIRS = bytes(30), bytes(range(30))
OFFER = customer_offer("127.0.0.2", 20_000, OWN, session_id=7)
CAPABILITY = Capability("127.0.0.1", 10_000, THEIRS, rtcp_port=10_001)


def answer_to(offer: SessionDescription, capability: Capability = CAPABILITY) -> Negotiated:
    negotiated = negotiate(offer, capability)
    assert isinstance(negotiated, Negotiated), negotiated
    return negotiated


def good_answer() -> SessionDescription:
    return answer_to(OFFER).answer


def test_rfc4568_7_1_2_answer_repeats_tag_and_suite_with_its_own_key() -> None:
    answer = good_answer()
    assert answer.crypto == (Crypto(1, AES_CM_128_HMAC_SHA1_80, THEIRS),)
    assert answer.codecs == (Codec.PCMA,)
    assert answer.telephone_event == OFFER.telephone_event
    judgement = judge_answer(OFFER, write_sdp(answer))
    assert judgement.accepted
    assert judgement.answer == answer


def test_rfc3264_6_1_direction_is_mirrored() -> None:
    answer = answer_to(replace(OFFER, direction=MediaDirection.SENDONLY)).answer
    assert answer.direction is MediaDirection.RECVONLY


def test_our_preference_decides_and_other_streams_are_refused() -> None:
    offer = replace(OFFER, codecs=(Codec.PCMU, Codec.PCMA), after=("video 4000 RTP/AVP 31",))
    answer = answer_to(offer).answer
    assert answer.codecs == (Codec.PCMA,)
    assert b"m=video 0 RTP/AVP 31" in write_sdp(answer)


@pytest.mark.parametrize(
    ("offer", "fault"),
    [
        (replace(OFFER, port=0), SdpFault.PORT_ZERO),
        (replace(OFFER, profile="RTP/AVP"), SdpFault.PLAIN_RTP),
        (replace(OFFER, profile="UDP/TLS/RTP/SAVPF"), SdpFault.WRONG_PROFILE),
        (replace(OFFER, crypto=()), SdpFault.NO_CRYPTO),
        (replace(OFFER, crypto=(), broken_crypto=1), SdpFault.BAD_KEY),
        (replace(OFFER, crypto=(Crypto(1, "F8_128_HMAC_SHA1_80", OWN),)), SdpFault.WRONG_SUITE),
        (replace(OFFER, codecs=()), SdpFault.NO_COMMON_CODEC),
    ],
)
def test_offers_that_cannot_be_answered(offer: SessionDescription, fault: SdpFault) -> None:
    assert negotiate(offer, CAPABILITY) is fault


def crypto(tag: int = 1, suite: str = AES_CM_128_HMAC_SHA1_80, key: bytes = THEIRS) -> tuple[Crypto, ...]:
    return (Crypto(tag, suite, key),)


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"port": 0}, (SdpFault.PORT_ZERO,)),
        ({"profile": "RTP/AVP", "crypto": ()}, (SdpFault.PLAIN_RTP,)),
        ({"crypto": ()}, (SdpFault.NO_CRYPTO,)),
        ({"crypto": crypto(suite=AES_CM_128_HMAC_SHA1_32)}, (SdpFault.WRONG_SUITE,)),
        ({"crypto": crypto(tag=2)}, (SdpFault.WRONG_TAG,)),
        ({"crypto": crypto(key=OWN)}, (SdpFault.REUSED_KEY,)),
        ({"crypto": crypto() + crypto(tag=2)}, (SdpFault.SEVERAL_CRYPTO,)),
        ({"codecs": ()}, (SdpFault.NO_COMMON_CODEC,)),
        ({"profile": "RTP/AVP", "codecs": ()}, (SdpFault.PLAIN_RTP, SdpFault.NO_COMMON_CODEC)),
    ],
)
def test_sabotaged_answers_are_named(changes: dict[str, object], faults: tuple[SdpFault, ...]) -> None:
    answer = replace(good_answer(), **changes)  # type: ignore[arg-type]  # a table of changes has mixed types
    assert judge_answer(OFFER, write_sdp(answer)).faults == faults


def test_answer_that_sends_where_the_offer_does_not_receive() -> None:
    offer = replace(OFFER, direction=MediaDirection.SENDONLY)
    assert judge_answer(offer, write_sdp(good_answer())).faults == (SdpFault.WRONG_DIRECTION,)


def test_bodies_that_are_no_answer() -> None:
    assert judge_answer(OFFER, b"").faults == (SdpFault.NO_SDP,)
    assert judge_answer(OFFER, b"hello").faults == (SdpFault.MALFORMED,)
    short = write_sdp(good_answer()).replace(b"inline:AAEC", b"inline:")
    assert judge_answer(OFFER, short).faults == (SdpFault.BAD_KEY,)


def test_no_key_in_a_repr() -> None:
    assert repr(THEIRS) not in repr(CAPABILITY)
