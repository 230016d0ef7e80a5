"""What a scenario is: a script for an odd peer, and the right result of the call that it is played to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.odd.peer import Call, Script

CALLED: dict[str, Scenario] = {}
"""Scripts of called peers, by name: the odd trunk, and the odd telephone that our trunk calls."""
CALLERS: dict[str, Scenario] = {}
"""Scripts of callers: the odd telephones that dial our trunk."""


@dataclass(frozen=True)
class Right:
    """The right result. Fields that are None are not looked at; `says` are words that the reason must have."""

    disposition: str = "completed"
    says: tuple[str, ...] = ()
    status: int | None = 200
    is_heard: bool = True
    """All of the peer's audio came, in time, authentic, and sounds as good as it can."""
    columns: Mapping[str, Any] = field(default_factory=dict)

    def faults(self, record: Mapping[str, Any], call: Call | None) -> list[str]:
        """Everything in which a record differs from what is right."""
        found: list[str] = []

        def check(name: str, is_right: bool, wanted: object) -> None:
            if not is_right:
                found.append(f"{name} is {record.get(name)!r}, not {wanted}")

        check("disposition", record["disposition"] == self.disposition, self.disposition)
        if self.status is not None:
            check("status", record["status"] == self.status, self.status)
        reason = str(record["reason"] or "").lower()
        for word in self.says:
            check("reason", word.lower() in reason, f"with the words {word!r}")
        if self.disposition == "completed" and not self.says:
            check("reason", not reason, "empty")
        if self.is_heard:
            # A call may speak from several sockets.
            late = 0 if call is None else sum(audio.late_sent for audio in call.opened)
            for name in ("rtp_lost", "rtp_failed", "rtp_foreign"):
                check(name, record[name] == 0, 0)
            # What this peer itself was late to send, for want of CPU, proves nothing.
            check("rtp_late", record["rtp_late"] <= late, f"at most {late}")
            check("mos", (record["mos"] or 0) >= 4.3 or late > 0, "at least 4.3")
            check("rtp_received", record["rtp_received"] > 20, "more than 20")
        for name, wanted in self.columns.items():
            check(name, record.get(name) == wanted, wanted)
        return found


HEALTHY = Right()


@dataclass(frozen=True)
class Scenario:
    """One script. `line` chooses the study's customer, and with it how long a call is held."""

    name: str
    script: Script
    right: Right | None
    line: str
    roles: tuple[str, ...]
    run: str
    """`calls`: with all others of its role. `ipv6`: every address is ::1. `tls12`: the peer knows no newer version."""
    is_long: bool = False
    """It takes more than 20 s."""


def called(
    right: Right = HEALTHY,
    *,
    line: str = "short",
    roles: tuple[str, ...] = ("trunk", "telephone"),
    run: str = "calls",
    is_long: bool = False,
) -> Callable[[Script], Script]:
    """Declare a script of a called peer."""

    def declare(script: Script) -> Script:
        name = getattr(script, "__name__", "")
        CALLED[name] = Scenario(name, script, right, line, roles, run, is_long)
        return script

    return declare


def caller(*, line: str = "short", run: str = "calls") -> Callable[[Script], Script]:
    """Declare a script of a calling telephone. It says itself what is right: our trunk keeps no record of it."""

    def declare(script: Script) -> Script:
        name = getattr(script, "__name__", "")
        CALLERS[name] = Scenario(name, script, None, line, ("caller",), run)
        return script

    return declare
