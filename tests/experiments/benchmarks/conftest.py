from __future__ import annotations

import pytest

from trunkproof.experiments.benchmarks.peers.sipp.program import WANTED, find_sipp


@pytest.fixture(scope="session")
def sipp() -> tuple[str, ...]:
    """A SIPp that speaks TLS and SRTP."""
    found = find_sipp()
    if found is None:
        pytest.skip(WANTED)
    return found
