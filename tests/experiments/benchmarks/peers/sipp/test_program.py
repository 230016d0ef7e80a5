"""SIPp as answerer and as caller."""

from __future__ import annotations

from pathlib import Path

import pytest

from trunkproof.experiments.benchmarks.peers.sipp.program import answering, errors_of, run_caller, start_caller
from trunkproof.experiments.benchmarks.running import BenchmarkError


@pytest.mark.parametrize("per_call", [False, True])
def test_sipp_calls_sipp(sipp: tuple[str, ...], tmp_path: Path, per_call: bool) -> None:
    """Its exit code is 0 only if all calls succeeded; `run_caller` raises otherwise."""
    with answering(sipp, tmp_path / "answerer", media=False) as answerer:
        done = run_caller(sipp, tmp_path / "caller", answerer, calls=20, at_once=5, per_call=per_call)
    assert 0 < done.cpu_s < done.wall_s


def test_audio_is_encrypted_on_both_sides(sipp: tuple[str, ...], tmp_path: Path) -> None:
    """SIPp says so where it sends plain RTP."""
    with answering(sipp, tmp_path / "answerer", media=True) as answerer:
        process = start_caller(
            sipp, tmp_path / "caller", answerer, media=True, calls=3, calls_per_s=10, at_once=3, hold_s=1
        )
        assert process.wait(60) == 0, errors_of(tmp_path / "caller")
    for side in ("answerer", "caller"):
        assert "plain RTP" not in errors_of(tmp_path / side)


def test_a_failed_call_is_told(sipp: tuple[str, ...], tmp_path: Path) -> None:
    with answering(sipp, tmp_path / "answerer", media=False) as answerer:
        answerer.process.kill()
        answerer.process.wait()
        with pytest.raises(BenchmarkError, match="calls of SIPp failed"):
            run_caller(sipp, tmp_path / "caller", answerer, calls=1, at_once=1, per_call=False)


def test_a_sipp_that_does_not_listen_is_told(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="does not listen"), answering(("false",), tmp_path, media=False):
        pass
