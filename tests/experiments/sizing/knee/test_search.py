"""The search for a knee, on functions whose knee is known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.experiments.sizing.knee.search import RESOLUTION, RUNG, RUNGS, Bracket, Stop, find_bracket


def _search(knee: float, start: float, *, whole: bool = False) -> tuple[Bracket, list[float]]:
    tried: list[float] = []

    async def holds(load: float) -> bool:
        tried.append(load)
        return load <= knee

    return asyncio.run(find_bracket(holds, start, whole=whole)), tried


@given(st.floats(-0.99 * (RUNGS - 2), 0.99 * (RUNGS - 2)))
def test_a_knee_within_reach_is_found_within_the_resolution(rungs: float) -> None:
    knee = 100 * RUNG**rungs
    bracket, tried = _search(knee, 100)
    assert bracket.low is not None
    assert bracket.high is not None
    assert bracket.low <= knee < bracket.high <= bracket.low * (1 + RESOLUTION)
    assert bracket.stopped is None
    assert len(tried) == len(set(tried))


@given(st.integers(1, 150), st.integers(1, 20))
def test_whole_numbers_are_found_exactly_or_within_the_resolution(knee: int, start: int) -> None:
    bracket, tried = _search(knee, start, whole=True)
    assert all(load == int(load) >= 1 for load in tried)
    assert len(tried) == len(set(tried))
    if bracket.high is not None:
        assert bracket.low is not None
        assert bracket.low <= knee < bracket.high <= max(bracket.low + 1, bracket.low * (1 + RESOLUTION))
    else:
        assert knee >= start * RUNG ** (RUNGS - 1) - 1


@pytest.mark.parametrize(("knee", "found"), [(1e9, (100 * RUNG ** (RUNGS - 1), None)), (0.0, (None, None))])
def test_what_never_fails_or_always_does_has_no_knee(knee: float, found: tuple[float | None, None]) -> None:
    bracket, tried = _search(knee, 100)
    assert len(tried) == RUNGS
    assert bracket.stopped is not None
    assert bracket.low == (None if found[0] is None else pytest.approx(found[0]))
    assert (bracket.high is None) is (knee > 0)


def _stops_above(limit: float) -> Callable[[float], Awaitable[bool]]:
    async def holds(load: float) -> bool:
        if load > limit:
            raise Stop("could not keep up")
        return True

    return holds


def test_who_is_asked_may_end_the_search() -> None:
    bracket = asyncio.run(find_bracket(_stops_above(200), 100))
    assert bracket == Bracket(150.0, None, "could not keep up")
