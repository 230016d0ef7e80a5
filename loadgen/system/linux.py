"""Say on other systems than Linux that no calls can be placed there, and what can be done instead."""

from __future__ import annotations

import sys

from trunkproof.models.errors import StackError


def require_linux() -> None:
    """Return on Linux, where real calls can be placed and trunks played.

    Raises:
        StackError: this is another system. The message says what works there, and where calls can be placed.
    """
    # Not compared with a literal: type checkers would take all that follows for unreachable.
    system = sys.platform.lower()
    if system != "linux":
        raise StackError(
            f"real calls are placed, and trunks are played, on Linux only, and this system is {system}: use a Linux "
            "machine, WSL 2 or the container (Containerfile); plan, simulate, review, history, report and compare "
            "work here"
        )
