"""How numbers are written for people, on the terminal and on the page."""

from __future__ import annotations


def formatted(value: float | None, unit: str, *, signed: bool = False) -> str:
    """A KPI's value with its unit; `n/a` where there is none."""
    if value is None:
        return "n/a"
    sign = "+" if signed else ""
    if unit == "share":
        return f"{100 * value:{sign}.2f} %"
    if unit == "1":
        return f"{value:{sign},.0f}"
    return f"{value:{sign}.2f}" if unit == "MOS" else f"{value:{sign}.1f} {unit}"
