"""The time limits of a connection on a manual clock: when it is reset, to the instant, and when it is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.loadgen.scripted import run_manually

from trunkproof.loadgen.parties.deadline import MessageDeadline
from trunkproof.loadgen.tls.limiter import Limit, PeerLimits


class Line:
    """A connection that notes when it was reset."""

    def __init__(self) -> None:
        self.notes: list[tuple[float, str]] = []

    def abort(self, reason: str) -> None:
        self.notes.append((round(asyncio.get_running_loop().time(), 6), reason))


def reset_at(
    *received: tuple[float, bool, bool], message_s: float = 5.0, idle_s: float | None = 30.0, gone_at_s: float = 100.0
) -> list[tuple[float, str]]:
    """When and why a connection was reset that received bytes so: instant, in a message, completed one."""
    limits = PeerLimits(
        connections=1,
        all_connections=1,
        half_open=1,
        all_half_open=1,
        handshake_s=1.0,
        message_s=message_s,
        idle_s=idle_s,
    )
    reached: list[Limit] = []

    async def run() -> list[tuple[float, str]]:
        loop, line = asyncio.get_running_loop(), Line()
        deadline = MessageDeadline(line, limits, reached.append)  # type: ignore[arg-type]
        for at_s, in_message, completed in received:
            loop.call_at(at_s, lambda a=in_message, b=completed: deadline.received(in_message=a, completed=b))
        loop.call_at(gone_at_s, deadline.cancel)
        await asyncio.sleep(200.0)
        assert [reason for _, reason in line.notes] == reached
        return line.notes

    return run_manually(run())


@pytest.mark.parametrize(
    ("received", "settings", "expected"),
    [
        ((), {}, [(30.0, Limit.IDLE_TIME)]),
        ((), {"idle_s": None}, []),
        ([(1.0, True, False)], {}, [(6.0, Limit.MESSAGE_TIME)]),
        # Byte after byte of one message: the first one counts.
        ([(1.0 + n, True, False) for n in range(9)], {"gone_at_s": 9.5}, [(6.0, Limit.MESSAGE_TIME)]),
        # The last byte in time. Then it is quiet.
        ([(1.0, True, False), (5.9, False, True)], {}, [(35.9, Limit.IDLE_TIME)]),
        # Each piece ends a message and begins the next one.
        ([(float(n), True, True) for n in range(1, 9)], {"gone_at_s": 10.0}, []),
        ([(1.0, True, False)], {"gone_at_s": 2.0}, []),
    ],
)
def test_a_connection_is_reset_when_its_time_is_over(
    received: list[tuple[float, bool, bool]], settings: dict[str, Any], expected: list[tuple[float, str]]
) -> None:
    found = reset_at(*received, **settings)
    assert found[: len(expected)] == expected
    assert bool(found) == bool(expected)
