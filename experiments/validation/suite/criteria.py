"""Judge one comparison.json by the six criteria that a run must keep to count as proof.

It judges saved values, so an old run can be judged again. It measures nothing and explains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.validation.compare import FOREIGN_AGREEMENT_MIN

REFUSED_WITHIN = 0.01
PEAK_WITHIN, PEAK_AT_LEAST = 0.03, 1.0
SRD_WITHIN, SRD_AT_LEAST_MS = 0.15, 5.0
CPU_WITHIN = 0.15
"""The bounds. Shares are of the predicted value, and for CPU of the measured value.

The bound for CPU is what the best published model of a SIP server claims (Shen, Nahum, Schulzrinne, Wright, "The Impact
of TLS on SIP Server Performance", 2010).
"""
_ROUNDING = 1e-9
"""Differences of decimal fractions have errors of about 1e-16. They must not decide."""

BOUNDS = {
    "agreement": "at least 98 % of attempts end as predicted",
    "refused": "share of attempts refused within 1 point",
    "peak": "calls at once, at the peak, within 3 % or 1 call",
    "srd": "session request delay, 95 %, within 15 % or 5 ms",
    "cpu": "CPU of the stack's programs within 15 %",
    "srtp": "every SRTP packet received is authentic, and some were received",
}
"""Every criterion, in words, in the order of the table."""
TITLES = {
    "agreement": "agreement",
    "refused": "refused",
    "peak": "peak calls",
    "srd": "SRD p95",
    "cpu": "CPU",
    "srtp": "SRTP authentic",
}


@dataclass(frozen=True)
class Criterion:
    """One figure of one run, judged by its bound."""

    name: str
    predicted: float | None
    measured: float | None
    difference: float | None
    """The difference, in the unit of the allowance. None where one side has no figure."""
    allowance: float
    holds: bool
    words: str
    """Both figures in words."""

    @property
    def used(self) -> float | None:
        """Return the share of the allowance that is used. Above 1 the criterion is missed."""
        if self.difference is None:
            return None
        if self.allowance == 0:
            return 0.0 if self.difference == 0 else float("inf")
        return abs(self.difference) / self.allowance

    def __str__(self) -> str:
        return f"{TITLES[self.name]} {self.words}"

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        return cls(**saved)


def judge_criteria(saved: Mapping[str, Any]) -> tuple[Criterion, ...]:
    """Judge the content of one comparison.json by every criterion of `BOUNDS`. A missing figure misses."""
    kpis = saved["kpis"]
    return (
        _agreement(saved),
        _pair("refused", kpis["refused_share"], lambda predicted: REFUSED_WITHIN),
        _pair("peak", kpis["peak_concurrency"], lambda predicted: max(PEAK_AT_LEAST, PEAK_WITHIN * predicted)),
        _pair("srd", kpis["srd_p95_ms"], lambda predicted: max(SRD_AT_LEAST_MS, SRD_WITHIN * predicted)),
        _cpu(saved["cpu"]),
        _srtp(saved["srtp"]),
    )


def _agreement(saved: Mapping[str, Any]) -> Criterion:
    agreement, attempts = float(saved["agreement"]), int(saved["attempts"])
    difference, allowance = 1 - agreement, 1 - FOREIGN_AGREEMENT_MIN
    return Criterion(
        name="agreement",
        predicted=1.0,
        measured=agreement,
        difference=difference,
        allowance=allowance,
        # Without attempts the agreement is 1, but nothing was proven.
        holds=attempts > 0 and difference <= allowance + _ROUNDING,
        words=f"{formatted(agreement, 'share')} of {attempts}",
    )


def _pair(name: str, pair: Mapping[str, Any], allowance_of: Callable[[float], float]) -> Criterion:
    predicted, measured, unit = pair["predicted"], pair["measured"], pair["unit"]
    # Of the predicted value: a bound that grew with the measured one would forgive a bad run.
    allowance = allowance_of(predicted or 0.0)
    if predicted is None or measured is None:
        # No figure on either side, such as a delay without an answered call, is agreement too.
        holds, difference = predicted is measured, None
    else:
        difference = measured - predicted
        holds = abs(difference) <= allowance + _ROUNDING
    words = pair_words(predicted, measured, unit)
    return Criterion(name, predicted, measured, difference, allowance, holds, words)


def pair_words(predicted: float | None, measured: float | None, unit: str) -> str:
    """Return both figures in words, with the unit once."""
    first, second = formatted(predicted, unit), formatted(measured, unit)
    figure, _, mark = first.rpartition(" ")
    return f"{figure} / {second}" if figure and second.endswith(f" {mark}") else f"{first} / {second}"


def _cpu(cpu: Mapping[str, Any] | None) -> Criterion:
    difference = None if cpu is None else cpu["difference_share"]
    if cpu is None or difference is None:
        return Criterion("cpu", None, None, None, CPU_WITHIN, holds=False, words="not metered")
    predicted, measured = cpu["predicted_s"], cpu["measured_s"]
    words = f"{predicted:.2f} / {measured:.2f} s ({round(100 * difference):+d} %)"
    holds = abs(difference) <= CPU_WITHIN + _ROUNDING
    return Criterion("cpu", predicted, measured, difference, CPU_WITHIN, holds, words)


def _srtp(heard: Mapping[str, int]) -> Criterion:
    received, authentic = heard["received"], heard["authenticated"]
    # Without a single packet there is no proof of SRTP either.
    holds = 0 < received == authentic
    words = f"{authentic:,} of {received:,}"
    return Criterion("srtp", received, authentic, authentic - received, 0.0, holds, words)
