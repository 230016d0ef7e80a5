"""The instants of streams within the 20 ms."""

import math

from trunkproof.loadgen.media.flow import Instants
from trunkproof.models.packets import PACKET_S


def test_each_stream_sends_anywhere_within_the_frame() -> None:
    now, streams, parts = 1000.0, 20_000, 20
    instants = Instants()
    counts = [0] * parts
    for _ in range(streams):
        instant = instants.first_after(now)
        assert now <= instant <= now + PACKET_S
        counts[int((instant - now) / PACKET_S * parts)] += 1
    # Binomial, z = 4.5 for the worst of 20 parts.
    spread = math.sqrt(streams / parts * (1 - 1 / parts))
    assert max(abs(count - streams / parts) for count in counts) < 6 * spread


def test_two_parties_do_not_keep_in_step() -> None:
    one, other = Instants(), Instants()
    assert [one.first_after(0.0) for _ in range(3)] != [other.first_after(0.0) for _ in range(3)]
