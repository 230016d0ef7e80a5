"""Telephone numbers that calls carry beside the dialled one: made up, recognisable, and of no meaning to the plan."""

from __future__ import annotations


def exophone(trunk: int) -> str:
    """The number under which a customer calls out: its caller identity, one for each trunk."""
    return f"+9180{trunk:08d}"


def pstn_number(call: int) -> str:
    """The number of somebody in the PSTN who calls a customer."""
    return f"+9190{call % 10**8:08d}"
