"""Whole calls with audio to SIPp, by ours and by SIPp: the same calls, and all their packets."""

from __future__ import annotations

from pathlib import Path

import pytest

from trunkproof.experiments.benchmarks.peers.sipp.program import answering
from trunkproof.experiments.benchmarks.running import BenchmarkError
from trunkproof.experiments.benchmarks.with_sipp import FEWEST, Size, our_calls, sipp_calls

SMALL = Size(FEWEST, 0.5)


def test_both_place_the_same_calls_with_all_their_packets(sipp: tuple[str, ...], tmp_path: Path) -> None:
    with answering(sipp, tmp_path / "answerer", media=True) as answerer:
        theirs = sipp_calls(sipp, tmp_path / "theirs", answerer, SMALL)
        ours = our_calls(tmp_path / "ours", answerer, SMALL)
    assert theirs.calls == ours.calls == FEWEST
    assert ours.heard.authenticated == ours.heard.received >= FEWEST * 10
    assert ours.heard.odd == 0
    assert min(ours.cost.cpu_s, theirs.cost.cpu_s) > 0


def test_calls_to_nobody_are_no_measurement(sipp: tuple[str, ...], tmp_path: Path) -> None:
    with answering(sipp, tmp_path / "answerer", media=True) as answerer:
        answerer.process.kill()
        answerer.process.wait()
        with pytest.raises(BenchmarkError, match="trunkproof load ended with 6"):
            our_calls(tmp_path / "ours", answerer, SMALL)
