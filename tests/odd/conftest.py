"""Plays all chosen scripts before the first test that asks for one: whatever can share a run does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.odd import callers  # noqa: F401  # declares its scripts
from tests.odd.play import Played, Stage, play_callers, play_telephones, play_trunk
from tests.odd.scenario import CALLED, CALLERS, Scenario

Play = Callable[[Stage, Path], Awaitable[None]]


def _stages(chosen: set[tuple[str, str]]) -> dict[str, list[tuple[Stage, Play]]]:
    """What is to be played at the same time as other things, by group; within a group one after another."""

    def of(role: str, run: str) -> list[Scenario]:
        known = CALLERS if role == "caller" else CALLED
        some = [one for one in known.values() if one.run == run and (role, one.name) in chosen]
        neighbour = CALLED["rfc3264_a_healthy_neighbour"]
        return [*some, neighbour] if some and run == "harm" and role != "caller" and neighbour not in some else some

    plays: dict[str, Play] = {"trunk": play_trunk, "telephone": play_telephones, "caller": play_callers}
    groups: dict[str, list[tuple[Stage, Play]]] = {}
    number = 61
    for role, play in plays.items():
        for run in ("calls", "harm", "slow"):
            number += 1
            if scenarios := of(role, run):
                stage = Stage(f"{role} {run}", scenarios, f"127.0.{number}", inbound=role == "telephone")
                groups.setdefault("slow" if run == "slow" else "others", []).append((stage, play))
    return groups


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Played]:
    """(role, name of a script) -> what came of it, for all scripts whose tests were chosen."""
    chosen = {
        (role, params["name"])
        for item in request.session.items
        if "name" in (params := getattr(getattr(item, "callspec", None), "params", {}))
        and (role := params.get("role")) is not None
    }
    groups = _stages(chosen)
    folder = tmp_path_factory.mktemp("odd")

    async def in_turn(stages: list[tuple[Stage, Play]]) -> None:
        for stage, play in stages:
            await play(stage, folder / stage.name.replace(" ", "-"))

    async def play_all() -> None:
        await asyncio.gather(*map(in_turn, groups.values()))

    asyncio.run(play_all())
    return {
        (stage.name.split()[0], name): played
        for stages in groups.values()
        for stage, _ in stages
        for name, played in stage.played.items()
    }
