"""Settings of a fit: what to assume where the history does not show it.

The fit itself is in `models.demand.fitting.fit`.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field

from trunkproof.models.settings import Settings
from trunkproof.models.traffic import Redial


class Assumed(Settings):
    """Assumed behaviour of callers where the history does not show it, such as a history of counts."""

    mean_hold_s: Annotated[float, Field(gt=0)] = 180.0
    """The mean duration of calls, in seconds."""
    hold_cv: Annotated[float, Field(gt=0)] = 1.2
    """Standard deviation of the duration over its mean."""
    redial: Redial = Redial(probability=0.5)
    """Who tries again after a failure."""


class ThrottleChange(Settings):
    """The throttle from one day of the history on."""

    from_: Annotated[date, Field(alias="from")]
    """First local day."""
    per_minute: Annotated[int, Field(ge=1, le=1_000_000)]
    """The throttle from then on, in calls per minute."""
