"""What a validation may find out about a study."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What a validation says of the study."""

    AGREES = "agrees"
    """Prediction and real calls agree, as predicted before the first call."""
    AGREES_FITTED = "agrees_fitted"
    """They agree with the phase of the throttle's windows, which is state of the trunk, fitted to the same records."""
    DIFFERS = "differs"
    CANNOT_TELL = "cannot_tell"
    """The run was VOID or cut short, or a generator that was late may itself have made the difference."""
