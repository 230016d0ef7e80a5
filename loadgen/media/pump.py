"""The media pump: sends and receives the audio of one party's calls. What every pump does, and which one is made.

The compiled pump has a thread of its own and is for thousands of calls; the plain one is on the event loop, and for
where the other cannot be.
"""

from __future__ import annotations

import difflib
import logging
import os
import socket
from enum import StrEnum
from typing import Protocol

from trunkproof.loadgen.media.flow import Flow
from trunkproof.loadgen.media.plain_pump import PlainPump
from trunkproof.loadgen.media.sockets import Address
from trunkproof.loadgen.media.stream import MediaReport, MediaStream
from trunkproof.models.errors import InputError, Problem

logger = logging.getLogger(__name__)

VARIABLE = "TRUNKPROOF_MEDIA_PUMP"
"""Environment variable that names the pump to use, for all processes of a run."""


class PumpKind(StrEnum):
    """Which pump."""

    COMPILED = "compiled"
    PLAIN = "plain"


class MediaPump(Protocol):
    """All streams of one party, between construction and `close`."""

    @property
    def has_thread(self) -> bool:
        """Whether it works beside the event loop."""

    def add(
        self, stream: MediaStream, rtp: socket.socket, rtcp: socket.socket, remote: Address, remote_rtcp: Address
    ) -> Flow:
        """Run a fresh stream over bound, non-blocking sockets; all three are the pump's from now on."""

    def remove(self, flow: Flow) -> MediaReport:
        """Take what is still waiting in the sockets, say goodbye, close them; the stream's final report.

        A stream that is removed already, by `close` for one, gives the same report again.
        """

    def close(self) -> None:
        """Stop, and close the sockets of every stream that is left."""

    def now(self) -> float:
        """The clock that streams live on: the machine's monotonic one."""

    @property
    def lateness_p99_ms(self) -> float:
        """99 % of all frames left at most so long after their instant; 0 where none was sent."""


def make_pump(kind: PumpKind | None = None) -> MediaPump:
    """A pump for the running event loop: of that kind, or else the one that the environment names, or the best.

    Raises:
        InputError: the environment asks for a pump that does not exist.
    """
    kind, reason = (kind, None) if kind is not None else pump_to_make()
    if reason is not None:
        logger.warning("%s", reason)
    if kind is PumpKind.PLAIN:
        return PlainPump()
    # Numba takes half a second to import: only for those who carry audio.
    from trunkproof.loadgen.media.compiled.pump import CompiledPump  # noqa: PLC0415

    return CompiledPump()


def pump_to_make() -> tuple[PumpKind, str | None]:
    """The pump of this machine's runs, and why it is not the best one where nobody asked for another.

    Raises:
        InputError: the environment asks for a pump that does not exist.
    """
    asked = asked_for()
    reason = why_not_compiled() if asked is None else None
    if reason is None:
        return asked or PumpKind.COMPILED, None
    return PumpKind.PLAIN, f"audio is sent by the plain pump, for a few hundred calls: {reason}"


def pump_warnings() -> tuple[str, ...]:
    """What is to be said of a run's audio on this machine, if anything.

    Raises:
        InputError: as `pump_to_make`.
    """
    _, reason = pump_to_make()
    return () if reason is None else (reason,)


def asked_for() -> PumpKind | None:
    """What the environment names, if anything.

    Raises:
        InputError: there is no such pump.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    try:
        return PumpKind(named)
    except ValueError:
        near = difflib.get_close_matches(named.lower(), list(PumpKind), n=1)
        hint = f"did you mean {near[0]}?" if near else "leave it out for the best one"
        what = f"{named!r} is none of {', '.join(PumpKind)}; {hint}"
        raise InputError("environment", [Problem(where=VARIABLE, what=what)]) from None


def why_not_compiled() -> str | None:
    """Why this machine has no compiled pump; `None` where it has."""
    try:
        from trunkproof.loadgen.media.compiled.c import NoSuchFunctionError, functions  # noqa: PLC0415
    except ImportError as error:
        return f"Numba cannot be used: {error}"
    try:
        functions()
    except NoSuchFunctionError as error:
        return str(error)
    return None
