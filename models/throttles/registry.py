"""The list of all throttle policies. All other code finds them here.

| policy | window | counts | refuses a call | remembers |
|---|---|---|---|---|
| `none` | | | never | nothing |
| `fixed_window` | fixed | admitted | when `limit` calls passed in this window | the count of this window |
| `pipelimit`, `taildrop` | fixed, one for all | attempts | when `limit` attempts came in this window | this count |
| `pipelimit`, `red` | fixed, one for all | attempts | unless it is each n-th: n limits came before | two counts |
| `sliding_window_admitted` | sliding | admitted | when `limit` calls passed in the window before | `limit` instants |
| `sliding_window_attempts` | sliding | attempts | when `limit` attempts came in the window before | `limit` instants |
| `token_bucket` | pace | admitted | when none of `burst` tokens is left | when the bucket is full |
| `shaper` | pace | admitted | when it would wait too long, or too many wait | when the queue is empty |
| `penalty_box` | sliding or fixed | admitted | when the window is full, and `penalty_s` from then on | both |
| `tandem` | those of its limits | as its limits | when one of its limits refuses | all that its limits remember |

The order is that of the words in messages and of the numbers in the compiled simulator; nothing else depends on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Annotated, get_args

from pydantic import Field

from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.penalty_box import PenaltyBox
from trunkproof.models.throttles.pipelimit import PipeLimit
from trunkproof.models.throttles.policy import Policy
from trunkproof.models.throttles.shaper import Shaper
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts
from trunkproof.models.throttles.tandem import Tandem
from trunkproof.models.throttles.token_bucket import TokenBucket
from trunkproof.models.throttles.windows import Windowed

ThrottleSettings = Annotated[
    FixedWindow
    | PipeLimit
    | SlidingWindowAdmitted
    | SlidingWindowAttempts
    | TokenBucket
    | Shaper
    | PenaltyBox
    | Tandem
    | NoThrottle,
    Field(discriminator="policy"),
]
"""A throttle as a study says it: its `policy` tells which."""

POLICIES: tuple[type[Policy], ...] = get_args(get_args(ThrottleSettings)[0])
"""All of them."""

KERNEL_CODE: dict[type[Policy], int] = {policy: code for code, policy in enumerate(POLICIES)}
"""By which compiled code tells them apart."""


def shares_timer(throttle: Policy) -> bool:
    """Tell whether the windows of this throttle, or of a part of it, begin with those of all trunks."""
    return any(each.shares_timer for each in (throttle, *throttle.parts))


def timers_that_differ(throttles: Iterable[ThrottleSettings]) -> str | None:
    """Return the first policy with one timer whose trunks want windows of different lengths, or None."""
    windows: dict[str, set[float]] = {}
    for each in chain.from_iterable((throttle, *throttle.parts) for throttle in throttles):
        if isinstance(each, Windowed) and each.shares_timer:
            windows.setdefault(each.name(), set()).add(each.window_s)
    return next((policy for policy, lengths in windows.items() if len(lengths) > 1), None)


def plausible_interpretations() -> tuple[ThrottleSettings, ...]:
    """Return the ways in which an undocumented throttle may well work, each at its defaults."""
    return tuple(policy() for policy in POLICIES if policy.is_plausible)  # type: ignore[misc]
