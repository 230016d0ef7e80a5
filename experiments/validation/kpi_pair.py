"""One indicator of a comparison: predicted, measured, and how far other predictions would lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Interval = tuple[float, float]


@dataclass(frozen=True)
class KpiPair:
    """One indicator, predicted and measured. None means n/a."""

    predicted: float | None
    measured: float | None
    prediction_interval: Interval | None
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


def saved_interval(pair: Mapping[str, Any]) -> Interval | None:
    """Return the prediction interval of what `KpiPair.to_json` gave, or of what older versions wrote."""
    ends = pair["prediction_interval"] if "prediction_interval" in pair else pair["interval"]
    if ends is None:
        return None
    low, high = ends
    return low, high
