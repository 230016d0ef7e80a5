"""By what a refusal of the throttle is recognised: rules over the status and the words of a final response.

No standard says how a trunk tells that its throttle refused a call. So a study may say it, as `throttle.refused_as`.
Where it does not, `default_rules` has what most trunks send, and pages name the rules that were used.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from trunkproof.models.settings import Settings

THROTTLE_CAUSE = 42
"""ITU-T Q.850: switching equipment congestion."""
_TOO_MANY_REQUESTS, _UNAVAILABLE = 429, 503


class FinalResponse(NamedTuple):
    """What a final response says about why a call was refused."""

    status: int
    cause: int | None = None
    """The Q.850 cause of its Reason header (RFC 3326). None where it has none."""
    words: str = ""
    """Its reason phrase, Reason headers and Warning texts."""
    retry_after_s: float | None = None


class RefusedAs(Settings):
    """One rule. Each key that is given must hold."""

    status: Annotated[int, Field(ge=400, le=699)] | None = None
    """The SIP status."""
    cause: Annotated[int, Field(ge=1, le=127)] | Literal["none"] | None = None
    """The Q.850 cause of the Reason header; `none`: there is no such cause."""
    reason_contains: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """A part of the reason phrase, of a Reason header or of a Warning, in any case."""
    retry_after: bool | None = None
    """Whether there is a Retry-After header."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self == type(self).model_construct():
            raise ValueError("needs at least one of status, cause, reason_contains, retry_after")
        return self

    @property
    def is_specific(self) -> bool:
        """Tell whether it asks for more than a status that other refusals have too."""
        return isinstance(self.cause, int) or self.reason_contains is not None or self.retry_after is True

    def matches(self, response: FinalResponse) -> bool:
        """Tell whether the rule holds for a response."""
        wanted = None if self.cause == "none" else self.cause
        return (
            self.status in {None, response.status}
            and (self.cause is None or wanted == response.cause)
            and (self.reason_contains is None or self.reason_contains.casefold() in response.words.casefold())
            and (self.retry_after is None or self.retry_after == (response.retry_after_s is not None))
        )

    def __str__(self) -> str:
        conditions = [] if self.cause is None else ["no cause" if self.cause == "none" else f"cause {self.cause}"]
        conditions += [] if self.reason_contains is None else [f'"{self.reason_contains}" in its reason']
        conditions += [] if self.retry_after is None else [f"{'' if self.retry_after else 'no '}Retry-After"]
        subject = "any status" if self.status is None else str(self.status)
        return f"{subject} with {' and '.join(conditions)}" if conditions else subject


def default_rules(refusal_status: int) -> tuple[RefusedAs, ...]:
    """Return the rules of a study that has none of its own, whose throttle refuses with this status.

    A 503 has many reasons, so another cause than 42 tells another reason. Any other status was chosen for the throttle.
    """
    if refusal_status == _UNAVAILABLE:
        own = (RefusedAs(status=_UNAVAILABLE, cause=THROTTLE_CAUSE), RefusedAs(status=_UNAVAILABLE, cause="none"))
    else:
        # RFC 3261 section 21.5.4: an overloaded server says 503, and Retry-After when it is ready again.
        own = (RefusedAs(status=refusal_status), RefusedAs(status=_UNAVAILABLE, cause="none", retry_after=True))
    # RFC 6585 section 4 gives 429 this meaning in HTTP, and trunks have taken it over.
    return own if refusal_status == _TOO_MANY_REQUESTS else (*own, RefusedAs(status=_TOO_MANY_REQUESTS))
