"""What came to a media port, by its first bytes."""

from __future__ import annotations

import pytest

from trunkproof.loadgen.media.datagrams import Kind, kind_of


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (0, Kind.STUN),
        (3, Kind.STUN),
        (4, Kind.OTHER),
        (15, Kind.OTHER),
        (16, Kind.ZRTP),
        (19, Kind.ZRTP),
        (20, Kind.DTLS),
        (63, Kind.DTLS),
        (64, Kind.TURN),
        (79, Kind.TURN),
        (80, Kind.OTHER),
        (127, Kind.OTHER),
        (128, Kind.RTP),
        (191, Kind.RTP),
        (192, Kind.OTHER),
        (255, Kind.OTHER),
    ],
)
def test_rfc7983_7_the_first_byte_says_which_protocol(first: int, kind: Kind) -> None:
    assert kind_of(bytes([first]) + bytes(19)) is kind


@pytest.mark.parametrize(("second", "kind"), [(191, Kind.RTP), (192, Kind.RTCP), (223, Kind.RTCP), (224, Kind.RTP)])
def test_rfc5761_4_the_second_byte_tells_rtcp_from_rtp(second: int, kind: Kind) -> None:
    assert kind_of(bytes([0x80, second]) + bytes(18)) is kind


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\r\n\r\n", bytes(4), b"\x80", b"\x80\x08" + bytes(9)])
def test_rfc6263_4_a_few_bytes_keep_a_nat_open(data: bytes) -> None:
    assert kind_of(data) is Kind.KEEP_ALIVE
