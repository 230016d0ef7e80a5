"""Limits that several trunks share: written once in a study, as `pop.throttles`, and named by each trunk.

```yaml
pop:
  throttles:
    account: {policy: fixed_window, limit: 200, per: account}
trunks:
  - {throttle: {shared: account}, ...}
  - {throttle: {policy: tandem, limits: [{policy: token_bucket, limit: 60}, {shared: account}]}, ...}
```

A shared limit has one count for all trunks that name it. With `per: account` it has one for each of their accounts, and
with `per: trunk` one for each trunk: then only the settings are shared. A trunk has one source address in a study, so a
limit per source is one per trunk.

A name is replaced by its settings when a study is read, and `Policy.shared` keeps it. So all other code sees a policy
as any other; only who makes the throttles asks `Study.count_of`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from trunkproof.models.settings import WrongTogetherError
from trunkproof.models.throttles.policy import Policy


def with_names_replaced(written: Any, shared: Mapping[str, Any], where: str) -> Any:
    """Return a trunk's throttle as it was written, with the settings of each shared limit in place of its name.

    Raises:
        WrongTogetherError: there is no limit of that name, or more than the name was written.
    """
    if not isinstance(written, dict):
        return written
    if isinstance(limits := written.get("limits"), list | tuple):
        replaced = [with_names_replaced(each, shared, f"{where}.limits[{index}]") for index, each in enumerate(limits)]
        return written | {"limits": replaced}
    name = written.get("shared")
    if name is None or "policy" in written:
        return written
    if len(written) > 1:
        what = f"`shared: {name}` stands alone; all settings belong to pop.throttles.{name}"
        raise WrongTogetherError(where, what)
    if name not in shared:
        known = ", ".join(map(str, shared)) or "nothing"
        raise WrongTogetherError(f"{where}.shared", f"pop.throttles has no {name}; it has {known}")
    settings = shared[name]
    if isinstance(settings, Policy):
        return settings.model_copy(update={"shared": name})
    return settings | {"shared": name} if isinstance(settings, dict) else settings


def sharing_problems(throttle: Policy, shared: Mapping[str, Policy]) -> Iterator[str]:
    """Yield what is wrong with the sharing of a trunk's throttle or of its parts."""
    for each in chain([throttle], throttle.parts):
        if each.shared is None:
            if each.per is not None:
                yield f"`per: {each.per}` is for limits that trunks share: write the limit under pop.throttles"
        elif shared.get(each.shared) != each.model_copy(update={"shared": None}):
            yield f"differs from pop.throttles.{each.shared}; write `shared: {each.shared}` alone"
