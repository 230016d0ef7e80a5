"""Sizes and rates of G.711 over SRTP, against what a packet of the load generator really is."""

from __future__ import annotations

from trunkproof.loadgen.media.compiled.loop import FRAME_NS
from trunkproof.loadgen.media.rtp import HEADER_BYTES
from trunkproof.loadgen.media.voiceprint import Side, write_frame
from trunkproof.models.packets import PACKET_S, PAYLOAD_BYTES, SAMPLES_PER_PACKET, SRTP_BYTES, STREAM_MBIT_PER_S


def test_a_packet_carries_20_ms() -> None:
    assert (PACKET_S, SAMPLES_PER_PACKET, FRAME_NS) == (0.02, 160, 20_000_000)


def test_a_packet_is_as_large_as_one_of_the_load_generator() -> None:
    assert len(write_frame(Side.CALLER, 1, 1)) == PAYLOAD_BYTES
    assert SRTP_BYTES == HEADER_BYTES + PAYLOAD_BYTES + 10 == 182


def test_a_call_takes_90_kbit_per_s_each_way() -> None:
    # 224 octets on the wire, 50 times a second.
    assert STREAM_MBIT_PER_S == 0.0896
