"""Plays all chosen scripts before the first test that asks for one: whatever can share a run does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.odd import called, callers  # noqa: F401  # they declare their scripts
from tests.odd.play import Played, Stage, play_callers, play_telephones, play_trunk
from tests.odd.scenario import CALLED, CALLERS, Scenario

Play = Callable[[Stage, Path], Awaitable[None]]


PLAYS: dict[str, Play] = {"trunk": play_trunk, "telephone": play_telephones, "caller": play_callers}
RUNS = ("calls", "ipv6", "tls12")


def _scenarios(role: str, run: str, chosen: set[tuple[str, str]]) -> list[Scenario]:
    known = CALLERS if role == "caller" else CALLED
    return [one for one in known.values() if one.run == run and (role, one.name) in chosen]


async def _play(role: str, run: str, scenarios: list[Scenario], number: int, folder: Path) -> dict[str, Played]:
    """Play the scripts of one stage. What cannot even be begun is the result of each of them."""
    # Telephones know TLS 1.2 only: many do, and one more run for that would cost as much as all their calls.
    net = "::1" if run == "ipv6" else f"127.0.{number}"
    try:
        stage = Stage(
            f"{role} {run}", scenarios, net, inbound=role == "telephone", old=run == "tls12" or role == "telephone"
        )
        await PLAYS[role](stage, folder / f"{role}-{run}")
    except (ValueError, AssertionError, OSError) as error:
        return {one.name: Played(fault=f"the run could not begin: {error}") for one in scenarios}
    return stage.played


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Played]:
    """(role, name of a script) -> what came of it, for all scripts whose tests were chosen."""
    chosen = {
        (role, params["name"])
        for item in request.session.items
        if "name" in (params := getattr(getattr(item, "callspec", None), "params", {}))
        and (role := params.get("role")) is not None
    }
    folder = tmp_path_factory.mktemp("odd")
    found: dict[tuple[str, str], Played] = {}

    async def in_turn(stages: list[tuple[str, str]]) -> None:
        for role, run in stages:
            if scenarios := _scenarios(role, run, chosen):
                number = 61 + 10 * list(PLAYS).index(role) + RUNS.index(run)
                played = await _play(role, run, scenarios, number, folder)
                found.update({(role, name): one for name, one in played.items()})

    async def play_all() -> None:
        # The calls of the trunk take longest, and are idle most of the time: beside all others.
        usual, special = [(role, "calls") for role in PLAYS], [(role, run) for run in RUNS[1:] for role in PLAYS]
        await asyncio.gather(in_turn(usual[:1]), in_turn(usual[1:]), in_turn(special))

    asyncio.run(play_all())
    return found
