"""Streams of random numbers, keyed by purpose, trunk and attempt, and addressed by call.

Call 17's holding time is number 17 of the stream "holding", whatever else was drawn: another throttle, another chunk
size or a further purpose changes no caller. That is what makes two runs of one study comparable call by call.
"""

from __future__ import annotations

import hashlib

import numpy as np

from trunkproof.models.arrays import FloatArray

_DRAWS_PER_COUNTER = 4
"""Philox 4x64 makes four 64-bit numbers per step of its counter."""
_SMALLEST = 2.0**-54


def uniforms(seed: int, *key: str | int, start: int, count: int) -> FloatArray:
    """Return numbers `start` to `start + count` of the stream of `seed` and `key`, uniform in the open interval (0, 1).

    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011). A counter-based generator can start
    anywhere at no cost.
    """
    digest = hashlib.sha256(repr((seed, *key)).encode()).digest()
    bits = np.random.Philox(key=np.frombuffer(digest[:16], dtype=np.uint64))
    skipped = start % _DRAWS_PER_COUNTER
    bits.advance(start // _DRAWS_PER_COUNTER)
    drawn = np.random.Generator(bits).random(skipped + count)[skipped:]
    return np.maximum(drawn, _SMALLEST, out=drawn)


def generator(seed: int, *key: str | int) -> np.random.Generator:
    """Return a stream for draws that belong to no single call, such as the states of a burst process."""
    digest = hashlib.sha256(repr((seed, *key)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], dtype=np.uint64)))
