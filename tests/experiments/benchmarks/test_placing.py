"""Our caller, driven without a pacer: every call is completed, or it is no measurement."""

from __future__ import annotations

from pathlib import Path

import pytest

from trunkproof.experiments.benchmarks import placing
from trunkproof.experiments.benchmarks.peers.sipp.program import answering
from trunkproof.experiments.benchmarks.placing import hold_calls, place_calls
from trunkproof.experiments.benchmarks.running import BenchmarkError
from trunkproof.experiments.benchmarks.signalling import card_of


@pytest.mark.parametrize("silent", [True, False])
@pytest.mark.parametrize("per_call", [False, True])
def test_all_calls_are_completed(sipp: tuple[str, ...], tmp_path: Path, per_call: bool, silent: bool) -> None:
    with answering(sipp, tmp_path, media=False) as answerer:
        placed = place_calls(card_of(answerer), 10, 5, per_call, silent)
    assert placed.calls == 10
    assert placed.cpu_s > 0


def test_calls_that_are_held_are_all_up_at_the_same_instant(sipp: tuple[str, ...], tmp_path: Path) -> None:
    with answering(sipp, tmp_path, media=False) as answerer:
        placed = hold_calls(card_of(answerer), 20, 2, 5)
    assert (placed.calls, placed.up) == (40, 20)


def test_calls_that_were_not_all_up_are_no_measurement(
    sipp: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "_ALL_UP_S", 0.0)
    monkeypatch.setattr(placing, "_SLOWEST_PER_S", 1e6)
    with (
        answering(sipp, tmp_path, media=False) as answerer,
        pytest.raises(BenchmarkError, match="of 20 calls were still up when the last one was answered"),
    ):
        hold_calls(card_of(answerer), 20, 1, 1)


def test_a_call_that_fails_is_no_measurement(sipp: tuple[str, ...], tmp_path: Path) -> None:
    with answering(sipp, tmp_path, media=False) as answerer:
        answerer.process.kill()
        answerer.process.wait()
        with pytest.raises(BenchmarkError, match="a call was not completed: connection_failed"):
            place_calls(card_of(answerer), 1, 1, False, True)
