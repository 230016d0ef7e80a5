"""Throttles of every policy in the registry, small enough to be filled: so that a new policy is tested unasked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, Literal, get_args, get_origin

from trunkproof.models.throttles.policy import Policy
from trunkproof.models.throttles.registry import POLICIES

_SMALL = {"limit": 3, "window_s": 2.0, "burst": 2, "max_delay_s": 0.8, "penalty_s": 1.5}
_SMALL_LIMITS = (
    {"policy": "sliding_window_admitted", "limit": 4, "window_s": 3.0},
    {"policy": "shaper", "limit": 3, "window_s": 1.0, "max_delay_s": 0.5},
    {"policy": "penalty_box", "limit": 5, "window_s": 3.0, "penalty_s": 1.5},
    {"policy": "fixed_window", "limit": 2, "window_s": 0.5},
)
"""Each of them refuses some calls that the others admit."""


def examples(policy: type[Policy], **changes: Any) -> Iterator[Policy]:
    """One for each choice that the policy's own settings give: words, yes or no, a bound more or none."""
    own = {name: field for name, field in policy.model_fields.items() if name not in {*Policy.model_fields, "policy"}}
    values = {name: value for name, value in (_SMALL | {"limits": _SMALL_LIMITS} | changes).items() if name in own}
    choices = [
        [(name, value) for value in ((False, True) if field.annotation is bool else get_args(field.annotation))]
        for name, field in own.items()
        if field.annotation is bool or get_origin(field.annotation) is Literal
    ]
    if "queue_size" in own:
        choices.append([("queue_size", None), ("queue_size", 1)])
    for chosen in product(*choices):
        yield policy(**values, **dict(chosen))


EVERY_THROTTLE = [throttle for policy in POLICIES for throttle in examples(policy)]
EVERY_LIMIT = [throttle for throttle in EVERY_THROTTLE if throttle.is_asked]


def words_of(throttle: Policy) -> str:
    """Its description, as the name of a test."""
    return throttle.describe()
