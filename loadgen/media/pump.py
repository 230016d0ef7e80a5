"""The media pump, which sends and receives the audio of one party's calls: its interface, and the choice of one.

The compiled pump has a thread of its own and carries thousands of calls. The plain pump runs on the event loop and
carries a few hundred. It is used where the compiled one cannot be.
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
from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.media.stream import MediaStream
from trunkproof.loadgen.media.tap import MediaTap
from trunkproof.loadgen.media.terms import MediaTerms
from trunkproof.models.errors import InputError, Problem

logger = logging.getLogger(__name__)

_PLAIN = "audio is sent by the plain pump, which carries only a few hundred calls: "
VARIABLE = "TRUNKPROOF_MEDIA_PUMP"
"""Environment variable that names the pump to use, for all processes of a run."""


class PumpKind(StrEnum):
    """The kinds of pump, by the names that the environment variable takes."""

    COMPILED = "compiled"
    PLAIN = "plain"


class MediaPump(Protocol):
    """All streams of one party, from construction to `close`."""

    @property
    def has_thread(self) -> bool:
        """Return whether the pump works in a thread of its own, beside the event loop."""

    def add(self, stream: MediaStream, rtp: socket.socket, rtcp: socket.socket, tap: MediaTap | None = None) -> Flow:
        """Serve bound, non-blocking sockets for a fresh stream. All three belong to the pump from now on.

        `tap` keeps the datagrams. Read it after `remove`.
        Until something is agreed, what comes is early media, from whomever it comes.
        """

    def follow(self, flow: Flow, terms: MediaTerms, *, early: bool = False) -> None:
        """Run the stream as agreed from now on. Unless it is `early`, the call is answered.

        It may be called again, to change what is agreed. For a stream that was removed it does nothing.

        Raises:
            OSError, OverflowError: a remote address cannot be one. Nothing was changed.
        """

    def answer(self, flow: Flow) -> None:
        """Take the call as answered from now on, with what was agreed early. Do nothing where nothing was agreed."""

    def remove(self, flow: Flow) -> MediaReport:
        """Take what still waits in the sockets, send an RTCP BYE, close the sockets, and return the final report.

        For a stream that was removed before, by `close` for example, return the same report again.
        """

    def close(self) -> None:
        """Stop, and remove every stream that is left."""

    def now(self) -> float:
        """Return the time of the streams' clock, which is the machine's monotonic one, in seconds."""

    @property
    def lateness_p99_ms(self) -> float:
        """Return the 99th percentile of how late frames were sent, in ms. 0 where none was sent."""


def make_pump(kind: PumpKind | None = None) -> MediaPump:
    """Make a pump for the running event loop: of the given kind, or the one that the environment names, or the best.

    Raises:
        InputError: the environment asks for a pump that does not exist.
    """
    may_choose = kind is None and asked_for() is None
    kind, reason = (kind, None) if kind is not None else pump_to_make()
    if reason is not None:
        logger.warning("%s", reason)
    if kind is PumpKind.PLAIN:
        return PlainPump()
    # Import lazily: Numba takes half a second to import, and only runs with audio need it.
    from trunkproof.loadgen.media.compiled.pump import CompiledPump  # noqa: PLC0415

    try:
        return CompiledPump()
    except Exception as error:
        # Whatever Numba or its compiler meets, such as too little memory: the plain pump needs neither.
        if not may_choose:
            raise
        logger.warning("%s%s: %s", _PLAIN, type(error).__name__, error)
        return PlainPump()


def pump_to_make() -> tuple[PumpKind, str | None]:
    """Return the kind of pump for this machine. If it has to be the plain one, return the reason too, else None.

    Raises:
        InputError: the environment asks for a pump that does not exist.
    """
    asked = asked_for()
    # A pump that the user asked for is not replaced: if it cannot be made, the error says so.
    reason = why_not_compiled() if asked is None else None
    if reason is None:
        return asked or PumpKind.COMPILED, None
    return PumpKind.PLAIN, f"{_PLAIN}{reason}"


def pump_warnings() -> tuple[str, ...]:
    """Return the warnings about audio on this machine, if any.

    Raises:
        InputError: the environment asks for a pump that does not exist.
    """
    _, reason = pump_to_make()
    return () if reason is None else (reason,)


def asked_for() -> PumpKind | None:
    """Return the kind of pump that the environment names, or None.

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
    """Return why this machine cannot have the compiled pump, or None where it can."""
    try:
        from trunkproof.loadgen.media.compiled.c import NoSuchFunctionError, functions  # noqa: PLC0415
    except ImportError as error:
        return f"Numba cannot be used: {error}"
    try:
        functions()
    except NoSuchFunctionError as error:
        return str(error)
    return None
