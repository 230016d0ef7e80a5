"""Prediction against reality, call by call: how many agree, which do not and why, and every indicator side by side.

It compares two record tables of one plan and says what it found, in values, in JSON and in one sentence. It draws
nothing (`report`) and runs nothing (`validate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.common.targets import Target, judge_quality
from trunkproof.experiments.prediction.twin import TwinCheck
from trunkproof.experiments.validation.cpu import CpuComparison
from trunkproof.experiments.validation.disagreements import Disagreement, find_disagreements, pair_attempts
from trunkproof.experiments.validation.sentence import verdict_sentence
from trunkproof.loadgen.meters.report import MeterReport
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.stacks.registry import is_ours
from trunkproof.loadgen.verdict import GeneratorVerdict, Verdict
from trunkproof.models.kpis import DEFINITIONS, Kpis, compute_kpis
from trunkproof.models.plan import Plan
from trunkproof.models.records import Disposition
from trunkproof.models.study import Study

Interval = tuple[float, float]
AGREEMENT_MIN, FOREIGN_AGREEMENT_MIN = 0.99, 0.98
"""Below it, prediction and reality differ: on the embedded trunk, and on programs that others wrote."""


@dataclass(frozen=True)
class KpiPair:
    """One indicator, predicted and measured; `None` is n/a."""

    predicted: float | None
    measured: float | None
    interval: Interval | None
    """In which 95 % of runs with other seeds would lie."""
    unit: str

    @property
    def difference(self) -> float | None:
        """Measured minus predicted."""
        if self.predicted is None or self.measured is None:
            return None
        return self.measured - self.predicted

    def to_json(self) -> dict[str, Any]:
        """All values, ready for `json.dumps`."""
        return asdict(self) | {"difference": self.difference}


@dataclass(frozen=True, eq=False)
class Comparison:
    """One study, predicted and proven."""

    study: Study
    predicted: pl.DataFrame
    measured: pl.DataFrame
    generator: GeneratorVerdict
    provenance: Provenance
    srtp: Heard = field(default_factory=Heard)
    """What the customers received, on all calls."""
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    twin: tuple[TwinCheck, ...] | str = ()
    """Checks against exact theory, or why there are none."""
    anchors: Mapping[str, float] = field(default_factory=dict)
    interrupted: str | None = None
    troubles: tuple[str, ...] = ()
    """Which programs of the trunk died or did not answer, when and how."""
    cpu: CpuComparison | None = None
    """What the trunk's programs spent; `None` where they could not be metered."""
    meters: MeterReport | None = None
    """What the trunk's programs spent, held and counted."""
    warnings: tuple[str, ...] = ()
    """What a reader must know before believing the figures."""

    @cached_property
    def _pairs(self) -> pl.DataFrame:
        return pair_attempts(self.predicted, self.measured)

    @property
    def attempts(self) -> int:
        """Attempts that either side saw."""
        return self._pairs.height

    @property
    def agreement(self) -> float:
        """Share of the attempts whose disposition is the same on both sides; 1 where there was none to disagree on."""
        agreed = self._pairs["predicted"].eq_missing(self._pairs["measured"]).sum()
        return float(agreed / self.attempts) if self.attempts else 1.0

    @cached_property
    def disagreements(self) -> tuple[Disagreement, ...]:
        """The attempts that ended otherwise than predicted, each with what is known of the reason."""
        return find_disagreements(self.study, self._pairs, self.anchors)

    @property
    def valid(self) -> bool:
        """Whether the run says anything about the trunk."""
        return self.generator.verdict is not Verdict.VOID

    @property
    def agrees(self) -> bool:
        """Whether the run proves the prediction."""
        enough = AGREEMENT_MIN if is_ours(self.study.pop.stack) else FOREIGN_AGREEMENT_MIN
        return self.valid and self.interrupted is None and self.agreement >= enough

    @cached_property
    def predicted_kpis(self) -> Kpis:
        """Indicators of the prediction."""
        return compute_kpis(self.predicted)

    @cached_property
    def measured_kpis(self) -> Kpis:
        """Indicators of the real calls; of a VOID run they are not to be shown."""
        return compute_kpis(self.measured)

    @cached_property
    def kpis(self) -> dict[str, KpiPair]:
        """Indicator -> both values; a VOID run has no measured ones."""
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
    def targets(self) -> tuple[Target, ...]:
        """The study's quality targets, judged on the real calls; of a VOID run, on the prediction."""
        return judge_quality(self.study.quality, self.measured_kpis if self.valid else self.predicted_kpis)

    @property
    def sentence(self) -> str:
        """The verdict, in one sentence."""
        return verdict_sentence(self)

    def to_json(self) -> dict[str, Any]:
        """The content of `comparison.json`; its keys are a promise to other programs."""
        return {
            "study": self.study.name,
            "stack": self.study.pop.stack,
            "sentence": self.sentence,
            "agrees": self.agrees,
            "attempts": self.attempts,
            "agreement": self.agreement,
            "interrupted": self.interrupted,
            "troubles": list(self.troubles),
            "warnings": list(self.warnings),
            "cpu": None if self.cpu is None else self.cpu.to_json(),
            "meters": None if self.meters is None else asdict(self.meters),
            "kpis": {name: pair.to_json() for name, pair in self.kpis.items()},
            "dispositions": self._dispositions(),
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
            kind.value: {side: kpis.dispositions[kind] for side, kpis in sides.items()}
            for kind in Disposition
            if any(kpis.dispositions[kind] for kpis in sides.values())
        }

    def __repr__(self) -> str:
        return f"<Comparison of {self.study.name!r}: {self.sentence}>"


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
    interrupted: str | None = None,
    troubles: tuple[str, ...] = (),
    cpu: CpuComparison | None = None,
    meters: MeterReport | None = None,
    warnings: tuple[str, ...] = (),
) -> Comparison:
    """Compare two record tables of one plan.

    Of a run that was cut short, only what was placed until then is compared.
    """
    if interrupted is not None:
        placed = measured.select("call", "attempt")
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
        interrupted=interrupted,
        troubles=troubles,
        cpu=cpu,
        meters=meters,
        warnings=warnings,
    )
