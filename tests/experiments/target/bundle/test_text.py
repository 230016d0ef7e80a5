"""Messages of a bundle: masked without a secret, consistent in themselves, and told in a few words."""

from __future__ import annotations

import pytest

from trunkproof.experiments.target.bundle.text import call_sid, for_clear_audio, keys_in, masked_message, title_of
from trunkproof.loadgen.capture.capture import Message
from trunkproof.loadgen.sip.parser import parse_message

KEY = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
BODY = f"""v=0\r
o=- 1 1 IN IP4 127.0.0.2\r
s=-\r
c=IN IP4 127.0.0.2\r
t=0 0\r
m=audio 50000 RTP/SAVP 8 101\r
a=rtpmap:8 PCMA/8000\r
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r
a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^20|7:4\r
a=crypto:3 AES_256_CM_HMAC_SHA1_80 inline:{KEY}\r
a=crypto:4 broken\r
a=sendrecv\r
"""
INVITE = f"""INVITE sip:+918041112222@127.0.0.1 SIP/2.0\r
Via: SIP/2.0/TLS 127.0.0.2:5061;branch=z9hG4bK1\r
From: <sip:+918040003333@x>;tag=1\r
To: <sip:+918041112222@x>\r
Call-ID: 918041112222@here\r
CSeq: 1 INVITE\r
Authorization: Digest username="u7", realm="r", nonce="n1", uri="sip:x", response="0123456789abcdef0123456789abcdef"\r
X-Exotel-CallSid:  69501cfb3fc54b80a806fde667619b8e \r
Content-Type: application/sdp\r
Content-Length: {len(BODY)}\r
\r
{BODY}""".encode()


def message(data: bytes) -> Message:
    return Message(1.0, True, ("127.0.0.2", 1), ("127.0.0.1", 2), data)


def test_a_masked_message_has_no_number_key_or_credential_and_the_length_of_its_body() -> None:
    masked = masked_message(INVITE)
    for secret in (b"8041112222", b"8040003333", KEY.encode(), b"u7", b"n1", b"0123456789abcdef"):
        assert secret not in masked
    head, _, body = masked.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head.splitlines()
    assert parse_message(masked).body == body


def test_rfc3264_clear_audio_is_told_as_plain_rtp_without_keys() -> None:
    told = for_clear_audio(INVITE)
    body = parse_message(told).body
    assert b"m=audio 50000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n" in body
    assert b"crypto" not in body
    plain = INVITE.replace(b"RTP/SAVP", b"RTP/AVP")
    assert for_clear_audio(plain) == plain


def test_rfc4568_all_usable_keys_are_found_once() -> None:
    keys = keys_in([message(INVITE), message(INVITE)])
    assert [(key.tag, key.mki) for key in keys] == [(1, b""), (2, b"\x00\x00\x00\x07")]


def test_the_operators_call_sid_is_found() -> None:
    assert call_sid([message(b"SIP/2.0 100 Trying\r\n\r\n"), message(INVITE)]) == "69501cfb3fc54b80a806fde667619b8e"
    assert call_sid([]) is None


@pytest.mark.parametrize(
    ("data", "title"),
    [
        (INVITE, "INVITE with SDP"),
        (b"SIP/2.0 180 Ringing\r\nCSeq: 1 INVITE\r\n\r\n", "180 Ringing"),
        (b"SIP/2.0 200 OK\r\nCSeq: 2 BYE\r\n\r\n", "200 OK (BYE)"),
        (b"SIP/2.0 603 Call +918041112222\r\nCSeq: 2 INVITE\r\n\r\n", "603 Call +91********22"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_a_message_is_told_in_a_few_words(data: bytes, title: str) -> None:
    assert title_of(data) == title
