"""Records -> key performance indicators, by the definitions of RFC 6076 and ITU-T E.411/E.425.

One piece of code for both halves. It reads the record table in one go or in batches, and keeps counts, histograms and
occupancies only, so that a day of calls needs no day of memory. A ratio whose denominator is zero is `None` (n/a).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from models.histogram import LogHistogram
from models.occupancy import Occupancy
from models.records import NOT_DELIVERED, REFUSED_BY_TRUNK, Disposition


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
_EFFECTIVE = (480, 486, 600, 603)
_INEFFECTIVE = (408, 500, 503, 504)
_DELAYS = {
    "srd": ("sent_s", "ringing_s"),
    "srd_intended": ("intended_s", "ringing_s"),
    "answer_delay": ("sent_s", "answered_s"),
    "answer_delay_intended": ("intended_s", "answered_s"),
    "sdd": ("bye_s", "ended_s"),
}


@dataclass(frozen=True)
class Kpis:
    """Indicator name -> value, and the count of every disposition."""

    values: Mapping[str, float | None]
    dispositions: Mapping[Disposition, int]

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
        if records.height:
            self._count(records)
            self._measure(records)
            self._span = (
                min(self._span[0], _number(records["intended_s"].min())),
                max(self._span[1], _number(records["ended_s"].max(), -math.inf)),
            )
        self._occupy(records, complete_until_s)

    def _count(self, records: pl.DataFrame) -> None:
        for name, count in records["disposition"].value_counts().iter_rows():
            self._dispositions[Disposition(name)] += count
        for status, count in records["status"].drop_nulls().value_counts().iter_rows():
            self._statuses[status] = self._statuses.get(status, 0) + count
        given_up = records.filter(~pl.col("redialled"))["disposition"].cast(pl.String)
        self._sums["calls"] += int(records["attempt"].eq(0).sum())
        self._sums["invites"] += records.height - records["sent_s"].null_count()
        self._sums["answered"] += records.height - records["answered_s"].null_count()
        self._sums["lost"] += int(given_up.is_in([kind.value for kind in NOT_DELIVERED]).sum())
        for name in ("rtp_received", "rtp_lost", "rtp_late"):
            self._sums[name] += int(records[name].sum())

    def _measure(self, records: pl.DataFrame) -> None:
        # A call that is answered without ringing has its first response in the 200.
        records = records.with_columns(pl.col("ringing_s").fill_null(pl.col("answered_s")))
        for name, (start, end) in _DELAYS.items():
            milliseconds = ((records[end] - records[start]) * 1000).drop_nulls()
            self._histograms[name].add(milliseconds.to_numpy())
        self._histograms["jitter"].add(records["jitter_ms"].drop_nulls().to_numpy())
        self._histograms["mos"].add(records["mos"].drop_nulls().to_numpy())

    def _occupy(self, records: pl.DataFrame, complete_until_s: float) -> None:
        ended = records.filter(pl.col("ended_s").is_not_null())
        up = ended.filter(pl.col("answered_s").is_not_null())
        held = ended.filter(pl.col("ports") > 0)
        ones, pairs = np.ones(held.height), held["ports"].cast(pl.Float64).to_numpy()
        call_end = up.select(pl.coalesce("bye_s", "ended_s")).to_series().to_numpy()
        self._calls.add(up["answered_s"].to_numpy(), call_end, np.ones(up.height), complete_until_s=complete_until_s)
        start, end = held["sent_s"].fill_null(strategy="zero").to_numpy(), held["ended_s"].to_numpy()
        self._channels.add(start, end, ones, complete_until_s=complete_until_s)
        self._ports.add(start, end, pairs, complete_until_s=complete_until_s)

    def result(self) -> Kpis:
        """The indicators of all batches so far."""
        attempts = sum(self._dispositions.values())
        values = {"attempts": float(attempts), "calls": float(self._sums["calls"])}
        shares = self._attempt_shares(attempts) | self._session_ratios() | self._media()
        measured = {name: values.get(name, shares.get(name)) for name in DEFINITIONS}
        return Kpis(measured | self._delays() | self._concurrency(), dict(self._dispositions))

    def _attempt_shares(self, attempts: int) -> dict[str, float | None]:
        counts, answered = self._dispositions, self._sums["answered"]
        effective = answered + sum(counts[kind] for kind in _ANSWERED_OR_RINGING)
        return {
            "refused_share": _ratio(sum(counts[kind] for kind in REFUSED_BY_TRUNK), attempts),
            "throttled_share": _ratio(counts[Disposition.THROTTLED], attempts),
            "customers_lost_share": _ratio(self._sums["lost"], self._sums["calls"]),
            "asr": _ratio(answered, attempts),
            "ner": _ratio(effective, attempts),
        }

    def _session_ratios(self) -> dict[str, float | None]:
        invites, answered = self._sums["invites"], self._sums["answered"]
        redirected = sum(count for status, count in self._statuses.items() if 300 <= status < 400)
        effective = answered + sum(self._statuses.get(status, 0) for status in _EFFECTIVE)
        return {
            "ser": _ratio(answered, invites - redirected),
            "seer": _ratio(effective, invites - redirected),
            "isa": _ratio(sum(self._statuses.get(status, 0) for status in _INEFFECTIVE), invites),
            "scr": _ratio(self._dispositions[Disposition.COMPLETED], invites),
        }

    def _media(self) -> dict[str, float | None]:
        received, lost = self._sums["rtp_received"], self._sums["rtp_lost"]
        return {
            "rtp_lost_share": _ratio(lost, received + lost),
            "rtp_late_share": _ratio(self._sums["rtp_late"], received),
            "jitter_p95_ms": self._histograms["jitter"].quantile(0.95),
            "mos_mean": self._histograms["mos"].mean(),
            "mos_p5": self._histograms["mos"].quantile(0.05),
        }

    def _delays(self) -> dict[str, float | None]:
        names = [name for name in DEFINITIONS if name.endswith(("_p50_ms", "_p95_ms")) and name != "jitter_p95_ms"]
        return {name: self._histograms[name[:-7]].quantile(int(name[-5:-3]) / 100) for name in names}

    def _concurrency(self) -> dict[str, float | None]:
        span = self._span[1] - self._span[0]
        return {
            "peak_concurrency": self._calls.peak,
            "mean_concurrency": self._calls.usage_s / span if span > 0 else None,
            "peak_channels": self._channels.peak,
            "peak_ports": self._ports.peak,
        }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _number(value: object, default: float = math.inf) -> float:
    return float(value) if isinstance(value, int | float) else default
