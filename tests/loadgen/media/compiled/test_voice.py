"""Tones in compiled code: the powers of the plain code to the last bit, and an echo that is timed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.loadgen.media.listeners import Network

from trunkproof.loadgen.media.compiled import voice
from trunkproof.loadgen.media.compiled.memory import new_work
from trunkproof.loadgen.media.rtp import RtpPacket
from trunkproof.loadgen.media.tones import powers_of
from trunkproof.models.speech import Voiceprint

DELAY_S = 0.137


@given(samples=st.lists(st.integers(-32_768, 32_767), min_size=160, max_size=160))
def test_powers_are_the_same_to_the_last_bit(samples: list[int]) -> None:
    block, work = np.array(samples, np.int16), new_work()[0]
    waves: Any = voice._waves
    energy = waves(block, work)
    powers, expected = powers_of(block)
    assert energy == expected
    assert work["powers"].tolist() == powers.tolist()


@pytest.mark.parametrize("voiceprint", Voiceprint)
@pytest.mark.parametrize("packets_together", [1, 3])
def test_an_echo_is_timed_in_both_ways(voiceprint: Voiceprint, packets_together: int) -> None:
    """Also where it comes back in packets of 60 ms: what is heard 40 ms later has come 40 ms later."""
    network = Network(None, voiceprint=voiceprint)
    network.samples = 160 * packets_together
    for _ in range(100):
        payload = b""
        for _ in range(packets_together):
            spoken = network.plain.next_packet()
            assert spoken == network.compiled.next_packet()
            assert spoken is not None
            at = network.clock + len(payload) / 8000
            network.plain.note_sent(at)
            number = network.plain.sent - 1
            network.compiled.slot["sent_at"][number % 128] = at
            payload += RtpPacket.parse(spoken).payload
        network.deliver(network.frame(payload), DELAY_S)
        network.sent.append(payload)
        network.clock += network.samples / 8000
    report = network.check()
    assert report.round_trip_ms == pytest.approx(1000 * DELAY_S)
    assert report.echoed == (100 if voiceprint is Voiceprint.BYTES else 100 * packets_together)
    assert report.foreign == report.unknown == report.matched == 0
