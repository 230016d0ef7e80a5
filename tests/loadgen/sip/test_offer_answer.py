"""RFC 3264 and RFC 4568 section 7: the answer made, and every sabotaged answer named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trunkproof.loadgen.sip.invite import customer_offer
from trunkproof.loadgen.sip.offer_answer import Capability, Negotiated, SdpFault, judge_answer, negotiate, offer_again
from trunkproof.loadgen.sip.sdes import AES_CM_128_HMAC_SHA1_32, AES_CM_128_HMAC_SHA1_80, Crypto
from trunkproof.loadgen.sip.sdp import Codec, MediaDirection, SessionDescription, write_sdp
from trunkproof.loadgen.sip.sdp_reader import parse_sdp, read_usual

OWN, THEIRS = bytes(30), bytes(range(30))
OFFER = customer_offer("127.0.0.2", 20_000, OWN, session_id=7)
CAPABILITY = Capability("127.0.0.1", 10_000, THEIRS, rtcp_port=10_001)


def answer_to(
    offer: SessionDescription, capability: Capability = CAPABILITY, previous: SessionDescription | None = None
) -> Negotiated:
    negotiated = negotiate(offer, capability, previous)
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
        (replace(OFFER, crypto=(Crypto(1, "F8_128_HMAC_SHA1_80", OWN),)), SdpFault.NO_COMMON_SUITE),
        (
            replace(OFFER, crypto=(Crypto(1, AES_CM_128_HMAC_SHA1_80, OWN, unsupported="KDR=1"),)),
            SdpFault.UNSUPPORTED_CRYPTO,
        ),
        (replace(OFFER, crypto=(Crypto(1, AES_CM_128_HMAC_SHA1_80, THEIRS),)), SdpFault.REUSED_KEY),
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
        ({"profile": "RTP/SAVPF"}, (SdpFault.WRONG_PROFILE,)),
        ({"before": ("video 4000 RTP/AVP 31",)}, (SdpFault.WRONG_STREAMS,)),
        ({"after": ("audio 4000 RTP/AVP 0",)}, (SdpFault.WRONG_STREAMS,)),
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


def test_rfc4568_5_1_3_the_chosen_attribute_keys_the_stream_on_both_sides() -> None:
    """A telephone that prefers a suite that we lack, then the short tag, and does something odd under a third tag."""
    keys = [bytes([number]) * 30 for number in range(4)]
    offered = (
        Crypto(1, "AES_256_CM_HMAC_SHA1_80", keys[0] + bytes(16)),
        Crypto(2, AES_CM_128_HMAC_SHA1_80, keys[1], unsupported="UNENCRYPTED_SRTCP"),
        Crypto(3, AES_CM_128_HMAC_SHA1_32, keys[2], mki=b"\0\1"),
        Crypto(4, AES_CM_128_HMAC_SHA1_80, keys[3]),
    )
    offer = replace(OFFER, crypto=offered)
    answer, agreed = answer_to(offer)
    assert agreed.remote_crypto == offered[2]
    assert agreed.local_crypto == answer.crypto[0] == Crypto(3, AES_CM_128_HMAC_SHA1_32, THEIRS)
    theirs = judge_answer(offer, write_sdp(answer)).agreement
    assert theirs is not None
    assert (theirs.local_crypto, theirs.remote_crypto) == (agreed.remote_crypto, agreed.local_crypto)
    only_80 = answer_to(offer, replace(CAPABILITY, suites=(AES_CM_128_HMAC_SHA1_80,))).agreement
    assert only_80.remote_crypto == offered[3]


def test_rfc4568_5_1_2_of_our_suites_the_answer_chooses() -> None:
    offer = customer_offer(
        "127.0.0.2", 20_000, OWN, session_id=7, suites=(AES_CM_128_HMAC_SHA1_80, AES_CM_128_HMAC_SHA1_32)
    )
    answer = replace(good_answer(), crypto=crypto(tag=2, suite=AES_CM_128_HMAC_SHA1_32))
    agreed = judge_answer(offer, write_sdp(answer)).agreement
    assert agreed is not None
    assert agreed.local_crypto == offer.crypto[1]
    assert agreed.remote_crypto == answer.crypto[0]
    reused = replace(answer, crypto=(replace(offer.crypto[1], key=offer.crypto[1].key),))
    assert judge_answer(offer, write_sdp(reused)).faults == (SdpFault.REUSED_KEY,)


def test_rfc4568_7_1_2_parameter_in_an_answer_that_was_not_offered() -> None:
    answer = write_sdp(good_answer()).replace(b"\r\na=crypto", b"\r\na=x\r\na=crypto").rstrip()
    judgement = judge_answer(OFFER, answer + b" UNENCRYPTED_SRTP\r\n")
    assert judgement.faults == (SdpFault.CRYPTO_PARAMETER,)
    assert judgement.agreement is None
    # The identifier belongs to the peer's own key, so it needs no offer.
    agreed = judge_answer(OFFER, answer + b"|2^31|1:4\r\n").agreement
    assert agreed is not None
    assert agreed.remote_crypto is not None
    assert agreed.remote_crypto.mki == b"\0\0\0\1"


def test_rfc3264_5_1_payload_types_belong_to_the_side_that_receives_them() -> None:
    answer = write_sdp(good_answer()).replace(b"SAVP 8 101", b"SAVP 110 96")
    answer = answer.replace(b"rtpmap:8 ", b"rtpmap:110 ").replace(b":101 ", b":96 ")
    agreed = judge_answer(OFFER, answer).agreement
    assert agreed is not None
    assert (agreed.codec, agreed.heard_codecs) == (Codec("PCMA", 110), (Codec.PCMA,))
    assert (agreed.sent_event_type, agreed.heard_event_type) == (96, 101)


def test_rfc4733_2_5_without_events_on_one_side_there_are_none_on_either() -> None:
    agreed = judge_answer(OFFER, write_sdp(replace(good_answer(), telephone_event=None))).agreement
    assert agreed is not None
    assert (agreed.sent_event_type, agreed.heard_event_type) == (None, None)


@pytest.mark.parametrize(
    ("direction", "answered", "sends", "hears"),
    [
        (MediaDirection.SENDRECV, MediaDirection.SENDRECV, True, True),
        (MediaDirection.SENDONLY, MediaDirection.RECVONLY, False, True),
        (MediaDirection.RECVONLY, MediaDirection.SENDONLY, True, False),
        (MediaDirection.INACTIVE, MediaDirection.INACTIVE, False, False),
    ],
)
def test_rfc3264_8_4_hold_in_both_roles(
    direction: MediaDirection, answered: MediaDirection, sends: bool, hears: bool
) -> None:
    first = answer_to(OFFER)
    hold = offer_again(OFFER, direction)
    answer, agreed = answer_to(hold, previous=first.answer)
    assert answer.direction is answered
    assert (agreed.sends, agreed.hears) == (sends, hears)
    theirs = judge_answer(hold, write_sdp(answer)).agreement
    assert theirs is not None
    assert (theirs.sends, theirs.hears) == (hears, sends)
    # Only the direction changes: no key, no port.
    assert replace(agreed, sends=True, hears=True) == first.agreement


@pytest.mark.parametrize("nowhere", ["0.0.0.0", "::"])
def test_rfc3264_8_4_address_of_zeros_holds_as_in_rfc2543(nowhere: str) -> None:
    agreed = answer_to(replace(OFFER, address=nowhere)).agreement
    assert (agreed.remote_address, agreed.sends, agreed.hears) == (nowhere, False, False)
    agreed_by_answer = judge_answer(OFFER, write_sdp(replace(good_answer(), address=nowhere))).agreement
    assert agreed_by_answer is not None
    assert (agreed_by_answer.sends, agreed_by_answer.hears) == (False, False)


def test_rfc3264_8_version_rises_only_with_a_change() -> None:
    first = answer_to(OFFER, replace(CAPABILITY, session_id=40)).answer
    assert (first.session_id, first.session_version) == (40, 40)
    # Whatever the capability says of it later: the session id is that of the call.
    again = answer_to(replace(OFFER, session_version=8), previous=first).answer
    assert again == first
    held = answer_to(offer_again(OFFER, MediaDirection.SENDONLY), previous=again).answer
    assert (held.session_id, held.session_version) == (40, 41)
    resumed = answer_to(OFFER, previous=held).answer
    assert resumed == replace(first, session_version=42)


def test_rfc3264_8_own_offer_again_keeps_all_but_the_direction() -> None:
    answer = answer_to(replace(OFFER, after=("video 4000 RTP/AVP 31",))).answer
    hold = offer_again(answer, MediaDirection.SENDONLY)
    assert hold == replace(answer, direction=MediaDirection.SENDONLY, session_version=answer.session_version + 1)
    assert write_sdp(hold).endswith(b"m=video 0 RTP/AVP 31\r\n")
    assert offer_again(hold, MediaDirection.SENDONLY) == hold
    # The answer to it has the refused stream too.
    theirs = replace(hold, direction=MediaDirection.RECVONLY, crypto=crypto(key=OWN), port=20_000)
    assert judge_answer(hold, write_sdp(theirs)).accepted
    assert judge_answer(hold, write_sdp(replace(theirs, after=()))).faults == (SdpFault.WRONG_STREAMS,)


def test_rfc4568_7_1_4_new_key_port_and_codec_are_followed_and_ours_stay() -> None:
    first = answer_to(OFFER)
    new = bytes([9]) * 30
    moved = replace(OFFER, address="127.0.0.9", port=30_000, codecs=(Codec.PCMU,), crypto=crypto(key=new))
    answer, agreed = answer_to(moved, replace(CAPABILITY, key=bytes([8]) * 30), previous=first.answer)
    assert (agreed.remote_address, agreed.remote_port, agreed.remote_rtcp_port) == ("127.0.0.9", 30_000, 30_001)
    assert agreed.codec == Codec.PCMU
    assert agreed.remote_crypto is not None
    assert agreed.remote_crypto.key == new
    # The peer decrypts with the key that it was told.
    assert agreed.local_crypto == first.agreement.local_crypto
    assert answer.session_version == first.answer.session_version + 1


def test_rfc3264_8_stream_keeps_its_place() -> None:
    sdp = write_sdp(OFFER)
    stream = sdp[sdp.index(b"m=") :]
    refused = parse_sdp(sdp.replace(b"m=audio 20000", b"m=audio 0") + stream)
    both = parse_sdp(sdp + stream)
    first = answer_to(refused).answer
    assert len(first.before) == 1
    # Now the first stream could be had as well, but the call is on the second.
    assert write_sdp(answer_to(both, previous=first).answer) == write_sdp(first)
    assert answer_to(both).answer.before == ()


def test_rfc5761_5_1_1_rtcp_on_the_port_of_rtp_is_accepted_and_never_begun() -> None:
    offer = replace(OFFER, rtcp_mux=True, rtcp_port=9)
    answer, agreed = answer_to(offer)
    assert agreed.remote_rtcp_port == agreed.remote_port
    assert (answer.rtcp_mux, answer.rtcp_port) == (True, None)
    assert b"a=rtcp-mux\r\n" in write_sdp(answer)
    assert b"rtcp-mux" not in write_sdp(OFFER)
    # In an answer to an offer without it, it means nothing.
    judged = judge_answer(OFFER, write_sdp(answer)).agreement
    assert judged is not None
    assert judged.remote_rtcp_port == answer.port + 1


def test_rfc4566_5_7_ipv6_is_written_and_read() -> None:
    offer = customer_offer("2001:db8::7", 20_000, OWN, session_id=7)
    text = write_sdp(offer)
    assert b"IN IP6 2001:db8::7\r\ns=-\r\nc=IN IP6 2001:db8::7\r\n" in text
    assert parse_sdp(text) == offer
    assert read_usual(text.decode()) == offer
