"""Runs the trunk process beside the run that calls it, and makes sure that nothing of it is left behind."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from trunkproof.loadgen.card import TrunkCard, read_card
from trunkproof.loadgen.media.warm import pump_compiled
from trunkproof.loadgen.stack_events import THE_TRUNK
from trunkproof.loadgen.stacks.registry import check_playable
from trunkproof.loadgen.stacks.server import CARD
from trunkproof.loadgen.system.programs import Program, Programs
from trunkproof.models.study import Study

_READY_WITHIN_S = 120.0
"""Its imports take some four seconds of CPU: on a machine that twenty others want, most of a minute was seen."""
_GONE_WITHIN_S = 15.0
"""Each of its programs has five seconds to end, and what they held is to be given back after that."""


@contextlib.asynccontextmanager
async def running_trunk(study: Study, folder: Path) -> AsyncIterator[TrunkCard]:
    """The study's trunk, listening while the block runs; its files are in `folder`.

    Raises:
        InputError: the stack that the study names cannot play it, or the environment names no media pump.
        StackError: it did not start; the message has its last words.
    """
    check_playable(study)
    log = folder / "trunk.log"
    # Compiling takes longer than a trunk is waited for on a slow machine.
    async with pump_compiled():
        folder.mkdir(parents=True, exist_ok=True)
        for left in (folder / CARD, log):
            left.unlink(missing_ok=True)
        study_file = folder / "study.json"
        study_file.write_text(study.model_dump_json(), encoding="utf-8")

    async def is_ready() -> bool:
        return (folder / CARD).exists()

    programs = Programs(ready_within_s=_READY_WITHIN_S, gone_within_s=_GONE_WITHIN_S)
    command = (sys.executable, "-m", "trunkproof.loadgen.stacks", str(study_file), str(folder))
    try:
        await programs.start(Program(THE_TRUNK, command, log, is_ready))
        yield read_card(folder / CARD)
    finally:
        await programs.close()
