"""The media pump: sends and receives the audio of one party's calls. What every pump does, and which one is made.

The compiled pump has a thread of its own and is for thousands of calls; the plain one is on the event loop, and for
where the other cannot be.
"""

from __future__ import annotations

import os
import socket
import sys
from enum import StrEnum
from typing import Protocol

from loadgen.media.flow import Flow
from loadgen.media.plain_pump import PlainPump
from loadgen.media.sockets import Address
from loadgen.media.stream import MediaReport, MediaStream
from models.errors import InputError, Problem

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
    asked = kind or asked_for()
    reason = why_not_compiled() if asked is None else None
    if reason is not None:
        print(f"audio is sent by the plain pump, for a few hundred calls: {reason}", file=sys.stderr)
    if asked is PumpKind.PLAIN or reason is not None:
        return PlainPump()
    # Numba takes half a second to import: only for those who carry audio.
    from loadgen.media.compiled.pump import CompiledPump  # noqa: PLC0415

    return CompiledPump()


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
        raise InputError(
            "environment", [Problem(where=VARIABLE, what=f"{named!r} is none of {', '.join(PumpKind)}")]
        ) from None


def why_not_compiled() -> str | None:
    """Why this machine has no compiled pump; `None` where it has."""
    try:
        from loadgen.media.compiled.c import NoSuchFunctionError, functions  # noqa: PLC0415
    except ImportError as error:
        return f"Numba cannot be used: {error}"
    try:
        functions()
    except NoSuchFunctionError as error:
        return str(error)
    return None
