"""Records -> key performance indicators, by the definitions of RFC 6076 and ITU-T E.411/E.425.

One piece of code for both halves. It reads the record table in one go or in batches, and keeps counts, histograms and
occupancies only, so that a day of calls needs no day of memory. A ratio whose denominator is zero is `None` (n/a).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from trunkproof.models.arrays import FloatArray
from trunkproof.models.columns import DISPOSITION_CODE, Columns, columns_of
from trunkproof.models.histogram import LogHistogram
from trunkproof.models.occupancy import Occupancy
from trunkproof.models.records import NOT_DELIVERED, REFUSED_BY_TRUNK, Disposition


@dataclass(frozen=True)
class KpiDefinition:
    """What an indicator is called, measured in, and defined by."""

    title: str
    unit: str
    definition: str


DEFINITIONS: dict[str, KpiDefinition] = {
    "attempts": KpiDefinition("Attempts", "1", "INVITEs offered, redials included"),
    "calls": KpiDefinition("Callers", "1", "first attempts"),
    "refused_share": KpiDefinition(
        "Attempts refused", "share", "throttled, not whitelisted, no channel or no port, per attempt"
    ),
    "throttled_share": KpiDefinition("Attempts throttled", "share", "refused by the calls-per-minute limit"),
    "customers_lost_share": KpiDefinition(
        "Customers lost", "share", "callers who gave up without having reached the called side"
    ),
    "asr": KpiDefinition("ASR", "share", "answered per attempt (E.411)"),
    "ner": KpiDefinition("NER", "share", "answered, busy, no answer and abandoned while ringing, per attempt (E.425)"),
    "ser": KpiDefinition("SER", "share", "200 per INVITE, 3xx left out (RFC 6076 4.6)"),
    "seer": KpiDefinition("SEER", "share", "200, 480, 486, 600, 603 per INVITE, 3xx left out (RFC 6076 4.7)"),
    "isa": KpiDefinition("ISA", "share", "408, 500, 503, 504 per INVITE (RFC 6076 4.8)"),
    "scr": KpiDefinition("SCR", "share", "sessions completed per INVITE (RFC 6076 4.9)"),
    "srd_p50_ms": KpiDefinition("SRD, median", "ms", "INVITE sent to first ringing or 200 (RFC 6076 4.3.1)"),
    "srd_p95_ms": KpiDefinition("SRD, 95 %", "ms", "as above"),
    "srd_intended_p95_ms": KpiDefinition("SRD from the intended instant, 95 %", "ms", "no coordinated omission"),
    "answer_delay_p50_ms": KpiDefinition("Answer delay, median", "ms", "INVITE sent to 200"),
    "answer_delay_p95_ms": KpiDefinition("Answer delay, 95 %", "ms", "as above"),
    "answer_delay_intended_p95_ms": KpiDefinition("Answer delay from the intended instant, 95 %", "ms", "as above"),
    "sdd_p95_ms": KpiDefinition("SDD, 95 %", "ms", "BYE to its response (RFC 6076 4.4)"),
    "peak_concurrency": KpiDefinition("Calls at once, peak", "1", "answered and not yet ended"),
    "mean_concurrency": KpiDefinition("Calls at once, mean", "Erlang", "over the whole run, drain included"),
    "peak_channels": KpiDefinition(
        "Channels in use, peak",
        "1",
        "admitted and not yet released, as the caller sees it: a round trip more than the trunk",
    ),
    "peak_ports": KpiDefinition("Port pairs in use, peak", "1", "taken from the pool, quarantine left out"),
    "rtp_lost_share": KpiDefinition("Packets lost", "share", "lost per expected (RFC 3550 A.3)"),
    "rtp_late_share": KpiDefinition("Packets late", "share", "received after their playout instant"),
    "jitter_p95_ms": KpiDefinition("Jitter, 95 % of calls", "ms", "RFC 3550 A.8"),
    "mos_mean": KpiDefinition("MOS, mean", "MOS", "ITU-T G.107 after the modelled jitter buffer"),
    "mos_p5": KpiDefinition("MOS, worst 5 % of calls", "MOS", "as above"),
}
"""Every indicator that `Kpis.values` holds, in the order of the page."""

_ANSWERED_OR_RINGING = {Disposition.BUSY, Disposition.NO_ANSWER, Disposition.ABANDONED}
_NOT_DELIVERED = np.array([kind in NOT_DELIVERED for kind in Disposition])
_EFFECTIVE = (480, 486, 600, 603)
_INEFFECTIVE = (408, 500, 503, 504)
_DELAYS = {
    "srd": ("sent_s", "ringing_s"),
    "srd_intended": ("intended_s", "ringing_s"),
    "answer_delay": ("sent_s", "answered_s"),
    "answer_delay_intended": ("intended_s", "answered_s"),
    "sdd": ("bye_s", "ended_s"),
}


_Ratio = tuple[float, float]
"""Numerator and denominator."""


@dataclass(frozen=True)
class Kpis:
    """Indicator name -> value, and the count of every disposition."""

    values: Mapping[str, float | None]
    dispositions: Mapping[Disposition, int]
    weights: Mapping[str, float] = field(default_factory=dict)
    """Indicator that is a ratio -> its denominator, such as attempts: what it weighs where several runs are averaged.
    Counts, peaks and quantiles have none.
    """

    def __getitem__(self, name: str) -> float | None:
        return self.values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __repr__(self) -> str:
        shown = ("attempts", "refused_share", "customers_lost_share", "srd_p95_ms", "peak_concurrency", "mos_p5")
        return "<Kpis " + ", ".join(f"{name}={_short(self.values[name])}" for name in shown) + ">"


def _short(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4g}"


def compute_kpis(records: pl.DataFrame) -> Kpis:
    """Indicators of a whole record table."""
    accumulator = KpiAccumulator()
    accumulator.add(records, complete_until_s=math.inf)
    return accumulator.result()


class KpiAccumulator:
    """Indicators of a record table that comes in batches."""

    def __init__(self) -> None:
        self._dispositions = dict.fromkeys(Disposition, 0)
        self._statuses: dict[int, int] = {}
        self._sums = dict.fromkeys(("calls", "invites", "answered", "lost", "rtp_received", "rtp_lost", "rtp_late"), 0)
        self._histograms = {name: LogHistogram() for name in (*_DELAYS, "jitter", "mos")}
        self._calls, self._channels, self._ports = Occupancy(), Occupancy(), Occupancy()
        self._span = (math.inf, -math.inf)

    def add(self, records: pl.DataFrame, complete_until_s: float) -> None:
        """Add a batch; every attempt intended before `complete_until_s` has then been added."""
        self.add_columns(columns_of(records), complete_until_s)

    def add_columns(self, records: Columns, complete_until_s: float) -> None:
        """As `add`."""
        if len(records):
            self._count(records)
            self._measure(records)
            ended_s = records.ended_s[~np.isnan(records.ended_s)]
            self._span = (
                min(self._span[0], float(records.intended_s.min())),
                max(self._span[1], float(ended_s.max(initial=-math.inf))),
            )
        self._occupy(records, complete_until_s)

    def _count(self, records: Columns) -> None:
        counts = np.bincount(records.disposition, minlength=len(Disposition))
        for kind, code in DISPOSITION_CODE.items():
            self._dispositions[kind] += int(counts[code])
        by_status = np.bincount(records.status + 1)
        for status in np.flatnonzero(by_status[1:]):
            self._statuses[int(status)] = self._statuses.get(int(status), 0) + int(by_status[status + 1])
        given_up = ~records.redialled & _NOT_DELIVERED[records.disposition]
        self._sums["calls"] += int(np.count_nonzero(records.attempt == 0))
        self._sums["invites"] += int(np.count_nonzero(~np.isnan(records.sent_s)))
        self._sums["answered"] += int(np.count_nonzero(~np.isnan(records.answered_s)))
        self._sums["lost"] += int(np.count_nonzero(given_up))
        for name in ("rtp_received", "rtp_lost", "rtp_late"):
            self._sums[name] += int(getattr(records, name).sum())

    def _measure(self, records: Columns) -> None:
        # A call that is answered without ringing has its first response in the 200.
        first = np.where(np.isnan(records.ringing_s), records.answered_s, records.ringing_s)
        for name, (start, end) in _DELAYS.items():
            until_s = first if end == "ringing_s" else getattr(records, end)
            self._histograms[name].add(_known((until_s - getattr(records, start)) * 1000))
        self._histograms["jitter"].add(_known(records.jitter_ms))
        self._histograms["mos"].add(_known(records.mos))

    def _occupy(self, records: Columns, complete_until_s: float) -> None:
        ended = ~np.isnan(records.ended_s)
        up, held = ended & ~np.isnan(records.answered_s), ended & (records.ports > 0)
        call_end = np.where(np.isnan(records.bye_s), records.ended_s, records.bye_s)[up]
        ones, pairs = np.ones(np.count_nonzero(held)), records.ports[held].astype(np.float64)
        self._calls.add(records.answered_s[up], call_end, np.ones(len(call_end)), complete_until_s=complete_until_s)
        start, end = np.nan_to_num(records.sent_s[held], nan=0.0), records.ended_s[held]
        self._channels.add(start, end, ones, complete_until_s=complete_until_s)
        self._ports.add(start, end, pairs, complete_until_s=complete_until_s)

    def result(self) -> Kpis:
        """The indicators of all batches so far."""
        attempts = sum(self._dispositions.values())
        counted = {"attempts": float(attempts), "calls": float(self._sums["calls"])}
        ratios = self._attempt_shares(attempts) | self._session_ratios() | self._means()
        others = counted | self._quantiles() | self._peaks()
        values = {name: _ratio(*ratios[name]) if name in ratios else others[name] for name in DEFINITIONS}
        weights = {name: float(whole) for name, (_, whole) in ratios.items()}
        return Kpis(values, dict(self._dispositions), weights)

    def _attempt_shares(self, attempts: int) -> dict[str, _Ratio]:
        counts, answered = self._dispositions, self._sums["answered"]
        effective = answered + sum(counts[kind] for kind in _ANSWERED_OR_RINGING)
        return {
            "refused_share": (sum(counts[kind] for kind in REFUSED_BY_TRUNK), attempts),
            "throttled_share": (counts[Disposition.THROTTLED], attempts),
            "customers_lost_share": (self._sums["lost"], self._sums["calls"]),
            "asr": (answered, attempts),
            "ner": (effective, attempts),
        }

    def _session_ratios(self) -> dict[str, _Ratio]:
        invites, answered = self._sums["invites"], self._sums["answered"]
        redirected = sum(count for status, count in self._statuses.items() if 300 <= status < 400)
        effective = answered + sum(self._statuses.get(status, 0) for status in _EFFECTIVE)
        return {
            "ser": (answered, invites - redirected),
            "seer": (effective, invites - redirected),
            "isa": (sum(self._statuses.get(status, 0) for status in _INEFFECTIVE), invites),
            "scr": (self._dispositions[Disposition.COMPLETED], invites),
        }

    def _means(self) -> dict[str, _Ratio]:
        received, lost = self._sums["rtp_received"], self._sums["rtp_lost"]
        scores, span_s = self._histograms["mos"], self._span[1] - self._span[0]
        return {
            "rtp_lost_share": (lost, received + lost),
            "rtp_late_share": (self._sums["rtp_late"], received),
            "mos_mean": (scores.total, scores.count),
            "mean_concurrency": (self._calls.usage_s, max(0.0, span_s)),
        }

    def _quantiles(self) -> dict[str, float | None]:
        names = [name for name in DEFINITIONS if name.endswith(("_p50_ms", "_p95_ms"))]
        found = {name: self._histograms[name[:-7]].quantile(int(name[-5:-3]) / 100) for name in names}
        return found | {"mos_p5": self._histograms["mos"].quantile(0.05)}

    def _peaks(self) -> dict[str, float | None]:
        return {
            "peak_concurrency": self._calls.peak,
            "peak_channels": self._channels.peak,
            "peak_ports": self._ports.peak,
        }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _known(values: FloatArray) -> FloatArray:
    found: FloatArray = values[~np.isnan(values)]
    return found
