"""Our caller, driven without a pacer: every call is completed, or it is no measurement."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.benchmarks.peers.sipp.program import answering
from experiments.benchmarks.placing import place_calls
from experiments.benchmarks.running import BenchmarkError
from experiments.benchmarks.signalling import card_of


@pytest.mark.parametrize("silent", [True, False])
@pytest.mark.parametrize("per_call", [False, True])
def test_all_calls_are_completed(sipp: tuple[str, ...], tmp_path: Path, per_call: bool, silent: bool) -> None:
    with answering(sipp, tmp_path, media=False) as answerer:
        placing = place_calls(card_of(answerer), 10, 5, per_call, silent)
    assert placing.calls == 10
    assert placing.cpu_s > 0


def test_a_call_that_fails_is_no_measurement(sipp: tuple[str, ...], tmp_path: Path) -> None:
    with answering(sipp, tmp_path, media=False) as answerer:
        answerer.process.kill()
        answerer.process.wait()
        with pytest.raises(BenchmarkError, match="a call was not completed: connection_failed"):
            place_calls(card_of(answerer), 1, 1, False, True)
