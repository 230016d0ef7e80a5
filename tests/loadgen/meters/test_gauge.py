"""The gauge on this machine: that it works, what it takes from others, and that it ends."""

from __future__ import annotations

import threading
import time

import pytest

from loadgen.meters.gauge import Gauge


def test_it_tells_what_its_work_took_between_two_instants() -> None:
    before_s, spent_s = time.monotonic(), time.process_time()
    with Gauge() as gauge:
        time.sleep(1.05)
        middle_s = time.monotonic()
        assert (early := gauge.mean_s(before_s, middle_s)) is not None
        time.sleep(0.35)
    spent_s = time.process_time() - spent_s
    whole = gauge.mean_s(before_s, time.monotonic())
    assert whole is not None
    assert 1e-5 < min(early, whole) <= max(early, whole) < 1e-2
    # Its memory is made once; the rest of what this process spent is the work itself.
    assert spent_s >= 10 * whole
    assert gauge.mean_s(before_s - 2, before_s - 1) is None
    assert not any(thread.name == "gauge" for thread in threading.enumerate())


def test_it_ends_with_its_block_whatever_happens() -> None:
    def fail() -> None:
        with Gauge():
            raise RuntimeError("a trunk that dies")

    with pytest.raises(RuntimeError):
        fail()
    assert not any(thread.name == "gauge" for thread in threading.enumerate())
