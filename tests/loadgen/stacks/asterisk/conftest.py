"""A study that Asterisk can play, and the Asterisk: where there is none, what needs it is skipped with the reason.

Addresses are of these tests alone, so that they run beside others that play a PoP.
"""

from __future__ import annotations

from typing import Any

import pytest

from trunkproof.loadgen.stacks.asterisk.find import Installation, find_asterisk
from trunkproof.models.errors import StackError
from trunkproof.models.study import Study

POP: dict[str, Any] = {
    "stack": "asterisk",
    "address": "127.0.51.1",
    "inner_address": "127.0.51.2",
    "ports": {"low": 30_000, "high": 31_000},
    "carrier": {"setup": 0.03, "address": "127.0.51.3"},
}
CUSTOMER = "127.0.50.1"


def study(
    pop: dict[str, Any] | None = None, trunk: dict[str, Any] | None = None, *, duration_s: float = 2, **traffic: Any
) -> Study:
    """Ten calls a second, each of half a second, with no limit to speak of."""
    settings = {
        "arrivals": {"kind": "constant", "rate_per_minute": 600},
        "holding": 0.5,
        "ringing": 0.1,
        "patience": 0.05,
    }
    base = {"customer_address": CUSTOMER, "throttle": {"policy": "none"}, "traffic": settings | traffic}
    return Study.model_validate(
        {"name": "t", "duration_s": duration_s, "pop": POP | (pop or {}), "trunks": [base | (trunk or {})]}
    )


@pytest.fixture(scope="session")
def asterisk() -> Installation:
    try:
        return find_asterisk()
    except StackError as missing:
        pytest.skip(str(missing))
