"""Compare prediction and reality call by call: how many attempts agree, which do not and why, and all indicators.

It compares two record tables of one plan. The result is values, JSON and one sentence. `validate` runs the calls, and
`report` draws the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.common.targets import JudgedTarget, judge_quality
from trunkproof.experiments.prediction.twin import TwinCheck
from trunkproof.experiments.validation.cpu import CpuComparison
from trunkproof.experiments.validation.disagreements import Disagreement, find_disagreements, pair_attempts
from trunkproof.experiments.validation.far_ends import FarEndComparison, compare_far_ends
from trunkproof.loadgen.bugs import Bug
from trunkproof.loadgen.meters.report import MeterReport
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.run_end import COMPLETED, RunEnd
from trunkproof.loadgen.stacks.registry import is_ours
from trunkproof.loadgen.verdict import GeneratorVerdict, Verdict
from trunkproof.models.html import html_table
from trunkproof.models.kpis import DEFINITIONS, Kpis, compute_kpis
from trunkproof.models.plan import Plan
from trunkproof.models.records import Disposition
from trunkproof.models.study import Study

Interval = tuple[float, float]
AGREEMENT_MIN, FOREIGN_AGREEMENT_MIN = 0.99, 0.98
"""With less agreement, prediction and reality differ: on the embedded trunk, and on foreign stacks."""


@dataclass(frozen=True)
class KpiPair:
    """One indicator, predicted and measured. None means n/a."""

    predicted: float | None
    measured: float | None
    interval: Interval | None
    """The range in which 95 % of runs with other seeds would lie."""
    unit: str

    @property
    def difference(self) -> float | None:
        """Return measured minus predicted. None where one is missing."""
        if self.predicted is None or self.measured is None:
            return None
        return self.measured - self.predicted

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return asdict(self) | {"difference": self.difference}


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
    intervals: Mapping[str, Interval] = field(default_factory=dict)
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

    @property
    def agrees(self) -> bool:
        """Tell whether the run proves the prediction."""
        # The embedded trunk runs the model's own limits, so less may differ.
        enough = AGREEMENT_MIN if is_ours(self.study.pop.stack) else FOREIGN_AGREEMENT_MIN
        return self.valid and not self.ended.cut_short and self.agreement >= enough

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
                interval=self.intervals.get(name),
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

    def to_json(self) -> dict[str, Any]:
        """Return the content of `comparison.json`. Other programs rely on its keys."""
        return {
            "study": self.study.name,
            "stack": self.study.pop.stack,
            "sentence": self.sentence,
            "agrees": self.agrees,
            "attempts": self.attempts,
            "agreement": self.agreement,
            "interrupted": self.interrupted,
            "ended": self.ended.to_json(),
            "troubles": list(self.troubles),
            "warnings": list(self.warnings),
            "bugs": [str(bug) for bug in self.bugs],
            "cpu": None if self.cpu is None else self.cpu.to_json(),
            "meters": None if self.meters is None else asdict(self.meters),
            "kpis": {name: pair.to_json() for name, pair in self.kpis.items()},
            "dispositions": self._dispositions(),
            "counted_as_throttled": {
                trunk.name: list(map(str, trunk.throttle.refusal_rules)) for trunk in self.study.trunks
            },
            "far_ends": [one.to_json() for one in self.far_ends],
            "disagreements": [one.to_json() for one in self.disagreements],
            "generator": asdict(self.generator),
            "srtp": asdict(self.srtp),
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

    def _repr_html_(self) -> str:
        rows = [
            (DEFINITIONS[name].title, formatted(pair.predicted, pair.unit), formatted(pair.measured, pair.unit))
            for name, pair in self.kpis.items()
        ]
        return html_table(("indicator", "predicted", "measured"), rows, caption=self.sentence)


def compare(
    plan: Plan,
    predicted: pl.DataFrame,
    measured: pl.DataFrame,
    *,
    generator: GeneratorVerdict,
    provenance: Provenance,
    srtp: Heard | None = None,
    intervals: Mapping[str, Interval] | None = None,
    twin: tuple[TwinCheck, ...] | str = (),
    anchors: Mapping[str, float] | None = None,
    ended: RunEnd = COMPLETED,
    troubles: tuple[str, ...] = (),
    cpu: CpuComparison | None = None,
    meters: MeterReport | None = None,
    warnings: tuple[str, ...] = (),
    bugs: tuple[Bug, ...] = (),
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
        intervals=intervals or {},
        twin=twin,
        anchors=anchors or {},
        ended=ended,
        troubles=troubles,
        cpu=cpu,
        meters=meters,
        warnings=warnings,
        bugs=bugs,
    )


def _verdict_sentence(comparison: Comparison) -> str:
    """Return the result as one sentence. Doubts come first."""
    if not comparison.valid:
        reasons = "; ".join(comparison.generator.reasons)
        void = f"VOID: the load generator could not keep up ({reasons}), so this run proves nothing about the trunk."
        # That a program of the trunk died is true of a void run too, and may be why the generator fell behind.
        return " ".join([void, *_disturbances(comparison)])
    if not comparison.attempts:
        return " ".join([*_doubts(comparison), "No call was placed, so there is nothing to compare."])
    return " ".join([*_doubts(comparison), _agreement(comparison), _refusals(comparison), _srtp(comparison.srtp)])


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
    attempts = comparison.attempts
    agreed = round(comparison.agreement * attempts)
    # `agrees` also demands a run that was not cut short, so this word does not follow from the share alone.
    verb = "agree" if comparison.agrees else "differ: they agree only"
    return (
        f"Prediction and real calls {verb} on {agreed:,} of {attempts:,} attempts ({_percent(comparison.agreement)})."
    )


def _refusals(comparison: Comparison) -> str:
    refused, lost = comparison.kpis["refused_share"], comparison.kpis["customers_lost_share"]
    if refused.measured is None or lost.measured is None:
        return "No call was placed."
    rate = 60 * (comparison.kpis["attempts"].measured or 0) / comparison.study.duration_s
    return (
        f"At {rate:.0f} attempts per minute the trunk refused {_percent(refused.measured)} of attempts "
        f"(predicted {_percent(refused.predicted)}) and lost {_percent(lost.measured)} of callers "
        f"(predicted {_percent(lost.predicted)})."
    )


def _srtp(srtp: Heard) -> str:
    if not srtp.received:
        return "No audio was received."
    if srtp.authenticated == srtp.received:
        return f"All {srtp.received:,} SRTP packets received were authentic."
    return f"Only {srtp.authenticated:,} of {srtp.received:,} SRTP packets received were authentic."


def _percent(share: float | None) -> str:
    if share is None:
        return "n/a"
    return f"{100 * share:.2f}".removesuffix(".00") + " %"
