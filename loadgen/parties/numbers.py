"""Make the telephone numbers of callers. They are invented, easy to recognise, and mean nothing to the plan."""

from __future__ import annotations


def exophone(trunk: int) -> str:
    """Return the caller identity under which the customer of that trunk calls out."""
    return f"+9180{trunk:08d}"


def pstn_number(call: int) -> str:
    """Return the number of the PSTN caller of that call."""
    return f"+9190{call % 10**8:08d}"
