"""What a throttle's own code decides at the instants at which calls really came, beside what the trunk decided.

This differs from a simulation: redials are those that were placed, so one wrong decision does not lead to others. The
attempts of trunks that share a limit come in one row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from trunkproof.experiments.target.identify.recorded import attempts_of
from trunkproof.models.arrays import BoolArray, FloatArray, IntArray
from trunkproof.models.limits import throttles_of
from trunkproof.models.records import Direction
from trunkproof.models.study import EdgeRestart, Study
from trunkproof.models.throttles.decision import Admitted
from trunkproof.models.throttles.policy import Policy


@dataclass(frozen=True, eq=False)
class Decided:
    """The attempts on which the throttle of some trunks decided, in the order of time. Arrays have shape (n,)."""

    study: Study
    trunks: tuple[int, ...]
    """The trunks that share the throttle: mostly one. By their place in the study."""
    at_s: FloatArray
    """When it is believed to have decided."""
    trunk: IntArray
    """Which trunk's call it was."""
    admitted: BoolArray

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the trunks."""
        return tuple(self.study.trunks[trunk].name for trunk in self.trunks)

    @property
    def policy(self) -> Policy:
        """Return the throttle that the study describes: that of the first trunk."""
        return self.study.trunks[self.trunks[0]].throttle

    def described_as(self, policy: Policy) -> Decided:
        """Return the same attempts, with another description of the throttle."""
        trunks = list(self.study.trunks)
        for place in self.trunks:
            trunks[place] = trunks[place].model_copy(update={"throttle": policy})
        study = self.study.model_copy(update={"trunks": tuple(trunks)})
        return Decided(study, self.trunks, self.at_s, self.trunk, self.admitted)

    def first(self, count: int) -> Decided:
        """Return the first attempts only."""
        return Decided(self.study, self.trunks, self.at_s[:count], self.trunk[:count], self.admitted[:count])

    def share(self, anchor_s: float) -> float:
        """Return the share of attempts that the described throttle decides as the trunk did; 1 without attempts.

        `anchor_s`: an instant at which a window begins.
        """
        throttles = throttles_of(self.study, dict.fromkeys(self.names, anchor_s))
        restarts = [
            incident.at_s + incident.down_s
            for incident in self.study.pop.incidents
            if isinstance(incident, EdgeRestart) and incident.forgets_throttle
        ]
        restarts.sort(reverse=True)
        right = 0
        for at_s, trunk, admitted in zip(self.at_s.tolist(), self.trunk.tolist(), self.admitted.tolist(), strict=True):
            while restarts and restarts[-1] <= at_s:
                again_s = restarts.pop()
                for throttle in throttles:
                    throttle.restart(again_s)
            right += isinstance(throttles[trunk].try_admit(at_s), Admitted) is admitted
        return right / len(self.at_s) if len(self.at_s) else 1.0


def decided(study: Study, records: pl.DataFrame) -> list[Decided]:
    """Return the attempts of each throttle that is asked, from the records of a run.

    A trunk decides between sending and answer. Its refusals say how far apart the two are, and the middle is taken.
    """
    return [
        _decided(study, trunks, records)
        for trunks in _groups(study)
        if any(study.trunks[trunk].throttle.is_asked for trunk in trunks)
    ]


def _decided(study: Study, trunks: tuple[int, ...], records: pl.DataFrame) -> Decided:
    rows: list[tuple[float, int, bool, float]] = []
    for trunk in trunks:
        settings = study.trunks[trunk]
        own = records.filter(pl.col("trunk") == settings.name)
        if settings.throttle.counts == "outbound":
            own = own.filter(pl.col("direction") == Direction.OUTBOUND.value)
        rows += [(one.sent_s, trunk, one.admitted, one.responded_s - one.sent_s) for one in attempts_of(own)]
    rows.sort()
    refusals_s = [took_s for _, _, admitted, took_s in rows if not admitted]
    one_way_s = float(np.median(refusals_s)) / 2 if refusals_s else 0.0
    return Decided(
        study,
        trunks,
        np.array([sent_s + one_way_s for sent_s, *_ in rows]),
        np.array([trunk for _, trunk, *_ in rows], dtype=np.int64),
        np.array([admitted for _, _, admitted, _ in rows], dtype=np.bool_),
    )


def _groups(study: Study) -> list[tuple[int, ...]]:
    """Return the trunks of each throttle: those that share a limit, also as a part of theirs, belong together."""
    groups: list[tuple[set[tuple[str, str]], list[int]]] = []
    for place, trunk in enumerate(study.trunks):
        keys = {study.count_of(one, place) for one in (trunk.throttle, *trunk.throttle.parts)}
        shared = {key for key in keys if key is not None}
        joined = [group for group in groups if group[0] & shared]
        for group in joined:
            groups.remove(group)
        merged = set(shared).union(*(group[0] for group in joined))
        groups.append((merged, [*(one for group in joined for one in group[1]), place]))
    return [tuple(sorted(trunks)) for _, trunks in groups]
