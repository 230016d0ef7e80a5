"""Hold the study's description of a throttle against a run's records: fit what is state, say what the records tell.

    phase         Where a window begins is state of the trunk, and no description. Where nobody tells it, it is fitted.
    constraints   Which values of each parameter explain as many attempts, and with which the run would still agree. A
                  bucket that never ran dry says nothing of its burst.
    alternative   If the description is wrong, what `identify` makes of the same records.

Everything is decided by the policies' own code (`decided`). A fitted phase is never a prediction, so it is always told
beside the unfitted figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from trunkproof.experiments.target.identify.recorded import identify_trunk
from trunkproof.experiments.validation.criteria import FOREIGN_AGREEMENT_MIN
from trunkproof.experiments.validation.decided import Decided, decided
from trunkproof.models.arrays import FloatArray
from trunkproof.models.study import Study
from trunkproof.models.throttles.policy import Policy
from trunkproof.models.throttles.registry import ThrottleSettings

_PHASES = 240
"""So many phases are tried first, evenly over the window."""
_STEP_S = 0.002
"""Then the phases near the best ones, in steps of this: instants are not known better."""
_MOST = 5000
"""Attempts that a search looks at: the first ones."""
_MOST_IDENTIFIED = 2000
"""Attempts from which another description is made, which takes seconds: the first ones. It is held to all of them."""
_SAME = 1e-9
_MOST_TIMES = 16.0
"""A parameter that may be so many times larger without any difference has no upper bound in the records."""
_POLICY: TypeAdapter[Any] = TypeAdapter(ThrottleSettings)


@dataclass(frozen=True)
class Phase:
    """Where the windows of a throttle begin, fitted to the records."""

    anchor_s: float
    """Seconds after plan zero at which a window begins: that which is nearest to it."""
    within_s: float
    """It may lie so much earlier or later and explain as many attempts."""
    is_told: bool
    """False: the records do not tell it, because almost any phase explains as many attempts."""


@dataclass(frozen=True)
class Constraint:
    """What the records say of one parameter, all others being as described."""

    parameter: str
    described: float
    least: float
    most: float | None
    """Values that explain as many attempts as the described one. None: there is no upper bound."""
    agrees_least: float
    agrees_most: float | None
    """Values with which the throttle would still agree on as many attempts as a validation asks for."""


@dataclass(frozen=True)
class Alternative:
    """Another description, made of the same records."""

    settings: Policy
    share: float
    """The share of attempts that it explains."""
    is_sure: bool
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class ThrottleFit:
    """What the records say of the throttle of one trunk, or of those that share it."""

    trunks: tuple[str, ...]
    described: Policy
    attempts: int
    refused: int
    share: float
    """The share of attempts that the throttle as described decides as the trunk did, unfitted."""
    fitted_share: float | None
    """The same with the phase fitted. None: there is no phase to fit, or the trunk told it."""
    phase: Phase | None
    constraints: tuple[Constraint, ...] = ()
    """Empty where the description does not explain the records anyway."""
    alternative: Alternative | None = None
    """None where the description explains the records."""

    @property
    def best_share(self) -> float:
        """Return the share that the description explains, its state fitted."""
        return self.share if self.fitted_share is None else self.fitted_share

    @property
    def explains(self) -> bool:
        """Tell whether the description, its state fitted, explains as many attempts as a validation asks for."""
        return self.best_share >= FOREIGN_AGREEMENT_MIN

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        values = asdict(self) | {"described": self.described.model_dump(mode="json"), "explains": self.explains}
        if self.alternative is not None:
            values["alternative"]["settings"] = self.alternative.settings.model_dump(mode="json")
        return values

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        values = {name: value for name, value in saved.items() if name != "explains"}
        phase, other = values["phase"], values["alternative"]
        return cls(
            **values
            | {
                "trunks": tuple(values["trunks"]),
                "described": _POLICY.validate_python(values["described"]),
                "phase": None if phase is None else Phase(**phase),
                "constraints": tuple(Constraint(**one) for one in values["constraints"]),
                "alternative": None if other is None else _alternative_from(other),
            }
        )


def _alternative_from(saved: Mapping[str, Any]) -> Alternative:
    settings = _POLICY.validate_python(saved["settings"])
    return Alternative(settings, saved["share"], saved["is_sure"], tuple(saved["doubts"]))


def fit_throttles(study: Study, records: pl.DataFrame, anchors: Mapping[str, float]) -> tuple[ThrottleFit, ...]:
    """Return what the records say of each throttle of a study. `anchors`: those that the trunk has told, by trunk."""
    return tuple(_fit(one, records, anchors) for one in decided(study, records) if len(one.at_s))


def fitted_anchors(fits: tuple[ThrottleFit, ...], anchors: Mapping[str, float]) -> dict[str, float]:
    """Return the anchors for a prediction with all phases fitted: trunk name -> a window's beginning."""
    fitted = {name: fit.phase.anchor_s for fit in fits if fit.phase is not None for name in fit.trunks}
    return dict(anchors) | fitted


def _fit(one: Decided, records: pl.DataFrame, anchors: Mapping[str, float]) -> ThrottleFit:
    # Searches ask about the same attempts hundreds of times, and the first ones tell as much.
    few = one.first(_MOST)
    predicted_anchor_s = anchors.get(one.names[0], 0.0)
    share = one.share(predicted_anchor_s)
    window_s = one.policy.fixed_window_s
    phase, fitted_share, anchor_s = None, None, predicted_anchor_s
    if window_s is not None and one.names[0] not in anchors:
        phase = _fit_phase(few, window_s)
        anchor_s = phase.anchor_s
        fitted_share = one.share(anchor_s)
    fit = ThrottleFit(
        trunks=one.names,
        described=one.policy,
        attempts=len(one.at_s),
        refused=int((~one.admitted).sum()),
        share=share,
        fitted_share=fitted_share,
        phase=phase,
    )
    if fit.explains:
        return ThrottleFit(**vars(fit) | {"constraints": _constraints(few, anchor_s)})
    return ThrottleFit(**vars(fit) | {"alternative": _alternative(one, records)})


def _fit_phase(one: Decided, window_s: float) -> Phase:
    """Return the phase with which the throttle explains most attempts."""
    wide_s = window_s / _PHASES
    phases: FloatArray = np.linspace(0, window_s, _PHASES, endpoint=False)
    shares: FloatArray = np.array([one.share(phase_s) for phase_s in phases])
    near = phases[shares >= shares.max() - _SAME]
    if len(near) < _PHASES / 2:
        # The best phase may lie between two of them.
        finer = np.arange(-wide_s, wide_s + _STEP_S, _STEP_S)
        ends = near if len(near) <= 2 else near[[0, -1]]
        more: FloatArray = np.unique(np.round((ends[:, None] + finer[None, :]).ravel() % window_s, 9))
        phases = np.asarray(np.append(phases, more), dtype=np.float64)
        shares = np.append(shares, [one.share(phase_s) for phase_s in more])
    order = np.argsort(phases)
    is_best = shares[order] >= shares.max() - _SAME
    low_s, high_s = _longest_run(phases[order], is_best, window_s)
    anchor_s = ((low_s + high_s) / 2 + window_s / 2) % window_s - window_s / 2
    within_s = max(_STEP_S / 2, (high_s - low_s) / 2)
    return Phase(anchor_s, within_s, is_told=within_s < window_s / 4)


def _longest_run(phases: FloatArray, is_best: Any, window_s: float) -> tuple[float, float]:
    """Return the ends of the longest run of best phases, on a circle of one window; the end may lie beyond it."""
    if is_best.all():
        return 0.0, window_s
    # Turn the circle so that it begins with a phase that is not the best: then no run is cut.
    start = int(np.argmin(is_best))
    turned = np.append(phases[start:], phases[:start] + window_s)
    best = np.append(is_best[start:], is_best[:start])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], best, [False]]).astype(np.int8)))
    begins, ends = turned[edges[::2]], turned[edges[1::2] - 1]
    longest = int(np.argmax(ends - begins))
    return float(begins[longest]), float(ends[longest])


def _constraints(one: Decided, anchor_s: float) -> tuple[Constraint, ...]:
    share, found = one.share(anchor_s), []
    for name, value in one.policy.parameters.items():

        def explains(other: float, least_share: float, name: str = name) -> bool:
            return one.described_as(one.policy.with_parameter(name, other)).share(anchor_s) >= least_share - _SAME

        whole = float(value).is_integer() and not name.endswith("_s")
        as_good = _reach(float(value), lambda other: explains(other, share), whole=whole)
        agrees = _reach(float(value), lambda other: explains(other, FOREIGN_AGREEMENT_MIN), whole=whole)
        found.append(Constraint(name, float(value), *as_good, *agrees))
    return tuple(found)


def _reach(value: float, explains: Callable[[float], bool], *, whole: bool) -> tuple[float, float | None]:
    """Return how far a parameter can be lowered and raised while it still explains; no upper bound: None."""
    step = 1.0 if whole else max(value, 1.0) / 1000

    def at(steps: int) -> float:
        return round(value + steps * step) if whole else value + steps * step

    down = _steps(lambda steps: explains(at(-steps)), math.ceil((value - step) / step) if value > step else 0)
    most = max(16, round((_MOST_TIMES - 1) * max(value, 1.0) / step))
    up = _steps(lambda steps: explains(at(steps)), most)
    return at(-down), None if up == most else at(up)


def _steps(explains: Callable[[int], bool], most: int) -> int:
    """Return how many steps away a value still explains, `most` at most: by doubling, then by halving."""
    good, bad = 0, 1
    while bad <= most and explains(bad):
        good, bad = bad, 2 * bad
    if bad > most:
        if good >= most or explains(most):
            return most
        bad = most
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if explains(middle) else (good, middle)
    return good


def _alternative(one: Decided, records: pl.DataFrame) -> Alternative | None:
    own = records.filter(pl.col("trunk").is_in(one.names)).sort("sent_s", nulls_last=True)
    found = identify_trunk(own.head(_MOST_IDENTIFIED))
    if found.settings is None:
        return None
    anchor_s = found.anchor_s or 0.0
    settings = found.settings.model_copy(update={"shared": one.policy.shared, "per": one.policy.per})
    share = one.described_as(settings).share(anchor_s)
    return Alternative(settings, share, found.is_sure, found.doubts)
