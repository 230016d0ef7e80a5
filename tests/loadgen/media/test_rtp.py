"""RTP packets and telephone events, byte for byte."""

import pytest

from trunkproof.loadgen.media.rtp import MalformedRtpError, RtpPacket, TelephoneEvent


def test_5_1_fixed_header_byte_for_byte() -> None:
    packet = RtpPacket(8, 0x1234, 0x01020304, 0xA0B0C0D0, b"\xd5" * 160, marker=True)
    assert bytes(packet)[:12].hex() == "8088123401020304a0b0c0d0"
    assert len(bytes(packet)) == 172
    assert RtpPacket.parse(bytes(packet)) == packet


def test_5_1_contributing_sources_extension_and_padding_are_skipped() -> None:
    header = bytes([0x80 | 0x20 | 0x10 | 2, 8]) + bytes([0, 1]) + bytes(8)
    data = header + b"csrc" * 2 + b"\xbe\xde\x00\x01" + b"ext!" + b"voice" + b"\x00\x00\x03"
    assert RtpPacket.parse(data).payload == b"voice"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x08" + bytes(9),
        b"\x40\x08" + bytes(10),
        b"\x9f\x08" + bytes(10),
        b"\x90\x08" + bytes(10),
        b"\xa0\x08" + bytes(9) + b"\xff",
    ],
    ids=["empty", "cut off", "version 1", "missing sources", "missing extension", "padding beyond the packet"],
)
def test_5_1_malformed_packets_are_the_peers_error(data: bytes) -> None:
    with pytest.raises(MalformedRtpError):
        RtpPacket.parse(data)


def test_rfc_4733_2_3_event_byte_for_byte() -> None:
    event = TelephoneEvent("#", 800, end=True)
    assert bytes(event).hex() == "0b8a0320"
    assert TelephoneEvent.parse(bytes(event)) == event


@pytest.mark.parametrize("payload", [b"\x0b\x8a\x03", b"\x10\x8a\x03\x20"], ids=["cut off", "hook flash, no digit"])
def test_rfc_4733_2_3_what_is_no_digit_is_none(payload: bytes) -> None:
    assert TelephoneEvent.parse(payload) is None
