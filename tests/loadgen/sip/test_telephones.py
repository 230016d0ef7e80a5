"""Offers in the style of many telephones and trunks, and what each of them gets from us (RFC 3264, RFC 4568)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from trunkproof.loadgen.sip.offer_answer import Capability, Negotiated, SdpFault, judge_answer, negotiate
from trunkproof.loadgen.sip.sdp import CODECS, SessionDescription, write_sdp
from trunkproof.loadgen.sip.sdp_reader import parse_sdp

CASES = Path(__file__).parents[2] / "cases" / "sdp"
_80, _32 = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"
SECURE = Capability("192.0.2.1", 10_000, bytes(range(30)), rtcp_port=10_001, session_id=7)
PLAIN = replace(SECURE, key=None)


def offer_of(name: str) -> SessionDescription:
    return parse_sdp((CASES / f"{name}.sdp").read_bytes())


# Name: place of the stream that is answered, crypto tag and suite, codec and its payload type, key type, RTCP port.
ANSWERED = {
    "asterisk": (0, 1, _80, ("PCMA", 8), 101, 17_545),
    "baresip": (0, 1, _32, ("PCMA", 8), 101, 16_394),
    "cisco": (0, 3, _80, ("PCMA", 8), 101, 16_821),
    "conference_bundle": (2, 7, _80, ("PCMA", 110), 96, 31_000),
    "freeswitch": (0, 5, _80, ("PCMA", 8), 101, 24_513),
    "ipv6": (0, 1, _80, ("PCMA", 8), 101, 30_003),
    "linphone": (0, 1, _80, ("PCMA", 8), 100, 60_381),
    "meeting_sbc": (0, 10, _80, ("PCMA", 8), 101, 27_311),
    "odd_values": (0, 3, _80, ("PCMA", 8), 96, 65_536),
    "old_hold": (0, 1, _80, ("PCMA", 8), 101, 40_011),
    "pjsua": (0, 3, _80, ("PCMA", 8), 121, 4_003),
    "polycom": (1, 3, _80, ("PCMA", 8), 127, 2_229),
    "snom": (0, 3, _32, ("PCMA", 8), 101, 54_211),
    "teams_sbc": (0, 2, _80, ("PCMA", 8), 101, 50_514),
    "yealink": (0, 1, _80, ("PCMA", 8), 101, 11_799),
}
REFUSED = {
    "browser": SdpFault.WRONG_PROFILE,
    "capability_negotiation": SdpFault.PLAIN_RTP,
    "fax_adapter": SdpFault.PLAIN_RTP,
}


def test_each_case_is_expected_to_be_answered_or_refused() -> None:
    assert {path.stem for path in CASES.glob("*.sdp")} == {*ANSWERED, *REFUSED}


@pytest.mark.parametrize("name", ANSWERED)
def test_rfc4568_7_1_2_offer_is_answered_with_a_stream_that_can_be_secured(name: str) -> None:
    offer = offer_of(name)
    negotiated = negotiate(offer, SECURE)
    assert isinstance(negotiated, Negotiated), negotiated
    answer, agreed = negotiated
    assert agreed.local_crypto is not None
    assert agreed.remote_crypto is not None
    assert agreed.local_crypto.tag == agreed.remote_crypto.tag
    assert agreed.local_crypto.key == SECURE.key
    got = (len(answer.before), agreed.remote_crypto.tag, agreed.remote_crypto.suite, tuple(agreed.codec))
    assert (*got, agreed.sent_event_type, agreed.remote_rtcp_port) == ANSWERED[name]
    # The telephone finds no fault in it, and agrees to the same.
    chosen = next(one for one in (offer, *offer.alternatives) if len(one.before) == len(answer.before))
    judgement = judge_answer(chosen, write_sdp(answer))
    assert judgement.faults == ()
    assert judgement.agreement is not None
    assert judgement.agreement.remote_crypto == agreed.local_crypto
    assert judgement.agreement.local_crypto == agreed.remote_crypto


@pytest.mark.parametrize("name", REFUSED)
def test_rfc3261_21_4_26_offer_without_such_a_stream_is_refused(name: str) -> None:
    assert negotiate(offer_of(name), SECURE) is REFUSED[name]


@pytest.mark.parametrize("name", ["polycom", "fax_adapter", "capability_negotiation"])
def test_plain_rtp_is_chosen_where_it_is_asked_for(name: str) -> None:
    negotiated = negotiate(offer_of(name), PLAIN)
    assert isinstance(negotiated, Negotiated)
    assert (negotiated.answer.profile, negotiated.answer.crypto, negotiated.answer.before) == ("RTP/AVP", (), ())
    assert negotiated.agreement.remote_crypto is None


@pytest.mark.parametrize("name", [*ANSWERED, *REFUSED])
def test_rfc3264_6_answer_has_the_streams_of_the_offer_in_their_order(name: str) -> None:
    text = (CASES / f"{name}.sdp").read_text()
    offered = [line.split()[0] for line in text.splitlines() if line.startswith("m=")]
    for capability in (SECURE, PLAIN):
        negotiated = negotiate(offer_of(name), capability)
        if isinstance(negotiated, Negotiated):
            lines = [line.split() for line in write_sdp(negotiated.answer).decode().splitlines() if line[:2] == "m="]
            assert [line[0] for line in lines] == offered
            assert [line[1] != "0" for line in lines].count(True) == 1


@pytest.mark.parametrize("ends", ["\n", "\r", "\r\n", " \r\n", "\0\r\n"])
@pytest.mark.parametrize("name", ["asterisk", "pjsua", "odd_values"])
def test_rfc4566_5_line_ends_and_blanks_do_not_matter(name: str, ends: str) -> None:
    text = (CASES / f"{name}.sdp").read_text()
    assert parse_sdp(text.replace("\n", ends).encode()) == offer_of(name)


def test_the_media_level_wins_and_odd_values_are_left_out() -> None:
    odd = offer_of("odd_values")
    assert (odd.user, odd.session_id, odd.ptime_ms, odd.maxptime_ms, odd.rtcp_port) == ("-", 0, 20, None, None)
    assert [codec.name for codec in odd.codecs] == list(reversed(CODECS))
    assert (odd.broken_crypto, odd.telephone_event) == (3, (96, "0-15"))
    assert offer_of("cisco").address == "203.0.113.61"
    assert offer_of("conference_bundle").address == "media.example.com"
