"""What an answering side returns as an echo."""

from __future__ import annotations

from tests.loadgen.media.listeners import Network

from trunkproof.loadgen.media.rtp import RtpPacket
from trunkproof.loadgen.media.stream import MOST_RETURNED


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
