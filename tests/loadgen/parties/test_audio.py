"""When audio that did not come back is held against a call."""

from __future__ import annotations

import pytest

from trunkproof.loadgen.media.stream import MediaReport
from trunkproof.loadgen.parties.audio import media_fault


@pytest.mark.parametrize(("sent", "fault"), [(19, None), (20, "no audio came back (one-way audio)")])
def test_g114_a_call_of_less_than_400_ms_cannot_tell_late_audio_from_none(sent: int, fault: str | None) -> None:
    assert media_fault(MediaReport(sent=sent)) == fault
