"""Run the trunk process beside the run that calls it, and end all of its programs afterwards."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from trunkproof.loadgen.card import TrunkCard, read_card
from trunkproof.loadgen.media.warm import pump_compiled
from trunkproof.loadgen.stack_events import THE_TRUNK
from trunkproof.loadgen.stacks.registry import check_playable
from trunkproof.loadgen.stacks.server import CARD, CERTIFICATES
from trunkproof.loadgen.system.linux import require_linux
from trunkproof.loadgen.system.programs import Program, Programs
from trunkproof.loadgen.system.quota import remove_left_behind
from trunkproof.loadgen.tls.certificates import discard_keys
from trunkproof.models.study import Study

_READY_WITHIN_S = 120.0
"""Its imports take about four seconds of CPU. On a machine shared by twenty others they took most of a minute."""
_GONE_WITHIN_S = 15.0
"""Each of its programs has five seconds to end. Then their ports and their quota must be given back."""


@contextlib.asynccontextmanager
async def running_trunk(study: Study, folder: Path) -> AsyncIterator[TrunkCard]:
    """Run the study's trunk while the block runs. Its files are in `folder`.

    Raises:
        InputError: the study's stack cannot play it, or the environment names an unknown media pump.
        StackError: the trunk did not start. The message quotes the end of its log.
    """
    require_linux()
    check_playable(study)
    log = folder / "trunk.log"
    # Compile first: on a slow machine that takes longer than we wait for a trunk to start.
    async with pump_compiled():
        folder.mkdir(parents=True, exist_ok=True)
        # The card of an earlier run would look as if this trunk were ready, and its log would be quoted for this one.
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
        # Also if the start failed: a half-started trunk has programs too.
        await programs.close()
        remove_left_behind()
        # The trunk removes them itself. It cannot where it was killed.
        discard_keys(folder / CERTIFICATES)
