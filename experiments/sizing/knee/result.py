"""What a search for a knee found: the largest load at which quality holds, predicted and measured, and how they differ.

It is saved and put into words here. `find` searches, `load` runs one load.
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
from trunkproof.loadgen.system.files import write_text
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.quota import longest_pause_s, pauses_are_heard
from trunkproof.models.study import Study

AGREEMENT = 0.15
"""Predicted and measured knee agree if they differ by at most this share of the measured one. The same for CPU."""
KNEE, PAGE = "knee.json", "knee.html"


@dataclass(frozen=True)
class Step:
    """One load with all its runs: a borderline or VOID run is followed by more."""

    runs: tuple[Reading, ...]
    """All runs. VOID ones are shown and not counted."""

    @property
    def load(self) -> float:
        """Return the load: calls per minute, or calls at once."""
        return self.runs[0].load

    @property
    def counted(self) -> tuple[Reading, ...]:
        """Return the runs that count: those that are not VOID."""
        return tuple(run for run in self.runs if run.generator is not Verdict.VOID)

    @property
    def holds(self) -> bool:
        """Tell whether quality held in most of the runs that count."""
        return 2 * sum(run.holds for run in self.counted) > len(self.counted)

    @property
    def shown(self) -> Reading:
        """Return the first run that agrees with the majority."""
        # Figures of a run that the majority contradicts would not fit the verdict beside them.
        return next((run for run in self.counted if run.holds is self.holds), self.runs[0])

    def to_json(self) -> dict[str, Any]:
        """Return all runs, ready for `json.dumps`."""
        return {"load": self.load, "holds": self.holds, "runs": [run.to_json() for run in self.runs]}


@dataclass(frozen=True)
class Side:
    """The result of one side's search, and every load that it tried."""

    bracket: Bracket
    steps: tuple[Step, ...]

    @property
    def knee(self) -> float | None:
        """Return the largest load that held below one that failed; None where the search ended before that."""
        # A load that held below no failure is only a lower bound, and no knee.
        return self.bracket.low if self.bracket.high is not None and self.bracket.stopped is None else None

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        steps = sorted(self.steps, key=lambda step: step.load)
        return {"knee": self.knee, **asdict(self.bracket), "steps": [step.to_json() for step in steps]}


@dataclass(frozen=True, eq=False)
class Knee:
    """The largest load that a study's trunk carries, predicted and measured."""

    study: Study
    kind: LoadKind
    predicted: Side
    """Its steps are those of its own search, and the loads that only the measurement tried."""
    measured: Side
    baseline: tuple[Step, ...]
    """Loads run with real calls without the quota."""
    unlimited: tuple[Reading, ...]
    """The prediction for each load of the baseline, at the slowdown that the machine had then."""
    slowdown: float | None
    """How many times as long as in the calibration work took during the runs near the knee, by the reference workload.

    The prediction is for that slowdown. None where the calibration has no reference workload: then the prediction is
    for the slowdown that the study gives.
    """
    calibrated: float | None
    """The knee predicted before the first call, at the slowdown that the study gives."""
    provenance: Provenance

    @property
    def difference_share(self) -> float | None:
        """Return predicted minus measured knee, as a share of the measured one."""
        predicted, measured = self.predicted.knee, self.measured.knee
        return None if predicted is None or measured is None else (predicted - measured) / measured

    @property
    def agrees(self) -> bool:
        """Tell whether the measurement confirms the prediction."""
        return self.difference_share is not None and abs(self.difference_share) <= AGREEMENT

    @property
    def is_void(self) -> bool:
        """Tell whether the load generator ended the search: at some load every run was VOID."""
        return any(not step.counted for step in (*self.measured.steps, *self.baseline))

    @property
    def doubts(self) -> tuple[str, ...]:
        """Return reasons to doubt the result, other than the load generator's verdict."""
        return (*self._heard_pauses(), *self._wrong_costs())

    def _heard_pauses(self) -> Iterator[str]:
        quota = self.study.pop.machine.quota
        if quota is not None and pauses_are_heard(quota):
            pause_ms = f"{1000 * longest_pause_s(quota):.0f}"
            yield (
                f"a quota of {quota:g} of a core stops programs for up to {pause_ms} ms, which calls hear; "
                "a small machine would not do that"
            )

    def _wrong_costs(self) -> Iterator[str]:
        """Yield a doubt for each load whose CPU is off even without a quota: then the costs are wrong."""
        # Without a quota nothing waits for CPU, so only wrong costs can explain a difference.
        for step, model in zip(self.baseline, self.unlimited, strict=True):
            measured, predicted = step.shown.cpu_share, model.cpu_share
            if measured and predicted and abs(measured - predicted) > AGREEMENT * measured:
                more = 100 * (measured / predicted - 1)
                yield (
                    f"without the quota {step.load:.4g} {self.kind} took {measured:.3f} of a core where "
                    f"{predicted:.3f} was predicted ({more:+.0f} %): the calibrated costs are off"
                )

    @cached_property
    def sentence(self) -> str:
        """Return the result in one sentence."""
        told = [f"{name} {_told(side)}" for name, side in (("predicted", self.predicted), ("measured", self.measured))]
        share = self.difference_share
        difference = "" if share is None else f": {100 * share:+.0f} % off"
        quota = self.study.pop.machine.quota
        where = self.study.pop.stack + ("" if quota is None else f" on {quota:g} of a core")
        slow = "" if self.slowdown is None else f" (work took {self.slowdown:.2f} times as long as in the calibration)"
        return f"The most that {where} carries at quality, in {self.kind}: {', '.join(told)}{difference}{slow}."

    def to_json(self) -> dict[str, Any]:
        """Return the content of `knee.json`."""
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
            "slowdown": self.slowdown,
            "calibrated": self.calibrated,
            "provenance": self.provenance.to_json(),
        }

    def write(self, folder: Path) -> None:
        """Write `knee.json` into a folder."""
        write_text(folder / KNEE, json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n")

    def __repr__(self) -> str:
        return f"<Knee of {self.study.name!r}: {self.sentence}>"


def _told(side: Side) -> str:
    low, why = side.bracket.low, side.bracket.stopped
    if side.knee is not None:
        return f"{side.knee:.4g}"
    return f"{'nothing' if low is None else f'{low:.4g} or more'} ({why})"
