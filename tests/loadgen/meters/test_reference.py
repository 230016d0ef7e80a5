"""The reference workload on this machine: that it works, what it takes from others, and that it ends."""

from __future__ import annotations

import threading
import time

import psutil
import pytest

from trunkproof.loadgen.meters.reference import ReferenceWorkload


def test_it_tells_what_its_work_took_between_two_instants() -> None:
    before_s = time.monotonic()
    with ReferenceWorkload() as reference:
        time.sleep(1.0)
        middle_s = time.monotonic()
        early = reference.mean_s(before_s, middle_s)
        time.sleep(0.4)
    whole = reference.mean_s(before_s, time.monotonic())
    assert early is not None
    assert whole is not None
    # Thousands of bytes and additions: no machine does that in a few microseconds, none takes a tenth of a second.
    assert 1e-5 < min(early, whole) <= max(early, whole) < 1e-1
    assert reference.mean_s(before_s - 2, before_s - 1) is None
    assert not _left_over()


def test_it_ends_with_its_block_whatever_happens() -> None:
    def fail() -> None:
        with ReferenceWorkload():
            raise RuntimeError("a trunk that dies")

    with pytest.raises(RuntimeError):
        fail()
    assert not _left_over()


def _left_over() -> bool:
    return bool(psutil.Process().children()) or any(
        thread.name == "reference workload" for thread in threading.enumerate()
    )
