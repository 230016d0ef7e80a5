"""Judge what came of a called peer's script: by the script itself, and by the record of the call."""

from __future__ import annotations

from tests.odd.play import Played
from tests.odd.scenario import Scenario


def judge_called(one: Scenario, played: Played) -> None:
    """Fail with everything that is wrong, and with all that was said."""
    assert one.right is not None
    faults = [played.fault] if played.fault else []
    if played.record is None:
        faults.append("the call has no record")
    else:
        faults += one.right.faults(played.record, played.call)
    assert not faults, f"{one.name}: {'; '.join(faults)}{played.story()}"
