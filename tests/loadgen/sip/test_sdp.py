"""RFC 4566 and RFC 4568: the trunk's session descriptions, written exactly and read tolerantly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.loadgen.sip.invite import customer_offer, trunk_offer
from trunkproof.loadgen.sip.sdes import Crypto, MalformedCryptoError, offered_crypto, read_crypto, write_crypto
from trunkproof.loadgen.sip.sdp import Codec, MalformedSdpError, MediaDirection, write_sdp
from trunkproof.loadgen.sip.sdp_reader import parse_sdp

KEY = bytes(range(30))
KEY_TEXT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"

TRUNK = f"""v=0
o=root 7 7 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio 10000 RTP/SAVP 8 0 96
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:96 telephone-event/8000
a=fmtp:96 0-15
a=rtcp:10001
a=ptime:20
a=sendrecv
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_TEXT}
"""
CUSTOMER = f"""v=0
o=- 7 7 IN IP4 127.0.0.2
s=-
c=IN IP4 127.0.0.2
t=0 0
m=audio 20000 RTP/SAVP 8 0 101
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
a=maxptime:150
a=sendrecv
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_TEXT}
"""


def test_trunk_offer_is_written_as_documented() -> None:
    offer = trunk_offer("127.0.0.1", 10_000, KEY, session_id=7)
    assert write_sdp(offer).decode() == TRUNK.replace("\n", "\r\n")
    assert parse_sdp(write_sdp(offer)) == offer


def test_customer_offer_is_written_as_documented() -> None:
    offer = customer_offer("127.0.0.2", 20_000, KEY, session_id=7)
    assert write_sdp(offer).decode() == CUSTOMER.replace("\n", "\r\n")
    assert parse_sdp(write_sdp(offer)) == offer


def test_samples_without_s_and_t_and_with_bare_line_feeds_are_read() -> None:
    session = parse_sdp(TRUNK.replace("s=-\n", "").replace("t=0 0\n", "").encode())
    assert (session.port, session.rtcp_port, session.crypto[0].key) == (10_000, 10_001, KEY)


def test_media_level_address_and_direction_win_over_the_session_level() -> None:
    text = (
        "c=IN IP4 10.0.0.1\na=inactive\nm=audio 4000 RTP/SAVP 0\nc=IN IP4 10.0.0.2\na=sendonly\nm=video 1 RTP/AVP 31\n"
    )
    session = parse_sdp(f"{text}c=IN IP4 10.0.0.3\na=recvonly\n".encode())
    assert (session.address, session.direction) == ("10.0.0.2", MediaDirection.SENDONLY)
    assert session.codecs == (Codec.PCMU,)
    assert session.after == ("video 1 RTP/AVP 31",)
    assert session.effective_rtcp_port == 4001
    assert b"m=video 0 RTP/AVP 31\r\n" in write_sdp(session)


def test_rfc3551_6_rtpmap_that_contradicts_a_static_type_wins() -> None:
    assert parse_sdp(b"c=IN IP4 a\nm=audio 2 RTP/SAVP 8\na=rtpmap:8 G729/8000\n").codecs == ()


@pytest.mark.parametrize(
    "body",
    [b"v=0\r\n", b"m=audio x RTP/SAVP 8\n", b"m=audio 2 RTP/SAVP 8\n", b"c=IN IP4\nm=audio 2 RTP/SAVP 8\n",
     b"m=audio 2\n",
     b"c=IN IP4 a\nm=audio 70000 RTP/SAVP 8\n", b"x" * 70_000, b"a=b\n" * 600],
)  # fmt: skip
def test_broken_descriptions_are_refused(body: bytes) -> None:
    with pytest.raises(MalformedSdpError):
        parse_sdp(body)


@pytest.mark.parametrize(
    ("rest", "mki"),
    [
        ("", b""),
        ("|2^20", b""),
        ("|1048576", b""),
        ("|2^48", b""),
        ("|1:4", b"\0\0\0\1"),
        ("|2^31|1:1", b"\1"),
        ("|1066:4|2^31", b"\0\0\4\x2a"),
        ("|1:128", bytes(127) + b"\1"),
        (" WSH=128", b""),
        (" wsh=64 -FUTURE=1", b""),
    ],
)
def test_rfc4568_6_1_lifetime_mki_and_hints_of_a_usable_key(rest: str, mki: bytes) -> None:
    crypto = read_crypto(f"2 aes_cm_128_hmac_sha1_32 inline:{KEY_TEXT}{rest}")
    assert crypto == Crypto(2, "AES_CM_128_HMAC_SHA1_32", KEY, mki)
    assert read_crypto(write_crypto(crypto)) == crypto


@pytest.mark.parametrize(
    "rest",
    ["|2^49", "|2^0x1", "|2^", "|0", "|281474976710657", "|2^20|2^20", "|1:0", "|1:129", "|256:1", "|:4", "|1:",
     "|1:1|2:1", "||"],
)  # fmt: skip
def test_rfc4568_6_1_lifetime_or_mki_out_of_range_is_malformed(rest: str) -> None:
    with pytest.raises(MalformedCryptoError):
        read_crypto(f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_TEXT}{rest}")


@pytest.mark.parametrize(
    "rest",
    ["UNENCRYPTED_SRTP", "UNENCRYPTED_SRTCP", "UNAUTHENTICATED_SRTP", "KDR=1", "FEC_ORDER=FEC_SRTP",
     f"FEC_KEY=inline:{KEY_TEXT}", "WSH=x", "FUTURE=1"],
)  # fmt: skip
def test_rfc4568_6_3_session_parameter_that_we_lack_is_named(rest: str) -> None:
    crypto = read_crypto(f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_TEXT} -FUTURE {rest}")
    assert crypto.unsupported == rest[:40]


def test_rfc4568_6_1_of_several_keys_none_is_used() -> None:
    crypto = read_crypto(f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_TEXT}|1:4;inline:{KEY_TEXT}|2:4")
    assert crypto.unsupported == "several keys"


def test_rfc4568_7_1_1_each_offered_suite_has_its_own_key() -> None:
    offered = offered_crypto(KEY, ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"))
    assert [(crypto.tag, len(crypto.key)) for crypto in offered] == [(1, 30), (2, 30)]
    assert offered[0].key == KEY != offered[1].key
    assert offered == offered_crypto(KEY, ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"))


@pytest.mark.parametrize(
    "value",
    ["1 AES_CM_128_HMAC_SHA1_80", f"x AES_CM_128_HMAC_SHA1_80 inline:{KEY_TEXT}",
     f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_TEXT[:-4]}", "1 AES_CM_128_HMAC_SHA1_80 inline:*",
     f"1 AES_CM_128_HMAC_SHA1_80 uri:{KEY_TEXT}"],
)  # fmt: skip
def test_rfc4568_6_2_broken_crypto_is_refused_and_only_counted_in_a_description(value: str) -> None:
    with pytest.raises(MalformedCryptoError):
        read_crypto(value)
    session = parse_sdp(f"c=IN IP4 a\nm=audio 2 RTP/SAVP 8\na=crypto:{value}\n".encode())
    assert (session.crypto, session.broken_crypto) == ((), 1)


def test_own_key_of_wrong_length_is_a_bug_of_ours() -> None:
    with pytest.raises(ValueError, match="30 bytes"):
        Crypto(1, "AES_CM_128_HMAC_SHA1_80", bytes(29))


def test_no_text_of_a_session_shows_its_key() -> None:
    offer = customer_offer("127.0.0.2", 20_000, KEY, session_id=7)
    shown = repr(offer) + str(offer) + str(offer.crypto[0])
    assert KEY_TEXT not in shown
    assert repr(KEY) not in shown


@given(st.one_of(st.binary(max_size=200), st.text("vomcatps=:/ 0189\nRTPSAVINaudio", max_size=200).map(str.encode)))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        parse_sdp(body)
    except MalformedSdpError:
        return
