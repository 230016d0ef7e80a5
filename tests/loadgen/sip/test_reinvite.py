"""When a refused re-INVITE is tried again (RFC 3261 section 14.1)."""

from __future__ import annotations

import random

import pytest

from trunkproof.loadgen.sip.identifiers import Identifiers
from trunkproof.loadgen.sip.message import Response
from trunkproof.loadgen.sip.reinvite import Reinvite, retry_wait_s

IDS = Identifiers(random.Random(1))


def wait_s(status: int, *, ours: bool = True, tries: int = 0, rows: tuple[tuple[str, str], ...] = ()) -> float:
    return retry_wait_s(Reinvite(tries=tries), status, Response(status, headers=rows), IDS, ours=ours)


def test_rfc3261_14_1_the_waits_after_a_glare_never_meet() -> None:
    longer = [wait_s(491) for _ in range(2_000)]
    shorter = [wait_s(491, ours=False) for _ in range(2_000)]
    assert (min(longer), max(longer)) == (2.1, 4.0)
    assert (min(shorter), max(shorter)) == (0.0, 2.0)


def test_rfc3261_20_33_the_servers_own_wait_counts() -> None:
    assert wait_s(503, rows=(("Retry-After", "17"),)) == 17
    waits = [wait_s(500, tries=tries) for tries in range(10)]
    assert 3.1 <= waits[0] <= 5.0
    assert waits[-1] == 64


@pytest.mark.parametrize("status", [403, 415, 422, 488, 603])
def test_other_refusals_are_final(status: int) -> None:
    assert wait_s(status) == float("inf")


def test_rfc3261_20_33_a_wait_of_0_s_is_not_taken_by_the_letter() -> None:
    # Else the two would exchange re-INVITE and 503 as fast as the network carries them.
    assert wait_s(503, rows=(("Retry-After", "0"),)) >= 3.1
