"""Thresholds of a load test: a bound on any indicator, of the whole run or of a window, that may end the run early.

    thresholds:
      - {kpi: srd_p95_ms, at_most: 800}
      - {kpi: refused_share, at_most: 0.05, window_s: 60, abort_after_s: 30}
      - {kpi: mos_p5, at_least: 4.0, trunk: shop}
      - {kpi: asr, at_least: 0.9, number: "+918040005555"}

`quality:` says what the traffic needs, and every command judges it. Thresholds are for `load` alone. `models.windows`
computes their values, and `experiments.load.judge` judges them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from trunkproof.models.destinations import Destinations, Number, masked_number
from trunkproof.models.kpis import DEFINITIONS, Count
from trunkproof.models.records import FarEnd
from trunkproof.models.settings import Settings
from trunkproof.models.targets import Operator, Target
from trunkproof.models.windows import is_windowed


def _known_kpi(name: str) -> str:
    if name not in DEFINITIONS:
        near = difflib.get_close_matches(name, DEFINITIONS, n=1)
        raise ValueError(
            f"there is no indicator `{name}`; "
            + (f"did you mean `{near[0]}`?" if near else f"known: {', '.join(DEFINITIONS)}")
        )
    return name


class KpiThreshold(Settings):
    """One threshold: an indicator, its bound, and of which attempts."""

    kpi: Annotated[str, AfterValidator(_known_kpi)]
    """The indicator, such as `srd_p95_ms`."""
    at_most: float | None = None
    """The largest value that keeps it."""
    at_least: float | None = None
    """Exactly one of the two bounds. A share is written as 0.05, not as 5."""
    window_s: Annotated[float, Field(ge=1, le=86_400)] | None = None
    """It must hold in every window of this length, by the intended instants of attempts. None: of the whole run."""
    attempts_min: Annotated[int, Field(ge=1)] = 1
    """With fewer attempts the run, or one window, is not judged."""
    trunk: str | None = None
    """Only the attempts of this trunk. None: of all."""
    number: Number | None = None
    """Only the attempts to this number, which a trunk's `destinations` list."""
    far_end: FarEnd | None = None
    """Only the attempts to numbers with such a far end."""
    abort: bool = False
    """End the run as soon as it is missed."""
    abort_after_s: Annotated[float, Field(ge=0)] | None = None
    """As `abort: true`, but not before this instant after plan zero."""

    @model_validator(mode="after")
    def _is_a_bound(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("needs exactly one of at_most and at_least")
        if self.target.definition.unit == "share" and not 0 <= self.target.bound <= 1:
            raise ValueError(f"{self.kpi} is a share: its bound is between 0 and 1, such as 0.05 for 5 %")
        if self.window_s is not None and not is_windowed(self.kpi):
            raise ValueError(f"{self.kpi} is of the whole run: leave window_s out")
        if self.aborts_from_s is not None and not self._is_known_early:
            raise ValueError(f"{self.kpi} is known only at the end of a run: it cannot abort it")
        return self

    @property
    def _is_known_early(self) -> bool:
        # A count goes on growing: that it is still small says nothing.
        counts = isinstance(self.target.definition.reduction, Count)
        return is_windowed(self.kpi) and (not counts or self.target.is_upper)

    @property
    def target(self) -> Target:
        """Return indicator and bound as a target.

        Raises:
            ValueError: the bound asks for worse, such as at least so many refusals.
        """
        if self.at_most is not None:
            return Target(self.kpi, Operator.AT_MOST, self.at_most)
        assert self.at_least is not None
        return Target(self.kpi, Operator.AT_LEAST, self.at_least)

    @property
    def aborts_from_s(self) -> float | None:
        """Return the instant from which on it ends a run that misses it. None: never."""
        return self.abort_after_s if self.abort_after_s is not None else 0.0 if self.abort else None

    @property
    def scope(self) -> str:
        """Return in words of which attempts it is, with a masked number. Empty for all attempts of the run."""
        words = []
        if self.trunk is not None:
            words.append(f"trunk {self.trunk}")
        if self.number is not None:
            words.append(f"number {masked_number(self.number)}")
        if self.far_end is not None:
            words.append(f"far end {self.far_end}")
        if self.window_s is not None:
            words.append(f"any {self.window_s:g} s")
        return ", ".join(words)

    def places_in(self, trunks: Mapping[str, Destinations]) -> dict[str, int]:
        """Return trunk name -> the place of the threshold's number in that trunk's list, for trunks that have it."""
        if self.number is None:
            return {}
        found = {name: numbers.place_of(self.number) for name, numbers in trunks.items()}
        return {name: place for name, place in found.items() if place is not None}


def threshold_problems(thresholds: Sequence[KpiThreshold], trunks: Mapping[str, Destinations]) -> Iterator[str]:
    """Yield which thresholds name a trunk, a number or a far end that a study with these trunks has not."""
    far_ends = {entry.far_end for numbers in trunks.values() for entry in numbers.entries}
    for index, threshold in enumerate(thresholds):
        where = f"thresholds[{index}]"
        if threshold.trunk is not None and threshold.trunk not in trunks:
            yield f"{where}: there is no trunk {threshold.trunk}; the study has {', '.join(trunks)}"
        if threshold.number is not None and not threshold.places_in(trunks):
            yield f"{where}: no trunk lists the number {masked_number(threshold.number)} under destinations"
        if threshold.far_end is not None and threshold.far_end not in far_ends:
            yield f"{where}: no destination has the far end {threshold.far_end}"
