"""The instants of streams within the 20 ms."""

import pytest

from loadgen.media.flow import Instants
from loadgen.media.rtp import FRAME_S


@pytest.mark.parametrize("streams", [80, 400, 4000])
def test_every_millisecond_gets_its_share(streams: int) -> None:
    instants, now = Instants(), 1000.0
    counts = [0] * 20
    for _ in range(streams):
        instant = instants.first_after(now)
        assert now <= instant <= now + FRAME_S
        counts[int((instant % FRAME_S) * 1000) % 20] += 1
    # Groups of eight at multiples of the golden ratio: never two groups more than another's share.
    assert max(counts) <= streams / 20 + 16
