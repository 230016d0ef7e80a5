"""What a fit takes for granted where the history does not show it.

Settings only; the fit itself is `models.demand.fitting.fit`.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field

from trunkproof.models.settings import Settings
from trunkproof.models.traffic import Redial


class Assumed(Settings):
    """What callers are taken to do where the history does not show it, as a history of counts does not."""

    mean_hold_s: Annotated[float, Field(gt=0)] = 180.0
    hold_cv: Annotated[float, Field(gt=0)] = 1.2
    redial: Redial = Redial(probability=0.5)


class ThrottleChange(Settings):
    """The throttle from one day of the history on."""

    from_: Annotated[date, Field(alias="from")]
    """First local day."""
    per_minute: Annotated[int, Field(ge=1, le=1_000_000)]
