"""Prepare Asterisk as programs: write its files, and say how to start it and how to see that it takes calls.

The trunk is one program, and each customer's PBX another. `loadgen.system.programs` starts and watches them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from trunkproof.loadgen.stacks.asterisk.find import find_asterisk
from trunkproof.loadgen.stacks.asterisk.render import Instance, render, render_pbx
from trunkproof.loadgen.stacks.endpoints import StackEndpoints
from trunkproof.loadgen.system.descriptors import open_file_limits
from trunkproof.loadgen.system.ports import free_port
from trunkproof.loadgen.system.programs import Program
from trunkproof.loadgen.tls.certificates import CertificateFiles
from trunkproof.models.study import Study
from trunkproof.models.throttles.windows import Windowed

_ASK_WITHIN_S = 10.0
_MANY_FILES = 1_048_576
"""How many files Asterisk may open where the machine sets no limit."""


def asterisk_programs(study: Study, endpoints: StackEndpoints) -> tuple[list[Program], dict[str, str]]:
    """Write Asterisk's files for the study's trunk. Return its program, and program name -> its Prometheus page.

    The stack must be able to play the study: `unsupported` is empty.

    Raises:
        StackError: there is no Asterisk.
    """
    instance = instance_in(endpoints.folder / "asterisk")
    inner = str(study.pop.inner_address)
    metrics_port = free_port(inner)
    program = program_of("asterisk", instance, render(study, endpoints, instance, metrics_port))
    return [program], {"asterisk": f"http://{inner}:{metrics_port}/metrics"}


def pbx_programs(
    study: Study, index: int, folder: Path, *, certificate: CertificateFiles, ca_file: Path, phone_port: int
) -> list[Program]:
    """Write Asterisk's files for the PBX of one trunk's customer, and return its program.

    Args:
        study: names the customer's address and port, where the PBX listens, and the PoP's, where its calls come from.
        index: of the trunk.
        folder: for its files; several PBXs may share it.
        certificate: what it shows, for the customer's address.
        ca_file: the authority that it trusts.
        phone_port: TLS port, at the customer's address, that it rings.

    Raises:
        StackError: there is no Asterisk.
    """
    instance = instance_in(folder / f"pbx{index}")
    files = render_pbx(study, index, instance, certificate=certificate, ca_file=ca_file, phone_port=phone_port)
    return [program_of(f"pbx{index}", instance, files)]


def windows_began(study: Study, _pids: Mapping[str, int]) -> dict[str, float]:
    """Return trunk name -> when its current fixed window began, on the machine's monotonic clock, in seconds.

    The dialplan's windows follow the wall clock. So the processes do not matter here.
    """
    # Read together: the difference between the two clocks is what turns one into the other.
    wall_s, monotonic_s = time.time(), time.monotonic()
    return {
        trunk.name: monotonic_s - wall_s % trunk.throttle.window_s
        for trunk in study.trunks
        if isinstance(trunk.throttle, Windowed)
    }


def instance_in(folder: Path) -> Instance:
    """Return the Asterisk of this machine, to be run in the folder.

    Raises:
        StackError: there is no Asterisk.
    """
    # Asterisk's option takes a number. It cannot say "no limit".
    return Instance(folder.absolute(), find_asterisk(), min(open_file_limits()[1], _MANY_FILES))


def program_of(name: str, instance: Instance, files: Mapping[str, str]) -> Program:
    """Write the files, file name -> content, into the instance's folder, and return its program."""
    home = instance.folder
    home.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (home / file).write_text(content, encoding="utf-8")
    command = (*instance.installation.command, "-C", str(home / "asterisk.conf"))
    # `-f` keeps it in the foreground, so that the process that we started is the one that we watch.
    return Program(name, (*command, "-f"), home / "output.log", _booted(home, command))


def _booted(home: Path, command: tuple[str, ...]) -> Callable[[], Awaitable[bool]]:
    """Return a check that asks Asterisk itself: it listens before its dialplan is loaded."""

    async def is_ready() -> bool:
        # Without its socket the question would fail anyway, and each question starts a process.
        if not (home / "asterisk.ctl").exists():
            return False
        asked = await asyncio.create_subprocess_exec(
            *(*command, "-rx", "core waitfullybooted"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(_ASK_WITHIN_S):
                return await asked.wait() == 0
        except TimeoutError:
            # A question that hangs must not stay behind, because it is asked again and again.
            asked.kill()
            await asked.wait()
            return False

    return is_ready
