"""SRTP and SRTCP of both suites through libsrtp: sizes, keys, replay, rollover."""

import os

import pytest

from trunkproof.loadgen.media.rtcp import read_compound, write_report
from trunkproof.loadgen.media.rtp import RtpPacket
from trunkproof.loadgen.media.srtp import Failure, PlainCipher, SrtpCipher

SUITE_80, SUITE_32 = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"


def _pair(suite: str = SUITE_80) -> tuple[SrtpCipher, SrtpCipher]:
    ours, theirs = os.urandom(30), os.urandom(30)
    return SrtpCipher(ours, theirs, suite), SrtpCipher(theirs, ours, suite)


def _packet(sequence: int) -> bytes:
    return bytes(RtpPacket(8, sequence & 0xFFFF, sequence * 160 & 0xFFFFFFFF, 5, b"\xd5" * 160))


@pytest.mark.parametrize(("suite", "size"), [(SUITE_80, 182), (SUITE_32, 176)])
def test_172_bytes_of_rtp_become_this_many_of_srtp(suite: str, size: int) -> None:
    near, far = _pair(suite)
    encrypted = near.protect(_packet(1))
    assert (len(_packet(1)), len(encrypted)) == (172, size)
    assert encrypted[12:172] != _packet(1)[12:]
    assert far.unprotect(encrypted) == _packet(1)


def test_wrong_key_and_changed_byte_are_not_authentic() -> None:
    near, far = _pair()
    _, stranger = _pair()
    encrypted = near.protect(_packet(1))
    assert stranger.unprotect(encrypted) is Failure.NOT_AUTHENTIC
    assert far.unprotect(encrypted[:-1] + bytes([encrypted[-1] ^ 1])) is Failure.NOT_AUTHENTIC
    assert far.unprotect(encrypted) == _packet(1)


def test_own_packet_sent_back_is_not_authentic() -> None:
    near, _ = _pair()
    assert near.unprotect(near.protect(_packet(1))) is Failure.NOT_AUTHENTIC


def test_3_3_2_replay_is_told_from_forgery_seen_or_too_old() -> None:
    near, far = _pair()
    first, second = near.protect(_packet(1)), near.protect(_packet(2))
    later = [near.protect(_packet(number)) for number in range(3, 400)]
    assert far.unprotect(second) == _packet(2)
    assert far.unprotect(second) is Failure.REPLAYED
    for packet in later:
        assert isinstance(far.unprotect(packet), bytes)
    assert far.unprotect(first) is Failure.REPLAYED


@pytest.mark.parametrize("size", [0, 1, 11, 12, 22, 1500, 1501, 5000])
def test_bytes_of_any_length_are_a_result(size: int) -> None:
    _, far = _pair()
    assert far.unprotect(b"\x80" * size) is Failure.NOT_AUTHENTIC
    assert far.unprotect_rtcp(b"\x80" * size) is Failure.NOT_AUTHENTIC


def test_3_4_srtcp_is_encrypted_and_authenticated() -> None:
    near, far = _pair()
    report = write_report(7, wall_s=1.0, timestamp=0, packets=0, block=None)
    encrypted = near.protect_rtcp(report)
    # Index with the E bit (4 bytes) and an 80-bit tag.
    assert len(encrypted) == len(report) + 14
    forged = encrypted[:20] + bytes([encrypted[20] ^ 1]) + encrypted[21:]
    assert far.unprotect_rtcp(forged) is Failure.NOT_AUTHENTIC
    plain = far.unprotect_rtcp(encrypted)
    assert plain == report
    assert read_compound(plain) is not None
    assert far.unprotect_rtcp(encrypted) is Failure.REPLAYED


def test_an_unknown_suite_is_our_error() -> None:
    with pytest.raises(KeyError):
        SrtpCipher(bytes(30), bytes(30), "AES_256_CM_HMAC_SHA1_80")


def test_plain_cipher_changes_nothing() -> None:
    cipher = PlainCipher()
    assert cipher.unprotect(cipher.protect(b"audio")) == b"audio"
    assert cipher.unprotect_rtcp(cipher.protect_rtcp(b"report")) == b"report"
