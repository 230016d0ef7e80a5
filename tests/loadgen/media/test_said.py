"""What an answering side says: frames of G.711, and an echo that returns what it heard."""

from __future__ import annotations

import pytest
from tests.loadgen.media.listeners import Network

from trunkproof.loadgen.media.rtp import RtpPacket
from trunkproof.loadgen.media.said import MOST_RETURNED, a_law, mu_law, silence, tone


@pytest.mark.parametrize(
    ("sample", "in_a_law", "in_mu_law"),
    # Zero, and the ends of the scales, as ITU-T G.711 gives them.
    [
        (0, 0xD5, 0xFF),
        (8, 0xD5, 0xFE),
        (32_767, 0xAA, 0x80),
        (-32_768, 0x2A, 0x00),
        (1000, 0xFA, 0xCE),
        (-1000, 0x7A, 0x4E),
    ],
)
def test_itu_t_g711_codes(sample: int, in_a_law: int, in_mu_law: int) -> None:
    assert (a_law(sample), mu_law(sample)) == (in_a_law, in_mu_law)


@pytest.mark.parametrize("codec", ["PCMA", "PCMU"])
def test_a_frame_of_the_tone_can_follow_itself(codec: str) -> None:
    frame = tone(codec)
    assert len(frame) == len(silence(codec)) == 160
    # Eight whole periods of 20 samples.
    assert frame == frame[:20] * 8
    assert len(set(frame[:20])) > 5
    assert len(set(silence(codec))) == 1


def test_an_echo_returns_what_it_heard_and_nothing_else() -> None:
    network = Network(None)
    network.follow(echoes=True)
    stream = network.plain
    assert stream.next_packet() is None
    frames = [bytes([number]) * 160 for number in range(MOST_RETURNED + 3)]
    for frame in frames:
        network.send(network.frame(frame))
    returned = [RtpPacket.parse(stream.next_packet() or b"") for _ in range(MOST_RETURNED)]
    # Of too many, the oldest are gone.
    assert [packet.payload for packet in returned] == frames[3:]
    # A talkspurt begins, under our own source and numbers (RFC 3550, RFC 3551 section 4.1).
    assert [packet.marker for packet in returned[:2]] == [True, False]
    assert {packet.ssrc for packet in returned} == {stream.ssrc}
    assert stream.next_packet() is None
