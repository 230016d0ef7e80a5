"""The embedded trunk by itself: who may call it, where its audio may go, and which numbers it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from trunkproof.loadgen.guard import Guard
from trunkproof.loadgen.media.pump import asked_for
from trunkproof.loadgen.stacks.embedded.trunk import EmbeddedTrunk
from trunkproof.loadgen.stacks.stack import ServeOptions
from trunkproof.models.errors import GuardError
from trunkproof.models.plan import Outcome, draw_plan
from trunkproof.models.study import Study

ELSEWHERE = "192.0.2.7"
"""RFC 5737: never anyone's address."""


def study() -> Study:
    traffic = {"arrivals": {"kind": "replay", "instants_s": [0.0, 1.0]}, "holding": 1}
    trunks = [
        {"name": "one", "customer_address": "127.0.92.1", "traffic": traffic},
        {"name": "two", "customer_address": "127.0.92.2", "whitelist": ["198.51.100.0/24"], "traffic": traffic},
    ]
    return Study.model_validate({"name": "t", "duration_s": 5, "trunks": trunks})


def with_trunk(test: Callable[[EmbeddedTrunk], None], folder: Path, options: ServeOptions | None = None) -> None:
    asked_for()

    async def run() -> None:
        trunk = EmbeddedTrunk(draw_plan(study()), folder, options or ServeOptions())
        try:
            test(trunk)
        finally:
            await trunk.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("address", "admitted"),
    [("127.0.92.1", True), ("198.51.100.9", True), ("127.0.92.2", False), ("127.0.92.3", False), ("::1", False)],
)
def test_an_address_on_any_whitelist_is_no_stranger(address: str, admitted: bool, tmp_path: Path) -> None:
    def test(trunk: EmbeddedTrunk) -> None:
        assert trunk.is_whitelisted(address) is admitted

    with_trunk(test, tmp_path)


def test_audio_goes_to_loopback_and_to_hosts_that_the_user_allows(tmp_path: Path) -> None:
    def strict(trunk: EmbeddedTrunk) -> None:
        with pytest.raises(GuardError):
            trunk.audio.check_media(ELSEWHERE)

    def allowing(trunk: EmbeddedTrunk) -> None:
        assert trunk.audio.check_media(ELSEWHERE) == ELSEWHERE
        with pytest.raises(GuardError):
            trunk.audio.check_media("192.0.2.8")

    with_trunk(strict, tmp_path / "strict")
    with_trunk(allowing, tmp_path / "allowing", ServeOptions(guard=Guard(frozenset({ELSEWHERE}))))


def test_a_number_that_no_plan_dials_is_answered_under_a_row_of_its_own(tmp_path: Path) -> None:
    def test(trunk: EmbeddedTrunk) -> None:
        foreign = [trunk._unplanned_row("4915112345678") for _ in range(2)]
        assert foreign[0].row != foreign[1].row
        assert not {row.row for row in foreign} & set(trunk.plan.rows)
        # A row of another study's plan: its caller knows the voice of that row.
        assert trunk._unplanned_row("+910000000777").row == 777
        assert {row.outcome for row in foreign} == {Outcome.ANSWERED}

    with_trunk(test, tmp_path, ServeOptions(answer_any=True))
