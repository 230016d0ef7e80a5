"""Write numbers and costs for people, on the terminal and on pages."""

from __future__ import annotations

from trunkproof.models.costs import CostName

COST_WORDS: dict[CostName, str] = {
    "full_handshake_s": "new connections, full handshakes",
    "resumed_handshake_s": "resumed TLS handshakes",
    "invite_s": "INVITEs handed on",
    "refusal_s": "INVITEs refused",
    "bye_s": "answers and BYEs",
    "packet_s": "SRTP packets",
    "contended_packet_s": "SRTP packets where CPU is contended",
    "contended_work_share": "signalling where CPU is contended",
    "idle_penalty": "idle penalty",
    "idle_penalty_decay_load": "load at which the idle penalty has decayed to 37 %",
    "idle_share": "idling",
    "round_trip_s": "round trip",
    "throttle_decision_s": "wait for the throttle's decision",
}
"""Cost -> its name for readers."""


def formatted(value: float | None, unit: str, *, signed: bool = False) -> str:
    """Return a KPI's value with its unit, or `n/a` for None."""
    if value is None:
        return "n/a"
    sign = "+" if signed else ""
    if unit == "share":
        return f"{100 * value:{sign}.2f} %"
    if unit == "1":
        return f"{value:{sign},.0f}"
    return f"{value:{sign}.2f}" if unit == "MOS" else f"{value:{sign}.1f} {unit}"
