"""What a search for a knee found: the largest load at which quality holds, predicted and measured, and how they differ.

It is shown and saved from here. How it is found is `find`'s, what one load comes to `load`'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.sizing.knee.load import LoadKind, Reading
from trunkproof.experiments.sizing.knee.search import Bracket
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.quota import longest_pause_s, pauses_are_heard
from trunkproof.models.study import Study

AGREEMENT = 0.15
"""Predicted and measured knee agree within this share of the measured one, and so does CPU."""
KNEE, PAGE = "knee.json", "knee.html"


@dataclass(frozen=True)
class Step:
    """One load, run once or, where that was borderline or VOID, several times."""

    runs: tuple[Reading, ...]
    """All of them; those that are VOID are shown and not counted."""

    @property
    def load(self) -> float:
        """Calls per minute, or calls at once."""
        return self.runs[0].load

    @property
    def counted(self) -> tuple[Reading, ...]:
        """The runs that say something about the trunk."""
        return tuple(run for run in self.runs if run.generator is not Verdict.VOID)

    @property
    def holds(self) -> bool:
        """What most runs say."""
        return 2 * sum(run.holds for run in self.counted) > len(self.counted)

    @property
    def shown(self) -> Reading:
        """The first run that says what most say."""
        return next((run for run in self.counted if run.holds is self.holds), self.runs[0])

    def to_json(self) -> dict[str, Any]:
        """All runs, ready for `json.dumps`."""
        return {"load": self.load, "holds": self.holds, "runs": [run.to_json() for run in self.runs]}


@dataclass(frozen=True)
class Side:
    """What one side's search found, and every load that it tried."""

    bracket: Bracket
    steps: tuple[Step, ...]

    @property
    def knee(self) -> float | None:
        """The largest load that held below one that did not; `None` where the search did not get so far."""
        return self.bracket.low if self.bracket.high is not None and self.bracket.stopped is None else None

    def to_json(self) -> dict[str, Any]:
        """All values, ready for `json.dumps`."""
        steps = sorted(self.steps, key=lambda step: step.load)
        return {"knee": self.knee, **asdict(self.bracket), "steps": [step.to_json() for step in steps]}


@dataclass(frozen=True, eq=False)
class Knee:
    """The largest load that a study's trunk carries, on both sides."""

    study: Study
    kind: LoadKind
    predicted: Side
    """Its steps are those of its own search and the loads that the other side tried."""
    measured: Side
    baseline: tuple[Step, ...]
    """The same loads for real, without the quota."""
    unlimited: tuple[Reading, ...]
    """What the model says of each load of the baseline, for the pace that the machine had then."""
    pace: float | None
    """How much longer than in the calibration work took while loads near the knee were played, by a gauge beside the
    trunk. The prediction is for that pace; `None`: for that of the study, as the calibration knows of no gauge.
    """
    calibrated: float | None
    """The knee that was predicted before anything was played, at the pace that the study says."""
    provenance: Provenance

    @property
    def difference_share(self) -> float | None:
        """Predicted minus measured, as a share of what was measured."""
        predicted, measured = self.predicted.knee, self.measured.knee
        return None if predicted is None or measured is None else (predicted - measured) / measured

    @property
    def agrees(self) -> bool:
        """Whether the prediction is proven."""
        return self.difference_share is not None and abs(self.difference_share) <= AGREEMENT

    @property
    def is_void(self) -> bool:
        """Whether the load generator ended the search: at one load no run said anything about the trunk."""
        return any(not step.counted for step in (*self.measured.steps, *self.baseline))

    @property
    def doubts(self) -> tuple[str, ...]:
        """What speaks against the result, other than the load generator."""
        return (*self._heard_pauses(), *self._wrong_costs())

    def _heard_pauses(self) -> Iterator[str]:
        quota = self.study.pop.machine.quota
        if quota is not None and pauses_are_heard(quota):
            pause_ms = f"{1000 * longest_pause_s(quota):.0f}"
            yield (
                f"a quota of {quota:g} of a core stops programs for up to {pause_ms} ms: calls hear that, "
                "not a small machine"
            )

    def _wrong_costs(self) -> Iterator[str]:
        """A difference that is there before any quota is one of costs, and not of what the model makes of a quota."""
        for step, model in zip(self.baseline, self.unlimited, strict=True):
            measured, predicted = step.shown.cpu_share, model.cpu_share
            if measured and predicted and abs(measured - predicted) > AGREEMENT * measured:
                more = 100 * (measured / predicted - 1)
                yield (
                    f"without the quota {step.load:.4g} {self.kind} took {measured:.3f} of a core where "
                    f"{predicted:.3f} was predicted ({more:+.0f} %): it is the costs that are off"
                )

    @cached_property
    def sentence(self) -> str:
        """The result, in one sentence."""
        told = [f"{name} {_told(side)}" for name, side in (("predicted", self.predicted), ("measured", self.measured))]
        share = self.difference_share
        difference = "" if share is None else f": {100 * share:+.0f} % off"
        quota = self.study.pop.machine.quota
        where = self.study.pop.stack + ("" if quota is None else f" on {quota:g} of a core")
        pace = "" if self.pace is None else f" (work took {self.pace:.2f} times as long as in the calibration)"
        return f"The most that {where} carries at quality, in {self.kind}: {', '.join(told)}{difference}{pace}."

    def to_json(self) -> dict[str, Any]:
        """The content of `knee.json`."""
        return {
            "study": self.study.name,
            "stack": self.study.pop.stack,
            "quota": self.study.pop.machine.quota,
            "load": self.kind.value,
            "sentence": self.sentence,
            "doubts": list(self.doubts),
            "agrees": self.agrees,
            "difference_share": self.difference_share,
            "predicted": self.predicted.to_json(),
            "measured": self.measured.to_json(),
            "baseline": [step.to_json() for step in self.baseline],
            "unlimited": [reading.to_json() for reading in self.unlimited],
            "pace": self.pace,
            "calibrated": self.calibrated,
            "provenance": self.provenance.to_json(),
        }

    def write(self, folder: Path) -> None:
        """Leave it as JSON."""
        (folder / KNEE).write_text(json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n", encoding="utf-8")

    def __repr__(self) -> str:
        return f"<Knee of {self.study.name!r}: {self.sentence}>"


def _told(side: Side) -> str:
    low, why = side.bracket.low, side.bracket.stopped
    if side.knee is not None:
        return f"{side.knee:.4g}"
    return f"{'nothing' if low is None else f'{low:.4g} or more'} ({why})"
