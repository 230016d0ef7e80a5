from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from trunkproof.loadgen.stacks.kamailio.bucket import Bucket
from trunkproof.models.throttles.token_bucket import TokenBucket

LARGEST = 2**31 - 1


@given(limit=st.integers(1, 5000), burst=st.integers(1, 5000), window_ms=st.integers(1, 900_000))
def test_slots_are_exact_and_fit_into_32_bits(limit: int, burst: int, window_ms: int) -> None:
    settings = TokenBucket(policy="token_bucket", limit=limit, burst=burst, window_s=window_ms / 1000)
    bucket = Bucket.of(settings)
    if list(bucket.unsupported()):
        return
    interval = Fraction(window_ms * 1000, limit)
    for k in (1, limit, limit + burst - 1, limit + burst):
        slot = k * bucket.interval_us + Fraction(k * bucket.rest, bucket.parts)
        assert slot == k * interval
        # As the script computes it: rounded up, with integers that must not overflow.
        assert k * bucket.rest + bucket.parts - 1 <= LARGEST
        assert k * bucket.interval_us + -(-k * bucket.rest // bucket.parts) <= bucket.horizon_s * 1_000_000
    assert (bucket.horizon_s + 1) * 1_000_000 <= LARGEST


def test_the_documented_trunk_fits() -> None:
    assert list(Bucket.of(TokenBucket(policy="token_bucket")).unsupported()) == []
