"""Judge one comparison.json by the criteria that a run must keep to count as proof.

One code judges a single validation and the cells of the suite. It judges saved values, so an old run can be judged
again. It measures nothing and explains nothing.

On a trunk that somebody else runs, its programs cannot be metered, and what far ends do and when they ring is an
expectation. There `far_ends` is judged instead of `peak`, `srd` and `cpu`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from trunkproof.experiments.common.formatting import formatted
from trunkproof.loadgen.stacks.registry import is_ours

AGREEMENT_MIN, FOREIGN_AGREEMENT_MIN = 0.99, 0.98
"""With less agreement, prediction and reality differ: on the embedded trunk, which has the model's own limits, and on
all others."""
REFUSED_WITHIN = 0.01
PEAK_WITHIN, PEAK_AT_LEAST = 0.03, 1.0
SRD_WITHIN, SRD_AT_LEAST_MS = 0.15, 5.0
STALL_WITHIN_S = 1.0
CPU_WITHIN = 0.15
FAR_ENDS_WITHIN, FAR_ENDS_AT_LEAST, FAR_ENDS_AT_MOST = 0.05, 1.5, 0.5
"""The bounds. For far ends: the share of a kind's calls that end otherwise, or so many of them, and never
more than half. Other shares are of the
predicted value, and for CPU of the measured value.

The bound for CPU is what the best published model of a SIP server claims (Shen, Nahum, Schulzrinne, Wright, "The Impact
of TLS on SIP Server Performance", 2010).
"""
_ROUNDING = 1e-9
"""Differences of decimal fractions have errors of about 1e-16. They must not decide."""

BOUNDS = {
    "agreement": "at least 98 % of attempts end as predicted, on the embedded trunk 99 %",
    "refused": "share of attempts refused within 1 point",
    "peak": "calls at once, at the peak, within 3 % or 1 call",
    "srd": "session request delay, 95 %, within 15 % or 5 ms",
    "cpu": "CPU of the stack's programs within 15 %",
    "srtp": "every SRTP packet received is authentic, and some were received",
    "stall": "the trunk answers nobody for at most 1 s longer than predicted",
    "far_ends": "of each kind of far end, at most 5 % of the calls, or one, end otherwise than predicted",
}
"""Every criterion, in words, in the order of the table."""
HOME = ("agreement", "refused", "peak", "srd", "cpu", "srtp", "stall")
ABROAD = ("agreement", "refused", "srtp", "stall", "far_ends")
"""What is judged of a run on a stack of ours, and on a trunk that somebody else runs."""
NOT_OF_THE_TRUNK = frozenset({"cpu"})
"""What says how well a calibration fits this machine, and nothing about how the trunk treats calls."""
MADE_BY_DELAY = frozenset({"peak", "srd", "srtp", "stall"})
"""What a load generator that was late may have missed by itself."""
OF_THE_THROTTLE = frozenset({"agreement", "refused"})
"""What calls that were sent late may have missed, if the throttle decided as described when they came."""
TITLES = {
    "agreement": "agreement",
    "refused": "refused",
    "peak": "peak calls",
    "srd": "SRD p95",
    "cpu": "CPU",
    "srtp": "SRTP authentic",
    "stall": "longest stall",
    "far_ends": "far ends",
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
    """Judge the content of one comparison.json by every criterion of `HOME` or `ABROAD`. A missing figure misses.

    Figures that files of older versions do not have are not judged.
    """
    kpis = saved["kpis"]
    judges: dict[str, Callable[[], Criterion | None]] = {
        "agreement": lambda: _agreement(saved),
        "refused": lambda: _pair("refused", kpis["refused_share"], lambda predicted: REFUSED_WITHIN),
        "peak": lambda: _pair(
            "peak", kpis["peak_concurrency"], lambda predicted: max(PEAK_AT_LEAST, PEAK_WITHIN * predicted)
        ),
        "srd": lambda: _pair("srd", kpis["srd_p95_ms"], lambda predicted: max(SRD_AT_LEAST_MS, SRD_WITHIN * predicted)),
        "cpu": lambda: _cpu(saved["cpu"]),
        "srtp": lambda: _srtp(saved["srtp"], is_expected=saved.get("audio_expected", True)),
        "stall": lambda: _stall(saved),
        "far_ends": lambda: _far_ends(saved["far_ends"]),
    }
    found = (judges[name]() for name in (ABROAD if saved.get("abroad") else HOME))
    return tuple(criterion for criterion in found if criterion is not None)


def _agreement(saved: Mapping[str, Any]) -> Criterion:
    agreement, attempts = float(saved["agreement"]), int(saved["attempts"])
    is_own = is_ours(saved["stack"]) and not saved.get("abroad")
    difference, allowance = 1 - agreement, 1 - (AGREEMENT_MIN if is_own else FOREIGN_AGREEMENT_MIN)
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


def _srtp(heard: Mapping[str, int], *, is_expected: bool) -> Criterion:
    received, authentic = heard["received"], heard["authenticated"]
    # Without a single packet there is no proof of SRTP either, unless no call should have had audio.
    holds = received == authentic and (received > 0 or not is_expected)
    words = f"{authentic:,} of {received:,}"
    return Criterion("srtp", received, authentic, authentic - received, 0.0, holds, words)


def _stall(saved: Mapping[str, Any]) -> Criterion | None:
    if "stall_s" not in saved:
        return None
    predicted, measured = saved["stall_s"]["predicted"], saved["stall_s"]["measured"]
    allowance = STALL_WITHIN_S + saved["generator"]["lateness_max_ms"] / 1000
    if saved.get("abroad"):
        # How long a carrier takes to ring is no more than an expectation there.
        slower_ms = saved["kpis"]["srd_p50_ms"]["difference"] or 0.0
        allowance += max(0.0, slower_ms / 1000)
    difference = measured - predicted
    words = f"{predicted:.2f} / {measured:.2f} s"
    # Shorter than predicted is no fault.
    return Criterion("stall", predicted, measured, difference, allowance, difference <= allowance, words)


def _far_ends(kinds: Sequence[Mapping[str, Any]]) -> Criterion:
    """Judge the kind of far end whose calls ended least as predicted."""
    judged = [(_distance(one), _far_end_allowance(one), one) for one in kinds]
    if not judged:
        return Criterion("far_ends", None, None, 0.0, FAR_ENDS_WITHIN, holds=True, words="none")
    distance, allowance, worst = max(judged, key=lambda each: each[0] - each[1])
    words = f"{formatted(distance, 'share')} of the calls to {worst['far_end']} end otherwise"
    holds = distance <= allowance + _ROUNDING
    return Criterion("far_ends", 0.0, distance, distance, allowance, holds, words)


def _far_end_allowance(kind: Mapping[str, Any]) -> float:
    counts = [int(sum(kind[side]["dispositions"].values())) for side in ("predicted", "measured")]
    calls = min((count for count in counts if count), default=1)
    return min(FAR_ENDS_AT_MOST, max(FAR_ENDS_WITHIN, FAR_ENDS_AT_LEAST / calls))


def _distance(kind: Mapping[str, Any]) -> float:
    """Return the share of calls that would have to end otherwise (total variation) to make both sides equal."""
    sides = [kind[side]["dispositions"] for side in ("predicted", "measured")]
    totals = [sum(side.values()) for side in sides]
    if not all(totals):
        return float(any(totals))
    ends = sorted({*sides[0], *sides[1]})
    shares = [[side.get(end, 0) / total for end in ends] for side, total in zip(sides, totals, strict=True)]
    return float(sum(abs(first - second) for first, second in zip(*shares, strict=True))) / 2
