"""Captured SRTP is decrypted as libsrtp encrypted it, also where most packets in between are missing."""

from __future__ import annotations

import os

import pytest

from trunkproof.experiments.target.bundle.srtp import Decrypter, silent
from trunkproof.loadgen.media.srtp import PlainCipher, SrtpCipher
from trunkproof.loadgen.sip.sdes import SUITES, Crypto

SUITE = SUITES[0]


def rtp(sequence: int, payload: bytes = b"voice", ssrc: int = 7, head: bytes = b"\x80\x08", more: bytes = b"") -> bytes:
    return head + (sequence & 0xFFFF).to_bytes(2) + bytes(4) + ssrc.to_bytes(4) + more + payload


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("mki", [b"", b"\x01\x02"])
def test_rfc3711_rtp_and_rtcp_are_decrypted(suite: str, mki: bytes) -> None:
    key = os.urandom(30)
    sender = SrtpCipher(key, os.urandom(30), suite, tx_mki=mki)
    decrypt = Decrypter([Crypto(2, suite, os.urandom(30)), Crypto(1, suite, key, mki)])
    extended = rtp(9, head=b"\x91\x08", more=b"csrc" + b"\xbe\xde\x00\x01" + b"exts")
    report = b"\x80\xc8\x00\x06" + (7).to_bytes(4) + bytes(20)
    for packet in (rtp(65_534), rtp(65_535), rtp(0, ssrc=8), extended, rtp(0), rtp(1)):
        assert decrypt(sender.protect(packet)) == packet
    assert decrypt(sender.protect_rtcp(report)) == report
    changed = bytearray(sender.protect(rtp(2)))
    changed[14] ^= 1
    assert decrypt(bytes(changed)) is None
    assert decrypt(b"\x00\x01\x00\x00stun....") is None
    assert decrypt(b"\x80") is None


def test_rfc3711_section_3_3_1_rollovers_that_nobody_captured_are_found() -> None:
    key = os.urandom(30)
    sender = SrtpCipher(key, os.urandom(30), SUITE)
    decrypt = Decrypter([Crypto(1, SUITE, key)])
    sent = [sender.protect(rtp(sequence)) for sequence in range(60_000, 3 * 65_536 + 10)]
    for place in (*range(10), *range(-10, 0)):
        assert decrypt(sent[place]) == rtp(range(60_000, 3 * 65_536 + 10)[place])
    # An older one may come late.
    assert decrypt(sent[5_000]) == rtp(65_000)


def test_without_keys_audio_is_in_the_clear() -> None:
    assert Decrypter([])(PlainCipher().protect(rtp(1))) == rtp(1)


def test_a_silent_packet_has_the_header_and_the_length_and_nothing_else() -> None:
    packet = rtp(5, b"+918040001234", head=b"\x91\x88", more=b"9180400012")
    hidden = silent(packet)
    assert len(hidden) == len(packet)
    assert hidden[1:12] == packet[1:12]
    assert set(hidden[12:]) == {0xD5}
