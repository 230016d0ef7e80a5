"""Study + seed -> the numbers of a plan, as plain arrays: random numbers are drawn here and nowhere else.

It knows no table: `models.plan` makes one of these arrays, the compiled simulator reads them as they are. A chunk holds
a run of one trunk's calls in the order of time, each with the redials that its caller would make.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trunkproof.models.arrays import BoolArray, CodeArray, FloatArray, IntArray, MaskArray
from trunkproof.models.destinations import Destination
from trunkproof.models.distributions import Constant, Distribution
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.rates import arrival_chunks
from trunkproof.models.records import FarEnd
from trunkproof.models.redials import redial_masks
from trunkproof.models.streams import uniforms
from trunkproof.models.study import Study
from trunkproof.models.traffic import Outcomes

ROWS_PER_TRUNK = 10**8
"""Row numbers of a trunk begin at its index times this: two digits name the trunk, eight the row."""
CALLS_PER_CHUNK = 65_536


class Outcome(StrEnum):
    """What the far side (or the caller, by hanging up) does with a call that reaches it."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"
    ABANDONED = "abandoned"


OUTCOME_CODE = {outcome: code for code, outcome in enumerate(Outcome)}
"""Outcome -> its number in `PlanArrays.outcome`."""


@dataclass(frozen=True, eq=False)
class PlanArrays:
    """Rows of one trunk's plan, sorted by call and attempt; every array has one entry per row.

    The columns are those of `models.plan.PlanRow`, with NaN where that has `None`, and numbers for words.
    """

    trunk: int
    row: IntArray
    call: IntArray
    attempt: IntArray
    inbound: BoolArray
    place_s: FloatArray
    redial_delay_s: FloatArray
    redial_after: MaskArray
    """Endings of this attempt after which the next row follows as a redial; 0: it is the caller's last."""
    outcome: CodeArray
    status: IntArray
    setup_s: FloatArray
    ring_s: FloatArray
    hold_s: FloatArray
    resumes: BoolArray
    destination: IntArray
    """The dialled number's place in the trunk's list (`models.destinations`); -1 where it has none."""

    def __len__(self) -> int:
        return len(self.row)


def drawn_chunks(study: Study, trunk: int, *, calls_per_chunk: int = CALLS_PER_CHUNK) -> Iterator[PlanArrays]:
    """Yield one trunk's plan in pieces that ascend in time. The plan does not depend on the size of the pieces.

    Raises:
        InputError: the trunk has no number left for a row.
    """
    traffic = study.trunks[trunk].traffic
    first_call, first_row = 0, trunk * ROWS_PER_TRUNK
    for instants in arrival_chunks(traffic.arrivals, study.duration_s, study.seed, trunk, calls_per_chunk):
        if not len(instants):
            continue
        chunk = _Chunk(study, trunk, instants, first_call).arrays(first_row)
        # Checked here too, because only the draws show how many redials there are.
        rows = first_row + len(chunk) - trunk * ROWS_PER_TRUNK
        if rows > ROWS_PER_TRUNK:
            raise InputError(study.name, [too_many_rows(study, trunk, rows * study.duration_s / float(instants[-1]))])
        yield chunk
        first_call, first_row = first_call + len(instants), first_row + len(chunk)


def too_many_rows(study: Study, trunk: int, rows: float) -> Problem:
    """Return the problem of a trunk that needs so many rows."""
    longest_s = study.duration_s * ROWS_PER_TRUNK / rows
    what = (
        f"needs about {rows:,.0f} rows for calls and redials, but a trunk has numbers for {ROWS_PER_TRUNK:,}; "
        f"make duration_s less than {longest_s:,.0f}, or spread the calls over several trunks"
    )
    return Problem(where=f"trunks[{trunk}].traffic", what=what)


class _Chunk:
    """A run of calls of one trunk. `who` has the places of calls in it."""

    def __init__(self, study: Study, trunk: int, instants: FloatArray, first_call: int) -> None:
        self._traffic, self._setup = study.trunks[trunk].traffic, study.pop.carrier.setup
        self._seed, self._trunk = study.seed, trunk
        self._where = self._traffic.where
        self._instants, self._first_call = instants, first_call

    def arrays(self, first_row: int) -> PlanArrays:
        """Return all rows of the chunk."""
        callers, masks = self._callers()
        attempts = np.zeros(len(self._instants), dtype=np.int64)
        for who in callers:
            attempts[who] += 1
        ends = np.cumsum(attempts)
        rows = _empty(int(ends[-1]))
        for attempt, (who, redial_after) in enumerate(zip(callers, masks, strict=True)):
            # All attempts of a caller stand together, in their order: the redial is always the next row.
            at = (ends - attempts)[who] + attempt
            for name, values in self._attempt(attempt, who).items():
                rows[name][at] = values
            rows["redial_after"][at] = redial_after
        return PlanArrays(self._trunk, row=np.arange(first_row, first_row + int(ends[-1])), **rows)

    def _callers(self) -> tuple[list[IntArray], list[MaskArray]]:
        """Return, for each attempt, the callers who may make it, and after which endings each tries again."""
        redial, who = self._traffic.redial, np.arange(len(self._instants))
        callers: list[IntArray] = []
        masks: list[MaskArray] = []
        while len(who):
            attempt = len(callers)
            # The stream is that of the redial, and so has the number of the attempt that follows.
            draws = self._uniform("redial", attempt + 1, who) if redial.is_possible else np.ones(len(who))
            callers.append(who)
            # How an attempt will end is not known yet. So the mask holds every ending after which this caller would try
            # again.
            masks.append(redial_masks(redial, attempt, draws))
            # A row exists for every redial that may come, whether or not it does: both halves execute the same rows.
            who = who[masks[-1] > 0]
        return callers, masks

    def _attempt(self, attempt: int, who: IntArray) -> dict[str, Any]:
        traffic = self._traffic
        outcome, status = self._outcomes(attempt, who)
        hold, ring = np.zeros(len(who)), np.zeros(len(who))
        for entry, here in self._groups(who):
            if (kind := _expected(entry)) is not None:
                outcome[here], status[here] = OUTCOME_CODE[kind[0]], kind[1]
        answered, abandoned = (outcome == OUTCOME_CODE[kind] for kind in (Outcome.ANSWERED, Outcome.ABANDONED))
        rings = answered | (outcome == OUTCOME_CODE[Outcome.NO_ANSWER])
        ring[rings] = self._drawn(traffic.ringing, "ringing", attempt, who[rings])
        ring[abandoned] = self._drawn(traffic.patience, "patience", attempt, who[abandoned])
        hold[answered] = self._drawn(traffic.holding, "holding", attempt, who[answered])
        for entry, here in self._groups(who):
            # From the same random numbers: only the calls that go there change.
            if entry.ringing is not None:
                ring[here & rings] = self._drawn(entry.ringing, "ringing", attempt, who[here & rings])
            if entry.holding is not None:
                hold[here & answered] = self._drawn(entry.holding, "holding", attempt, who[here & answered])
        # The keys that its caller presses may take longer than a call would last.
        hold[answered] = np.maximum(hold, self._keys_s(who))[answered]
        return {
            "call": who + (self._first_call + self._trunk * ROWS_PER_TRUNK),
            "attempt": attempt,
            "inbound": self._inbound[who],
            # A redial's instant depends on when the attempt before it failed, which only a run shows.
            "place_s": np.nan if attempt else self._instants,
            "redial_delay_s": self._drawn(traffic.redial.delay, "redial delay", attempt, who) if attempt else np.nan,
            "outcome": outcome,
            "status": status,
            "setup_s": self._drawn(self._setup, "setup", attempt, who),
            "ring_s": ring,
            "hold_s": hold,
            "resumes": self._chosen("resumption", attempt, who, traffic.tls.resumption_share),
            "destination": self._destination[who],
        }

    def _keys_s(self, who: IntArray) -> FloatArray:
        """Return how long the keys of each caller take."""
        least_s = np.full(len(who), self._traffic.speech(None).digits_s)
        for entry, here in self._groups(who):
            least_s[here] = self._traffic.speech(entry).digits_s
        return least_s

    @cached_property
    def _destination(self) -> IntArray:
        """Return where each call goes; -1 for inbound calls, and without destinations. A redial dials it again."""
        calls = np.arange(len(self._instants))
        chosen = np.full(len(calls), -1)
        if not len(self._where):
            return chosen
        bounds = np.cumsum(self._where.shares)[:-1]
        entries = np.searchsorted(bounds, self._uniform("destination", 0, calls), side="right")
        firsts = np.array(self._where.firsts)
        places = (self._uniform("number", 0, calls) * np.diff(firsts)[entries]).astype(np.int64)
        chosen = firsts[entries] + places
        chosen[self._inbound] = -1
        return chosen

    def _groups(self, who: IntArray) -> Iterator[tuple[Destination, BoolArray]]:
        """Yield each destination with which of these callers it gets."""
        chosen, firsts = self._destination[who], self._where.firsts
        for entry, (first, end) in zip(self._where.entries, pairwise(firsts), strict=True):
            yield entry, (chosen >= first) & (chosen < end)

    @cached_property
    def _inbound(self) -> BoolArray:
        """Return which calls are inbound. All attempts of a call have the same direction."""
        return self._chosen("direction", 0, np.arange(len(self._instants)), self._traffic.inbound_share)

    def _outcomes(self, attempt: int, who: IntArray) -> tuple[CodeArray, IntArray]:
        """Return outcome and final status of each caller, from one uniform."""
        kinds = _kinds(self._traffic.outcomes)
        index = np.zeros(len(who), dtype=np.uint8)
        bounds = np.cumsum([share for _, _, share in kinds[:-1]])
        # If every call is answered nothing needs to be drawn: 1 lies beyond every bound.
        draws = self._uniform("outcome", attempt, who) if bounds[-1] > 0 else np.ones(len(who))
        for bound in bounds:
            # Each bound that the draw has passed moves it one kind further.
            index += draws >= bound
        codes = np.array([OUTCOME_CODE[outcome] for outcome, _, _ in kinds], dtype=np.uint8)
        return codes[index], np.array([status for _, status, _ in kinds])[index]

    def _chosen(self, purpose: str, attempt: int, who: IntArray, share: float) -> BoolArray:
        if share == 0:
            return np.zeros(len(who), dtype=np.bool_)
        chosen: BoolArray = self._uniform(purpose, attempt, who) < share
        return chosen

    def _drawn(self, distribution: Distribution, purpose: str, attempt: int, who: IntArray) -> FloatArray:
        # No random numbers are spent. Streams are separate by purpose, so this shifts no other draw.
        if isinstance(distribution, Constant):
            return np.full(len(who), distribution.value_s)
        return distribution.quantile(self._uniform(purpose, attempt, who)) if len(who) else np.empty(0)

    def _uniform(self, purpose: str, attempt: int, who: IntArray) -> FloatArray:
        # Draw for all calls of the chunk, even if few of them need a number. So a call's numbers depend on its own
        # place only: a change in one call's redials, or another size of chunks, changes no other call.
        count = len(self._instants)
        drawn = uniforms(self._seed, purpose, self._trunk, attempt, start=self._first_call, count=count)
        return drawn if len(who) == count else drawn[who]


def _expected(entry: Destination) -> tuple[Outcome, int] | None:
    """Return outcome and final status of calls to a destination, or None where they are drawn as the study's."""
    match entry.far_end:
        case FarEnd.PLAN:
            return None
        case FarEnd.REJECTS:
            status = entry.status or _BUSY_HERE
            return _REFUSALS.get(status, Outcome.REJECTED), status
        case FarEnd.RINGS:
            return Outcome.ABANDONED, 487
        case _:
            return Outcome.ANSWERED, 200


_BUSY_HERE = 486
_REFUSALS = {480: Outcome.NO_ANSWER, 486: Outcome.BUSY, 600: Outcome.BUSY}
"""Statuses with a meaning of their own in a plan. A far end that answers 480 has rung before."""


def _kinds(mix: Outcomes) -> list[tuple[Outcome, int, float]]:
    """Return outcome, final status and share, in the order in which the unit interval is divided."""
    return [
        (Outcome.BUSY, 486, mix.busy),
        (Outcome.NO_ANSWER, 480, mix.no_answer),
        (Outcome.ABANDONED, 487, mix.abandoned),
        *((Outcome.REJECTED, part.status, part.share) for part in mix.rejected),
        (Outcome.ANSWERED, 200, 1.0),
    ]


def _empty(rows: int) -> dict[str, NDArray[Any]]:
    whole = ("call", "attempt", "status", "destination")
    kinds = {**dict.fromkeys(whole, np.int64), "outcome": np.uint8, "redial_after": np.uint32}
    flags = dict.fromkeys(("inbound", "resumes"), np.bool_)
    instants = dict.fromkeys(("place_s", "redial_delay_s", "setup_s", "ring_s", "hold_s"), np.float64)
    return {name: np.empty(rows, dtype=kind) for name, kind in (kinds | flags | instants).items()}
