"""What the tests of foreign stacks share: studies at addresses of their own, and a search for what is left behind."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from trunkproof.loadgen.stacks.asterisk.find import find_asterisk
from trunkproof.models.errors import StackError
from trunkproof.models.study import Study

POP: dict[str, Any] = {
    "address": "127.0.60.1",
    "inner_address": "127.0.60.2",
    "ports": {"low": 24_000, "high": 24_400},
    "carrier": {"address": "127.0.60.3", "setup": 0.05},
}
CUSTOMER = "127.0.60.4"
GONE_WITHIN_S = 5.0
"""What the kernel is asked to end when its starter dies may take a moment."""


def study(
    stack: str = "kamailio",
    *,
    pop: dict[str, Any] | None = None,
    carrier: dict[str, Any] | None = None,
    trunk: dict[str, Any] | None = None,
    duration_s: float = 2,
    **traffic: Any,
) -> Study:
    """Ten calls a second, each of half a second, with no limit to speak of."""
    settings = {
        "arrivals": {"kind": "constant", "rate_per_minute": 600},
        "holding": 0.5,
        "ringing": 0.1,
        "patience": 0.05,
    }
    behind = {"carrier": POP["carrier"] | (carrier or {})}
    base = {"customer_address": CUSTOMER, "throttle": {"policy": "none"}, "traffic": settings | traffic}
    return Study.model_validate(
        {
            "name": "foreign calls",
            "duration_s": duration_s,
            "pop": POP | {"stack": stack} | behind | (pop or {}),
            "trunks": [base | (trunk or {})],
        }
    )


def _left_behind(folder: Path) -> list[str]:
    """Processes started for that folder, and sockets at the addresses of these tests that are not merely waiting."""
    processes = [
        f"{process.pid} {process.info['name']}"
        for process in psutil.process_iter(["name", "cmdline"])
        if str(folder) in " ".join(process.info["cmdline"] or ())
    ]
    addresses = {POP["address"], POP["inner_address"], POP["carrier"]["address"], CUSTOMER}
    sockets = [
        f"{place.laddr.ip}:{place.laddr.port} {place.status}"
        for place in psutil.net_connections("inet")
        if place.laddr and place.laddr.ip in addresses and place.status in {psutil.CONN_LISTEN, psutil.CONN_NONE}
    ]
    return processes + sockets


def assert_nothing_left(folder: Path) -> None:
    """Neither a process, nor a port that something listens on."""
    until = time.monotonic() + GONE_WITHIN_S
    while (left := _left_behind(folder)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left


def asterisk_is_missing() -> str | None:
    """Why there is no Asterisk."""
    try:
        find_asterisk()
    except StackError as missing:
        return str(missing)
    return None


KAMAILIO = pytest.param(
    "kamailio",
    marks=[pytest.mark.requires("kamailio"), pytest.mark.requires("rtpengine", package="rtpengine-daemon")],
)
ASTERISK = pytest.param(
    "asterisk", marks=pytest.mark.skipif(asterisk_is_missing() is not None, reason=asterisk_is_missing() or "")
)


@pytest.fixture(scope="session")
def sipp() -> tuple[str, ...]:
    """The command of a SIPp that speaks TLS and SRTP; Debian 12's own does neither."""
    root = Path(__file__).parents[3] / ".stacks" / "sipp" / "root"
    loader = next(iter(sorted(root.glob("usr/lib/*/ld-linux*.so*"))), None)
    if loader is None:
        pytest.skip("SIPp with TLS and SRTP is missing (.ci/fetch-suite .stacks/sipp sip-tester)")
    return (str(loader), "--library-path", str(loader.parent), str(root / "usr/bin/sipp"))
