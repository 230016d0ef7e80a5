"""Records -> key performance indicators, by the definitions of RFC 6076 and ITU-T E.411/E.425.

One piece of code for both halves. An indicator is one entry of `DEFINITIONS`: it says what is read from the records and
how that is reduced to one number. Tables, pages, JSON and repetitions show all entries, and decide nothing by a name.

    sources      `Total` (adds up over attempts), `Values` (one per attempt), `Held` (something in use for a while)
    reductions   `Count` and `Share` of totals, `Mean` and `Quantile` of values, `Peak` and `TimeMean` of what is held

Records may come in one table or in batches. Only sums, histograms and occupancies are kept, so that a day of calls
needs no day of memory. A ratio whose denominator is zero is `None` (n/a).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import polars as pl

from trunkproof.models.arrays import BoolArray, FloatArray
from trunkproof.models.columns import DISPOSITION_CODE, Columns, columns_of
from trunkproof.models.histogram import LogHistogram
from trunkproof.models.html import html_table
from trunkproof.models.occupancy import Occupancy
from trunkproof.models.records import NOT_DELIVERED, REFUSED_BY_TRUNK, Disposition


@dataclass(frozen=True)
class Total:
    """A number that adds up over attempts, such as how many were answered."""

    of: Callable[[Columns], float]
    is_of_attempts: bool = False
    """Each attempt adds one or nothing. So it is known how much an attempt under way may still add."""


@dataclass(frozen=True)
class Values:
    """One value for each attempt that has it; NaN for the others."""

    of: Callable[[Columns], FloatArray]


@dataclass(frozen=True)
class Held:
    """Something that attempts use for a while: beginnings, ends and amounts."""

    of: Callable[[Columns], tuple[FloatArray, FloatArray, FloatArray]]


@dataclass(frozen=True)
class Count:
    """A total itself."""

    total: Total


@dataclass(frozen=True)
class Share:
    """One total over another."""

    part: Total
    whole: Total


@dataclass(frozen=True)
class Mean:
    """The arithmetic mean of values."""

    values: Values


@dataclass(frozen=True)
class Quantile:
    """The value that a share `q` of the values does not exceed."""

    values: Values
    q: float


@dataclass(frozen=True)
class Peak:
    """The most that was in use at once."""

    held: Held


@dataclass(frozen=True)
class TimeMean:
    """What was in use on average over the whole run."""

    held: Held


Source = Total | Values | Held
Reduction = Count | Share | Mean | Quantile | Peak | TimeMean


class Better(StrEnum):
    """Which way an indicator improves."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"
    """It describes the load."""


@dataclass(frozen=True)
class KpiDefinition:
    """What an indicator is called, measured in, and defined by."""

    title: str
    unit: str
    """`share`, `1` for a count, `ms`, `Erlang` or `MOS`."""
    definition: str
    reduction: Reduction
    better: Better


def _attempts_that(meet: Callable[[Columns], BoolArray]) -> Total:
    return Total(lambda records: int(np.count_nonzero(meet(records))), is_of_attempts=True)


def _dispositions(*kinds: Disposition) -> Total:
    # A table by code: one look-up for each attempt, however many kinds are asked for.
    chosen = np.array([kind in kinds for kind in Disposition])
    return _attempts_that(lambda records: chosen[records.disposition])


def _final_status(*statuses: int) -> Total:
    return _attempts_that(lambda records: np.isin(records.status, statuses))


def _sum(*totals: Total) -> Total:
    return Total(lambda records: sum(total.of(records) for total in totals))


def _delay_ms(start: Callable[[Columns], FloatArray], end: Callable[[Columns], FloatArray]) -> Values:
    return Values(lambda records: (end(records) - start(records)) * 1000)


def _calls_up(records: Columns) -> tuple[FloatArray, FloatArray, FloatArray]:
    # An attempt that is still up has no end yet, and would hold its call for ever.
    up = ~np.isnan(records.ended_s) & ~np.isnan(records.answered_s)
    return records.answered_s[up], records.hung_up_s[up], np.ones(np.count_nonzero(up))


def _admitted(records: Columns) -> tuple[FloatArray, FloatArray, FloatArray]:
    held = ~np.isnan(records.ended_s) & (records.ports > 0)
    start_s = np.nan_to_num(records.sent_s[held], nan=0.0)
    return start_s, records.ended_s[held], records.ports[held].astype(np.float64)


def _channels(records: Columns) -> tuple[FloatArray, FloatArray, FloatArray]:
    start_s, end_s, ports = _admitted(records)
    return start_s, end_s, np.ones(len(ports))


_ATTEMPTS = Total(len, is_of_attempts=True)
_CALLS = _attempts_that(lambda records: records.is_first)
_INVITES = _attempts_that(lambda records: ~np.isnan(records.sent_s))
_ANSWERED = _attempts_that(lambda records: ~np.isnan(records.answered_s))
_FAILED = np.array(
    [kind in {Disposition.MEDIA_FAILED, Disposition.DROPPED, Disposition.CONNECTION_FAILED} for kind in Disposition]
)
_ANSWERED_AND_FAILED = _attempts_that(lambda records: ~np.isnan(records.answered_s) & _FAILED[records.disposition])
_UNDELIVERED = np.array([kind in NOT_DELIVERED for kind in Disposition])
# A caller is lost with the last attempt. An attempt that was redialled was not the last.
_LOST = _attempts_that(lambda records: ~records.redialled & _UNDELIVERED[records.disposition])
# RFC 6076 leaves redirections (3xx) out of the denominators of SER and SEER.
_REDIRECTED = _attempts_that(lambda records: (records.status >= 300) & (records.status < 400))
_NOT_REDIRECTED = Total(lambda records: _INVITES.of(records) - _REDIRECTED.of(records), is_of_attempts=True)
_RECEIVED = Total(lambda records: int(records.rtp_received.sum()))
_MISSING = Total(lambda records: int(records.rtp_lost.sum()))

_SRD = _delay_ms(lambda records: records.sent_s, lambda records: records.first_response_s)
_SRD_INTENDED = _delay_ms(lambda records: records.intended_s, lambda records: records.first_response_s)
_ANSWER_DELAY = _delay_ms(lambda records: records.sent_s, lambda records: records.answered_s)
_ANSWER_DELAY_INTENDED = _delay_ms(lambda records: records.intended_s, lambda records: records.answered_s)
_SDD = _delay_ms(lambda records: records.bye_s, lambda records: records.ended_s)
_MOS = Values(lambda records: records.mos)
_CALLS_UP = Held(_calls_up)

DEFINITIONS: dict[str, KpiDefinition] = {
    "attempts": KpiDefinition("Attempts", "1", "INVITEs offered, redials included", Count(_ATTEMPTS), Better.NEITHER),
    "calls": KpiDefinition("Callers", "1", "first attempts", Count(_CALLS), Better.NEITHER),
    "refused_share": KpiDefinition(
        "Attempts refused",
        "share",
        "throttled, not whitelisted, no channel or no port, per attempt",
        Share(_dispositions(*REFUSED_BY_TRUNK), _ATTEMPTS),
        Better.LOWER,
    ),
    "throttled_share": KpiDefinition(
        "Attempts throttled",
        "share",
        "refused by the calls-per-minute limit",
        Share(_dispositions(Disposition.THROTTLED), _ATTEMPTS),
        Better.LOWER,
    ),
    "customers_lost_share": KpiDefinition(
        "Customers lost",
        "share",
        "callers who gave up without having reached the called side",
        Share(_LOST, _CALLS),
        Better.LOWER,
    ),
    "failed_calls_share": KpiDefinition(
        "Answered calls that failed",
        "share",
        "dropped, or without the audio that was agreed, per answered attempt",
        Share(_ANSWERED_AND_FAILED, _ANSWERED),
        Better.LOWER,
    ),
    "asr": KpiDefinition("ASR", "share", "answered per attempt (E.411)", Share(_ANSWERED, _ATTEMPTS), Better.HIGHER),
    "ner": KpiDefinition(
        "NER",
        "share",
        "answered, busy, no answer and abandoned while ringing, per attempt (E.425)",
        Share(
            _sum(_ANSWERED, _dispositions(Disposition.BUSY, Disposition.NO_ANSWER, Disposition.ABANDONED)), _ATTEMPTS
        ),
        Better.HIGHER,
    ),
    "ser": KpiDefinition(
        "SER",
        "share",
        "200 per INVITE, 3xx left out (RFC 6076 4.6)",
        Share(_ANSWERED, _NOT_REDIRECTED),
        Better.HIGHER,
    ),
    "seer": KpiDefinition(
        "SEER",
        "share",
        "200, 480, 486, 600, 603 per INVITE, 3xx left out (RFC 6076 4.7)",
        Share(_sum(_ANSWERED, _final_status(480, 486, 600, 603)), _NOT_REDIRECTED),
        Better.HIGHER,
    ),
    "isa": KpiDefinition(
        "ISA",
        "share",
        "408, 500, 503, 504 per INVITE (RFC 6076 4.8)",
        Share(_final_status(408, 500, 503, 504), _INVITES),
        Better.LOWER,
    ),
    "scr": KpiDefinition(
        "SCR",
        "share",
        "sessions completed per INVITE (RFC 6076 4.9)",
        Share(_dispositions(Disposition.COMPLETED), _INVITES),
        Better.HIGHER,
    ),
    "srd_p50_ms": KpiDefinition(
        "SRD, median",
        "ms",
        "INVITE sent to first ringing or 200 (RFC 6076 4.3.1)",
        Quantile(_SRD, 0.50),
        Better.LOWER,
    ),
    "srd_p95_ms": KpiDefinition("SRD, 95 %", "ms", "as above", Quantile(_SRD, 0.95), Better.LOWER),
    "srd_intended_p95_ms": KpiDefinition(
        "SRD from the intended instant, 95 %",
        "ms",
        "no coordinated omission",
        Quantile(_SRD_INTENDED, 0.95),
        Better.LOWER,
    ),
    "answer_delay_p50_ms": KpiDefinition(
        "Answer delay, median", "ms", "INVITE sent to 200", Quantile(_ANSWER_DELAY, 0.50), Better.LOWER
    ),
    "answer_delay_p95_ms": KpiDefinition(
        "Answer delay, 95 %", "ms", "as above", Quantile(_ANSWER_DELAY, 0.95), Better.LOWER
    ),
    "answer_delay_intended_p95_ms": KpiDefinition(
        "Answer delay from the intended instant, 95 %",
        "ms",
        "as above",
        Quantile(_ANSWER_DELAY_INTENDED, 0.95),
        Better.LOWER,
    ),
    "sdd_p95_ms": KpiDefinition(
        "SDD, 95 %", "ms", "BYE to its response (RFC 6076 4.4)", Quantile(_SDD, 0.95), Better.LOWER
    ),
    "peak_concurrency": KpiDefinition(
        "Calls at once, peak", "1", "answered and not yet ended", Peak(_CALLS_UP), Better.NEITHER
    ),
    "mean_concurrency": KpiDefinition(
        "Calls at once, mean", "Erlang", "over the whole run, drain included", TimeMean(_CALLS_UP), Better.NEITHER
    ),
    "peak_channels": KpiDefinition(
        "Channels in use, peak",
        "1",
        "admitted and not yet released, as the caller sees it: a round trip more than the trunk",
        Peak(Held(_channels)),
        Better.NEITHER,
    ),
    "peak_ports": KpiDefinition(
        "Port pairs in use, peak",
        "1",
        "taken from the pool, quarantine left out",
        Peak(Held(_admitted)),
        Better.NEITHER,
    ),
    "rtp_lost_share": KpiDefinition(
        "Packets lost",
        "share",
        "lost per expected (RFC 3550 A.3)",
        Share(_MISSING, _sum(_RECEIVED, _MISSING)),
        Better.LOWER,
    ),
    "rtp_late_share": KpiDefinition(
        "Packets late",
        "share",
        "received after their playout instant",
        Share(Total(lambda records: int(records.rtp_late.sum())), _RECEIVED),
        Better.LOWER,
    ),
    "jitter_p95_ms": KpiDefinition(
        "Jitter, 95 % of calls",
        "ms",
        "RFC 3550 A.8",
        Quantile(Values(lambda records: records.jitter_ms), 0.95),
        Better.LOWER,
    ),
    "mos_mean": KpiDefinition(
        "MOS, mean", "MOS", "ITU-T G.107 after the modelled jitter buffer", Mean(_MOS), Better.HIGHER
    ),
    "mos_p5": KpiDefinition("MOS, worst 5 % of calls", "MOS", "as above", Quantile(_MOS, 0.05), Better.HIGHER),
}
"""Every indicator that `Kpis.values` holds, in the order of the page. A new one is an entry here and a test."""


@dataclass(frozen=True)
class Kpis:
    """Indicator name -> value, and the count of every disposition."""

    values: Mapping[str, float | None]
    dispositions: Mapping[Disposition, int]
    weights: Mapping[str, float] = field(default_factory=dict)
    """Indicator that is a ratio -> its denominator, its weight in the average of several runs.

    Counts, peaks and quantiles have none.
    """

    def __getitem__(self, name: str) -> float | None:
        return self.values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __getattr__(self, name: str) -> float | None:
        # Called for what is no field. A pickle asks for names before there are any fields.
        if name in DEFINITIONS and "values" in vars(self):
            return self.values[name]
        raise AttributeError(f"there is no indicator {name}; there are {', '.join(DEFINITIONS)}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *DEFINITIONS]

    def to_dict(self) -> dict[str, float | None]:
        """Return indicator name -> value."""
        return dict(self.values)

    def to_frame(self) -> pl.DataFrame:
        """Return a row per indicator: `name`, `title`, `value`, `unit`."""
        rows = [(name, DEFINITIONS[name].title, self.values[name], DEFINITIONS[name].unit) for name in self.values]
        return pl.DataFrame(
            rows, {"name": pl.String, "title": pl.String, "value": pl.Float64, "unit": pl.String}, orient="row"
        )

    def _repr_html_(self) -> str:
        rows = [(row["title"], _short(row["value"]), row["unit"]) for row in self.to_frame().iter_rows(named=True)]
        return html_table(("indicator", "value", "unit"), rows)

    def __repr__(self) -> str:
        shown = ("attempts", "refused_share", "customers_lost_share", "srd_p95_ms", "peak_concurrency", "mos_p5")
        return "<Kpis " + ", ".join(f"{name}={_short(self.values[name])}" for name in shown) + ">"


def _short(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4g}"


def compute_kpis(records: pl.DataFrame) -> Kpis:
    """Return the indicators of a whole record table."""
    accumulator = KpiAccumulator()
    accumulator.add(records, complete_until_s=math.inf)
    return accumulator.result()


class KpiAccumulator:
    """Indicators of a record table that comes in batches."""

    def __init__(self) -> None:
        self._definitions = dict(DEFINITIONS)
        self._dispositions = dict.fromkeys(Disposition, 0)
        self._totals: dict[Total, float] = {}
        self._values: dict[Values, LogHistogram] = {}
        self._held: dict[Held, Occupancy] = {}
        self._span_s = (math.inf, -math.inf)
        # Indicators share sources: each is read once.
        for source in {source for one in self._definitions.values() for source in vars(one.reduction).values()}:
            match source:
                case Total():
                    self._totals[source] = 0
                case Values():
                    self._values[source] = LogHistogram()
                case Held():
                    self._held[source] = Occupancy()

    def add(self, records: pl.DataFrame, complete_until_s: float) -> None:
        """Add a batch. After it, every attempt intended before `complete_until_s` has been added."""
        self.add_columns(columns_of(records), complete_until_s)

    def add_columns(self, records: Columns, complete_until_s: float) -> None:
        """Add a batch of records that are columns already."""
        if len(records):
            # Every disposition gets an entry, also one that no attempt has: tables then have the same rows in every
            # run.
            counts = np.bincount(records.disposition, minlength=len(Disposition))
            for kind, code in DISPOSITION_CODE.items():
                self._dispositions[kind] += int(counts[code])
            for total in self._totals:
                self._totals[total] += total.of(records)
            for values, histogram in self._values.items():
                measured = values.of(records)
                # NaN means that the attempt has no such value; a histogram could not tell it from a number.
                histogram.add(measured[~np.isnan(measured)])
            ended_s = records.ended_s[~np.isnan(records.ended_s)]
            self._span_s = (
                min(self._span_s[0], float(records.intended_s.min())),
                max(self._span_s[1], float(ended_s.max(initial=-math.inf))),
            )
        # Without new attempts too: what is known to be complete grows.
        for held, occupancy in self._held.items():
            start_s, end_s, amount = held.of(records)
            occupancy.add(start_s, end_s, amount, complete_until_s=complete_until_s)

    def result(self) -> Kpis:
        """Return the indicators of all batches so far."""
        ratios = {name: self._ratio(one.reduction) for name, one in self._definitions.items()}
        values: dict[str, float | None] = {}
        for name, definition in self._definitions.items():
            match definition.reduction, ratios[name]:
                # Without a denominator nothing was measured. That is n/a and not 0, which would keep every upper bound.
                case _, (part, whole):
                    values[name] = part / whole if whole else None
                case Count(total), _:
                    values[name] = float(self._totals[total])
                case Quantile(measured, q), _:
                    values[name] = self._values[measured].quantile(q)
                case Peak(held), _:
                    values[name] = self._held[held].peak
        # A mean of ratios would let a quiet run weigh as much as a busy one, so each ratio carries its denominator.
        weights = {name: float(ratio[1]) for name, ratio in ratios.items() if ratio is not None}
        return Kpis(values, dict(self._dispositions), weights)

    def _ratio(self, reduction: Reduction) -> tuple[float, float] | None:
        """Return numerator and denominator, or None where it is no ratio."""
        match reduction:
            case Share(part, whole):
                return self._totals[part], self._totals[whole]
            case Mean(values):
                return self._values[values].total, self._values[values].count
            case TimeMean(held):
                # From the first intended instant to the last end: a run without attempts has no span.
                return self._held[held].usage_s, max(0.0, self._span_s[1] - self._span_s[0])
        return None
