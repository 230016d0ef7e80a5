"""The base class of everything that a study's YAML is read into.

It fixes three rules for all of them: values are immutable, unknown keys are errors, and a number must be finite.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Immutable, closed to unknown keys, without NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
