"""What a check-up concludes from the audio of a call."""

from __future__ import annotations

import pytest

from trunkproof.experiments.target.check.findings import CheckName, Checks, State
from trunkproof.experiments.target.check.judging import judge_heard
from trunkproof.loadgen.media.report import MediaReport
from trunkproof.models.records import FarEnd


@pytest.mark.parametrize(
    ("far_end", "voices", "state"),
    [
        (FarEnd.ECHO, {"echoed": 140, "unknown": 10}, State.HOLDS),
        (FarEnd.ECHO, {"echoed": 10, "unknown": 140}, State.BROKEN),
        (FarEnd.ANSWERS, {"echoed": 10, "unknown": 140}, State.HOLDS),
        (FarEnd.ANSWERS, {"unknown": 150}, State.NOT_TRIED),
    ],
)
def test_our_own_voice_proves_that_our_audio_arrives(far_end: FarEnd, voices: dict[str, int], state: State) -> None:
    checks = Checks("call")
    judge_heard(MediaReport(sent=150, received=150, authenticated=150, **voices), far_end, checks)  # type: ignore[arg-type]
    states = {check.name: check.state for check in checks}
    assert (states[CheckName.AUDIO_IN], states[CheckName.AUDIO_OUT]) == (State.HOLDS, state)
