"""RTCP compound packets, byte for byte and back."""

import struct

import pytest

from trunkproof.loadgen.media.rtcp import Reception, ReportBlock, read_compound, write_report

BLOCK = ReportBlock(ssrc=9, fraction_lost=3, lost=5, highest=70_000, jitter_units=11)


def test_6_4_1_sender_report_with_its_instants() -> None:
    report = write_report(7, wall_s=0.5, timestamp=160, packets=2, block=None)
    first, kind, words, ssrc, ntp_s, ntp_part, rtp, packets, octets = struct.unpack_from("!BBHIIIIII", report)
    assert (first, kind, words) == (0x80, 200, 6)
    # Seconds from 1900 to 1970 (RFC 868), and half a second in 2^-32.
    assert (ssrc, ntp_s, ntp_part) == (7, 2_208_988_800, 1 << 31)
    assert (rtp, packets, octets) == (160, 2, 320)


def test_6_1_compound_is_report_then_canonical_name_then_bye_in_whole_words() -> None:
    report = write_report(7, wall_s=1.0, timestamp=0, packets=0, block=BLOCK, bye=True)
    kinds, position = [], 0
    while position < len(report):
        kinds.append(report[position + 1])
        position += 4 + 4 * int.from_bytes(report[position + 2 : position + 4], "big")
    assert (kinds, position) == ([200, 202, 203], len(report))


@pytest.mark.parametrize("lost", [0, 5, -2, (1 << 23) - 1, -(1 << 23)])
def test_6_4_1_cumulative_loss_is_signed(lost: int) -> None:
    block = ReportBlock(9, 3, lost, 70_000, 11)
    report = write_report(7, wall_s=1.0, timestamp=0, packets=0, block=block, bye=True)
    assert read_compound(report) == Reception((block,), bye=True)


def test_6_4_1_loss_beyond_24_bits_is_held_at_the_limit() -> None:
    received = read_compound(
        write_report(7, wall_s=1.0, timestamp=0, packets=0, block=ReportBlock(9, 3, 1 << 30, 1, 1))
    )
    assert received is not None
    assert received.blocks[0].lost == (1 << 23) - 1


@pytest.mark.parametrize(
    "data", [b"", b"\x80\xc8", b"\x40\xc9\x00\x00", b"\x80\xc9\x00\x07" + bytes(4)], ids=["empty", "cut", "v1", "short"]
)
def test_a_2_malformed_compound_is_none(data: bytes) -> None:
    assert read_compound(data) is None
