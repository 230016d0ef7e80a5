"""Runs the trunk process beside the run that calls it, and makes sure that nothing of it is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from trunkproof.loadgen.card import TrunkCard, read_card
from trunkproof.loadgen.media.warm import pump_compiled
from trunkproof.loadgen.stacks.registry import check_playable
from trunkproof.loadgen.stacks.server import CARD
from trunkproof.loadgen.system.programs import dies_with_us
from trunkproof.models.errors import StackError
from trunkproof.models.study import Study

_READY_WITHIN_S = 30.0
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
    # Compiling takes longer than a trunk is waited for on a slow machine.
    async with pump_compiled():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CARD).unlink(missing_ok=True)
        study_file = folder / "study.json"
        study_file.write_text(study.model_dump_json(), encoding="utf-8")
    log = (folder / "trunk.log").open("wb")
    with log:
        process = await asyncio.create_subprocess_exec(
            *(*dies_with_us(), sys.executable, "-m", "trunkproof.loadgen.stacks", str(study_file), str(folder)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C is for the run: it ends its calls first, and then this process.
            start_new_session=True,
        )
    try:
        yield await _card(process, folder)
    finally:
        await _end(process)


async def _card(process: asyncio.subprocess.Process, folder: Path) -> TrunkCard:
    ready = asyncio.get_running_loop().time() + _READY_WITHIN_S
    while not (folder / CARD).exists():
        if process.returncode is not None or asyncio.get_running_loop().time() > ready:
            words = (folder / "trunk.log").read_text(errors="replace").strip()
            raise StackError(f"the trunk did not start: {words or 'it said nothing'}")
        await asyncio.sleep(0.02)
    return read_card(folder / CARD)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_GONE_WITHIN_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
