"""Compare prediction and reality call by call: how many attempts agree, which do not and why, and all indicators.

It compares two record tables of one plan. The result is values, JSON and a sentence. `validate` runs the calls, and
`report` draws the page.

A run proves its prediction if it keeps the criteria of `criteria`, not by its dispositions alone. Where that takes the
phase of a throttle's window, fitted to the same records, the outcome is another one (`Outcome`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.common.targets import JudgedTarget, judge_quality
from trunkproof.experiments.prediction.twin import TwinCheck
from trunkproof.experiments.validation.cpu import CpuComparison
from trunkproof.experiments.validation.criteria import (
    MADE_BY_DELAY,
    NOT_OF_THE_TRUNK,
    OF_THE_THROTTLE,
    Criterion,
    judge_criteria,
)
from trunkproof.experiments.validation.disagreements import Disagreement, find_disagreements, pair_attempts
from trunkproof.experiments.validation.far_ends import FarEndComparison, compare_far_ends, expects_audio
from trunkproof.experiments.validation.kpi_pair import Interval, KpiPair
from trunkproof.experiments.validation.outcome import Outcome
from trunkproof.experiments.validation.stalls import longest_stall_s
from trunkproof.experiments.validation.throttle_fit import ThrottleFit
from trunkproof.experiments.validation.throttle_words import alternative_words, percent, phase_words
from trunkproof.loadgen.bugs import Bug
from trunkproof.loadgen.meters.report import MeterReport
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.run_end import COMPLETED, RunEnd
from trunkproof.loadgen.verdict import GeneratorVerdict, Verdict
from trunkproof.models.html import html_table
from trunkproof.models.kpis import DEFINITIONS, Kpis, compute_kpis
from trunkproof.models.plan import Plan
from trunkproof.models.records import Disposition
from trunkproof.models.study import Study

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_SURELY_DIFFERENT = 0.005
"""Another description of a throttle is named in the verdict only if it explains so much more."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One study, predicted and measured."""

    study: Study
    predicted: pl.DataFrame
    measured: pl.DataFrame
    generator: GeneratorVerdict
    provenance: Provenance
    srtp: Heard = field(default_factory=Heard)
    """The packets that the customers received on all calls."""
    prediction_intervals: Mapping[str, Interval] = field(default_factory=dict)
    twin: tuple[TwinCheck, ...] | str = ()
    """Checks against exact theory, or why there are none."""
    anchors: Mapping[str, float] = field(default_factory=dict)
    ended: RunEnd = COMPLETED
    """How the run ended."""
    troubles: tuple[str, ...] = ()
    """One sentence for each program of the trunk that died or did not answer: when and how."""
    cpu: CpuComparison | None = None
    """The CPU of the trunk's programs. None where they could not be metered."""
    meters: MeterReport | None = None
    """All that was metered of the trunk's programs."""
    warnings: tuple[str, ...] = ()
    """Warnings that a reader must know before trusting the figures."""
    bugs: tuple[Bug, ...] = ()
    """Errors of trunkproof itself during the run."""
    abroad: bool = False
    """Somebody else runs the trunk: its programs cannot be metered, and its far ends may follow no plan."""
    fits: tuple[ThrottleFit, ...] = ()
    """What the records say of each throttle. Empty for a run that says nothing of the trunk."""
    refitted: pl.DataFrame | None = None
    """The prediction again, with all phases fitted. None where there was none to fit."""

    @property
    def interrupted(self) -> str | None:
        """Return in words why the run was cut short, or None for a completed run."""
        return self.ended.interrupted

    @cached_property
    def _pairs(self) -> pl.DataFrame:
        return pair_attempts(self.predicted, self.measured)

    @property
    def attempts(self) -> int:
        """Return how many attempts at least one side has."""
        return self._pairs.height

    @property
    def agreement(self) -> float:
        """Return the share of attempts on which both sides agree. 1 where there are no attempts.

        They agree on the disposition, or for a far end that is not ours, on the admission. An attempt that only one
        side has counts as a difference.
        """
        agreed = self._pairs["agrees"].sum()
        return float(agreed / self.attempts) if self.attempts else 1.0

    @cached_property
    def disagreements(self) -> tuple[Disagreement, ...]:
        """Return the attempts that did not end as predicted, each with what is known of the reason."""
        return find_disagreements(self.study, self._pairs, self.anchors)

    @cached_property
    def far_ends(self) -> tuple[FarEndComparison, ...]:
        """Return how calls to each kind of listed number ended and rang, predicted and measured."""
        return compare_far_ends(self.predicted, self.measured)

    @property
    def valid(self) -> bool:
        """Tell whether the run says anything about the trunk."""
        return self.generator.verdict is not Verdict.VOID

    @cached_property
    def criteria(self) -> tuple[Criterion, ...]:
        """Return the judgement of each criterion on the prediction that was made before the run."""
        return judge_criteria(self._judged())

    @cached_property
    def fitted(self) -> Comparison | None:
        """Return the comparison with the prediction whose phases are fitted. None where there was none to fit."""
        return None if self.refitted is None else replace(self, predicted=self.refitted, refitted=None)

    @property
    def misses(self) -> tuple[Criterion, ...]:
        """Return the criteria of the trunk that were missed."""
        return tuple(one for one in self.criteria if not one.holds and one.name not in NOT_OF_THE_TRUNK)

    @cached_property
    def outcome(self) -> Outcome:
        """Return what this run says of the study."""
        if not self.valid or self.ended.cut_short or not self.attempts:
            return Outcome.CANNOT_TELL
        if not self.misses:
            return Outcome.AGREES
        best = self if self.fitted is None else self.fitted
        if not best.misses:
            return Outcome.AGREES_FITTED
        # What our own delay can do is not blamed on the trunk.
        is_ours = all(self._is_late_enough(one) for one in best.misses)
        return Outcome.CANNOT_TELL if is_ours else Outcome.DIFFERS

    @property
    def _decides_as_described(self) -> bool:
        """Tell whether each throttle decided as described, at the instants at which calls really came."""
        return bool(self.fits) and all(fit.explains for fit in self.fits)

    def _is_late_enough(self, missed: Criterion) -> bool:
        """Tell whether the load generator was late enough to have missed a criterion by itself."""
        if self.generator.reasons:
            # Calls that were sent late meet another throttle than planned ones, and so they agree less.
            is_throttle = missed.name in OF_THE_THROTTLE and self._decides_as_described
            return missed.name in MADE_BY_DELAY or is_throttle
        # A healthy generator reads responses late by its event loop's lag, and that is in the delay that it measures.
        own_ms = self.generator.loop_lag_p99_ms
        return missed.name == "srd" and abs(missed.difference or 0.0) <= missed.allowance + own_ms

    @property
    def agrees(self) -> bool:
        """Tell whether the run proves the prediction, if need be with its phase fitted."""
        return self.outcome in {Outcome.AGREES, Outcome.AGREES_FITTED}

    @cached_property
    def predicted_kpis(self) -> Kpis:
        """Return the indicators of the prediction."""
        return compute_kpis(self.predicted)

    @cached_property
    def measured_kpis(self) -> Kpis:
        """Return the indicators of the real calls. Do not show them for a VOID run."""
        return compute_kpis(self.measured)

    @cached_property
    def kpis(self) -> dict[str, KpiPair]:
        """Return indicator -> both values. A VOID run has no measured ones."""
        return {
            name: KpiPair(
                predicted=self.predicted_kpis[name],
                measured=self.measured_kpis[name] if self.valid else None,
                prediction_interval=self.prediction_intervals.get(name),
                unit=definition.unit,
            )
            for name, definition in DEFINITIONS.items()
        }

    @cached_property
    def targets(self) -> tuple[JudgedTarget, ...]:
        """Return the study's quality targets, judged on the real calls. For a VOID run, judged on the prediction."""
        return judge_quality(self.study.quality, self.measured_kpis if self.valid else self.predicted_kpis)

    @property
    def sentence(self) -> str:
        """Return the verdict, in one sentence."""
        return _verdict_sentence(self)

    def _judged(self) -> dict[str, Any]:
        """Return the part of `comparison.json` that `criteria` reads."""
        return {
            "stack": self.study.pop.stack,
            "abroad": self.abroad,
            "attempts": self.attempts,
            "agreement": self.agreement,
            "cpu": None if self.cpu is None else self.cpu.to_json(),
            "kpis": {name: pair.to_json() for name, pair in self.kpis.items()},
            "far_ends": [one.to_json() for one in self.far_ends],
            "generator": asdict(self.generator),
            "srtp": asdict(self.srtp),
            "audio_expected": expects_audio(self.measured if self.abroad else self.predicted, abroad=self.abroad),
            "stall_s": {"predicted": longest_stall_s(self.predicted), "measured": longest_stall_s(self.measured)},
        }

    def to_json(self) -> dict[str, Any]:
        """Return the content of `comparison.json`. Other programs rely on its keys."""
        fitted = self.fitted
        return self._judged() | {
            "study": self.study.name,
            "sentence": self.sentence,
            "outcome": self.outcome.value,
            "agrees": self.agrees,
            "agreement_fitted": None if fitted is None else fitted.agreement,
            "criteria_unfitted": [one.to_json() for one in self.criteria],
            "criteria_fitted": None if fitted is None else [one.to_json() for one in fitted.criteria],
            "throttles": [fit.to_json() for fit in self.fits],
            "interrupted": self.interrupted,
            "ended": self.ended.to_json(),
            "troubles": list(self.troubles),
            "warnings": list(self.warnings),
            "bugs": [str(bug) for bug in self.bugs],
            "meters": None if self.meters is None else asdict(self.meters),
            "dispositions": self._dispositions(),
            "counted_as_throttled": {
                trunk.name: list(map(str, trunk.throttle.refusal_rules)) for trunk in self.study.trunks
            },
            "disagreements": [one.to_json() for one in self.disagreements],
            "targets": [target.to_json() for target in self.targets],
            "twin": self.twin if isinstance(self.twin, str) else [check.to_json() for check in self.twin],
            "anchors": dict(self.anchors),
            "provenance": self.provenance.to_json(),
        }

    def _dispositions(self) -> dict[str, dict[str, int]]:
        sides = {"predicted": self.predicted_kpis, "measured": self.measured_kpis}
        return {
            # Both sides, even where one has none: a zero is a finding too.
            kind.value: {side: kpis.dispositions[kind] for side, kpis in sides.items()}
            # In the order of the enum, so that two files can be compared line by line.
            for kind in Disposition
            if any(kpis.dispositions[kind] for kpis in sides.values())
        }

    def __repr__(self) -> str:
        return f"<Comparison of {self.study.name!r}: {self.sentence}>"

    def plot(self) -> Figure:
        """Return a Plotly figure: attempts refused per minute, predicted and measured, of those offered.

        A VOID run has only the predicted line.
        """
        from trunkproof.models.plots import REFUSED, rates_of_sides, shown  # noqa: PLC0415  # Plotly takes long to load.

        sides = {"measured": self.measured} if self.valid else {}
        figure = rates_of_sides(sides | {"predicted": self.predicted}, REFUSED)
        return shown(figure, f"Attempts refused: {self.study.name}")

    def _repr_html_(self) -> str:
        rows = [
            (DEFINITIONS[name].title, formatted(pair.predicted, pair.unit), formatted(pair.measured, pair.unit))
            for name, pair in self.kpis.items()
        ]
        return html_table(("indicator", "predicted", "measured"), rows, caption=self.sentence)


def compare_records(
    plan: Plan,
    predicted: pl.DataFrame,
    measured: pl.DataFrame,
    *,
    generator: GeneratorVerdict,
    provenance: Provenance,
    srtp: Heard | None = None,
    prediction_intervals: Mapping[str, Interval] | None = None,
    twin: tuple[TwinCheck, ...] | str = (),
    anchors: Mapping[str, float] | None = None,
    ended: RunEnd = COMPLETED,
    troubles: tuple[str, ...] = (),
    cpu: CpuComparison | None = None,
    meters: MeterReport | None = None,
    warnings: tuple[str, ...] = (),
    bugs: tuple[Bug, ...] = (),
    abroad: bool = False,
    fits: tuple[ThrottleFit, ...] = (),
    refitted: pl.DataFrame | None = None,
) -> Comparison:
    """Compare two record tables of one plan.

    For a run that was cut short, only the attempts placed until then are compared.
    """
    if ended.cut_short:
        placed = measured.select("call", "attempt")
        # Attempts that never came to be placed say nothing about the trunk.
        predicted = predicted.join(placed, on=["call", "attempt"], how="semi")
    return Comparison(
        study=plan.study,
        predicted=predicted,
        measured=measured,
        generator=generator,
        provenance=provenance,
        srtp=srtp or Heard(),
        prediction_intervals=prediction_intervals or {},
        twin=twin,
        anchors=anchors or {},
        ended=ended,
        troubles=troubles,
        cpu=cpu,
        meters=meters,
        warnings=warnings,
        bugs=bugs,
        abroad=abroad,
        fits=fits,
        refitted=refitted,
    )


def _verdict_sentence(comparison: Comparison) -> str:
    """Return the result as a sentence, or a few. Doubts come first."""
    if not comparison.valid:
        reasons = "; ".join(comparison.generator.reasons)
        void = f"VOID: the load generator could not keep up ({reasons}), so this run proves nothing about the trunk."
        # That a program of the trunk died is true of a void run too, and may be why the generator fell behind.
        return " ".join([void, *_disturbances(comparison)])
    if not comparison.attempts:
        return " ".join([*_doubts(comparison), "No call was placed, so there is nothing to compare."])
    parts = [*_doubts(comparison), _agreement(comparison), *_other_misses(comparison)]
    return " ".join([*parts, *_alternatives(comparison), _refusals(comparison), _srtp(comparison.srtp)])


def _disturbances(comparison: Comparison) -> list[str]:
    disturbances = []
    if comparison.interrupted is not None:
        disturbances.append(f"The run was cut short ({comparison.interrupted}).")
    if comparison.troubles:
        disturbances.append(f"Trouble in the trunk: {'; '.join(comparison.troubles)}.")
    return disturbances


def _doubts(comparison: Comparison) -> list[str]:
    doubts = _disturbances(comparison)
    if comparison.generator.reasons:
        doubts.append(f"SUSPECT ({'; '.join(comparison.generator.reasons)}).")
    return doubts


def _agreement(comparison: Comparison) -> str:
    attempts, share = comparison.attempts, comparison.agreement
    counted = f"on {round(share * attempts):,} of {attempts:,} attempts ({percent(share)})"
    fitted = comparison.fitted
    # In the order of `Outcome`. The share alone does not decide: all criteria do.
    match comparison.outcome:
        case Outcome.AGREES:
            return f"Prediction and real calls agree {counted}."
        case Outcome.AGREES_FITTED if fitted is not None:
            phases = ", ".join(phase_words(fit.phase) for fit in comparison.fits if fit.phase is not None)
            return (
                f"Unfitted, prediction and real calls agree {counted}. With the phase of the throttle's window fitted "
                f"to these calls they agree on {percent(fitted.agreement)} ({phases})."
            )
        case Outcome.CANNOT_TELL:
            whose = "" if comparison.ended.cut_short else ". What differs may be the load generator's own delay"
            return f"Prediction and real calls match {counted}{whose}."
        case _:
            besides = "" if fitted is None else f", and with the phase fitted on {percent(fitted.agreement)}"
            return f"Prediction and real calls differ: they agree only {counted}{besides}."


def _other_misses(comparison: Comparison) -> Iterator[str]:
    """Yield the criteria that were missed, but for the agreement, which has been told."""
    judged = comparison if comparison.fitted is None else comparison.fitted
    if missed := [str(one) for one in judged.criteria if not one.holds and one.name != "agreement"]:
        yield f"Outside the criteria, predicted / measured: {'; '.join(missed)}."


def _alternatives(comparison: Comparison) -> Iterator[str]:
    for fit in comparison.fits:
        if fit.alternative is not None and fit.alternative.share > fit.best_share + _SURELY_DIFFERENT:
            yield alternative_words(fit)


def _refusals(comparison: Comparison) -> str:
    refused, lost = comparison.kpis["refused_share"], comparison.kpis["customers_lost_share"]
    if refused.measured is None or lost.measured is None:
        return "No call was placed."
    rate = 60 * (comparison.kpis["attempts"].measured or 0) / comparison.study.duration_s
    return (
        f"At {rate:.0f} attempts per minute the trunk refused {percent(refused.measured)} of attempts "
        f"(predicted {percent(refused.predicted)}) and lost {percent(lost.measured)} of callers "
        f"(predicted {percent(lost.predicted)})."
    )


def _srtp(srtp: Heard) -> str:
    if srtp.plain and not srtp.received:
        return f"{srtp.plain:,} packets of plain RTP were received, which nothing authenticates."
    if not srtp.received:
        return "No audio was received."
    if srtp.authenticated == srtp.received:
        return f"All {srtp.received:,} SRTP packets received were authentic."
    return f"Only {srtp.authenticated:,} of {srtp.received:,} SRTP packets received were authentic."
