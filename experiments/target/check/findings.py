"""What a check-up found: one row for each thing that was looked at, and the report of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from trunkproof.experiments.target.remedies import Remedy, Trouble, remedy_for


class State(StrEnum):
    """What came of one check."""

    HOLDS = "holds"
    REMARK = "remark"
    """It holds well enough to place calls, and is worth knowing."""
    BROKEN = "does not hold"
    NOT_TRIED = "not tried"
    """Because of a check before it, because nobody asked, or because it cannot be told from here."""


class CheckName(StrEnum):
    """What is checked. Each name stands in docs/howto/check.md, with what it means."""

    NAME = "name"
    TCP = "TCP"
    TLS = "TLS"
    CERTIFICATE = "certificate"
    RESUMPTION = "TLS resumption"
    OPTIONS = "OPTIONS"
    WHITELIST = "whitelist"
    IDENTITY = "caller identity"
    STRANGER = "wrong Exophone"
    CALL = "call"
    IDENTIFIERS = "identifiers"
    SDP = "SDP"
    KEYS = "keys (DTMF)"
    TIMER = "session timer"
    AUDIO_IN = "audio to us"
    AUDIO_OUT = "audio to them"
    NETWORK = "delay, jitter, loss"
    ACK = "ACK"
    STAYS_UP = "stays up"
    HOLD = "hold and resume"
    REFRESH = "refresh"
    CANCEL = "CANCEL"
    NAT = "NAT"
    VIA = "Via"
    CONTACT = "Contact"
    SDP_WAY = "SDP on the way"
    MEDIA_ADDRESS = "media address"
    MEDIA_SOURCE = "media source"
    REACHABLE = "our port"
    FILES = "open files"
    PORTS = "UDP ports"
    BUFFERS = "UDP buffers"
    CLOCK = "clock"
    SPEED = "speed"
    BUNDLE = "bundle"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    subject: str
    """Where: an edge, a kind of call, this machine."""
    name: CheckName
    state: State
    seen: str
    """What was seen, or why nothing was tried. Numbers are masked."""
    troubles: tuple[Trouble, ...] = ()
    """What is wrong, the most telling first. Empty where nothing is."""

    @property
    def remedy(self) -> Remedy | None:
        """Return what the trouble means and what to do."""
        return remedy_for(*self.troubles)

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        remedy = self.remedy
        return {
            "subject": self.subject,
            "name": self.name,
            "state": self.state,
            "seen": self.seen,
            "trouble": _written(self.troubles[0]) if self.troubles else None,
            "meaning": None if remedy is None else remedy.meaning,
            "action": None if remedy is None else remedy.action,
        }


def _written(trouble: Trouble) -> str:
    # An alert's number says nothing to most people.
    return trouble.name if hasattr(trouble, "name") and not isinstance(trouble, StrEnum) else str(trouble)


class Checks(list[Check]):
    """The checks of one subject, in their order."""

    def __init__(self, subject: str) -> None:
        super().__init__()
        self.subject = subject

    def note(self, name: CheckName, state: State, seen: str, *troubles: Trouble | None) -> State:
        """Add a check, and return its state."""
        self.append(Check(self.subject, name, state, seen, tuple(one for one in troubles if one is not None)))
        return state

    def holds(self, name: CheckName, seen: str) -> None:
        """Add a check that holds."""
        self.note(name, State.HOLDS, seen)

    def broken(self, name: CheckName, seen: str, *troubles: Trouble | None) -> None:
        """Add a check that does not hold."""
        self.note(name, State.BROKEN, seen, *troubles)

    def remark(self, name: CheckName, seen: str, *troubles: Trouble | None) -> None:
        """Add a remark."""
        self.note(name, State.REMARK, seen, *troubles)

    def not_tried(self, why: str, *names: CheckName) -> None:
        """Add checks that were not tried, for one reason."""
        for name in names:
            self.note(name, State.NOT_TRIED, why)


@dataclass(frozen=True)
class CheckReport:
    """All checks of one check-up."""

    study: str
    trunk: str
    target: str
    checks: Sequence[Check]
    is_reached: bool = True
    """At least one edge took a TCP connection."""

    @property
    def broken(self) -> tuple[Check, ...]:
        """Return what does not hold."""
        return tuple(check for check in self.checks if check.state is State.BROKEN)

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        states = [check.state for check in self.checks]
        return {
            "study": self.study,
            "trunk": self.trunk,
            "target": self.target,
            "reached": self.is_reached,
            "counts": {state: states.count(state) for state in State},
            "checks": [check.to_json() for check in self.checks],
        }
