"""A validation on trunks that somebody else runs, and on one that stands still."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from trunkproof.experiments.report.page import render
from trunkproof.experiments.validation.compare import Comparison
from trunkproof.experiments.validation.outcome import Outcome
from trunkproof.experiments.validation.validate import read_evidence, validate_async
from trunkproof.experiments.verification.identify.foreign import (
    BUSY,
    CALLER,
    CUSTOMERS,
    DOMAIN,
    ECHO,
    RINGS,
    Mechanism,
    foreign_trunk,
)
from trunkproof.loadgen.card import read_card
from trunkproof.loadgen.stacks.asterisk.find import find_asterisk
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.errors import InputError, StackError
from trunkproof.models.study import Study
from trunkproof.models.study_file import parse_study

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module", autouse=True)
def asterisk() -> None:
    try:
        find_asterisk()
    except StackError as missing:
        pytest.skip(str(missing))


def study(throttle: dict[str, Any], *, echo: str = ECHO, shared: bool = False) -> Study:
    """Seven calls a second, from one customer or from two that share the throttle."""
    traffic = {
        "holding": 0.8,
        "ringing": 0,
        "patience": 0.3,
        "callers": [CALLER],
        "destinations": [
            {"number": echo, "far_end": "echo"},
            {"number": BUSY, "far_end": "rejects", "status": 486},
            {"number": RINGS, "far_end": "rings"},
        ],
    }
    customers = CUSTOMERS if shared else CUSTOMERS[:1]
    trunks = [
        {
            "name": f"customer{place}",
            "customer_address": address,
            "from_domain": DOMAIN,
            "throttle": {"shared": "all"} if shared else throttle,
            "traffic": traffic | {"arrivals": {"kind": "poisson", "rate_per_minute": 420 / len(customers)}},
        }
        for place, address in enumerate(customers)
    ]
    pop = {"carrier": {"setup": 0.02}, "throttles": {"all": throttle} if shared else {}}
    return Study.model_validate({"name": "abroad", "duration_s": 8, "pop": pop, "trunks": trunks})


def validated(question: Study, folder: Path, mechanism: Mechanism, **settings: int) -> Comparison:
    async def run() -> Comparison:
        async with foreign_trunk(folder / "foreign", mechanism, **settings) as (card, _):
            return await validate_async(question, folder / "out", card=card)

    found = asyncio.run(run())
    if found.generator.verdict is not Verdict.VALID:
        # As the suite does: other users of this machine may be done by then. A new trunk has a full bucket.
        found = asyncio.run(run())
    if not found.valid:
        pytest.skip("the load generator was VOID twice, so nothing can be said of the trunk")
    return found


def test_the_phase_of_kamailios_pipelimit_is_fitted_and_the_verdict_says_so(tmp_path: Path) -> None:
    window = {"policy": "fixed_window", "limit": 12, "window_s": 3}
    found = validated(study(window), tmp_path, Mechanism.PIPELIMIT, limit=12, window_s=3)
    assert found.abroad
    assert found.fitted is not None
    # The phase is the trunk's, so the unfitted prediction is right by chance only.
    assert found.outcome is not Outcome.DIFFERS, found.sentence
    if found.generator.verdict is Verdict.VALID:
        assert found.fitted.agreement >= 0.99, found.fitted.disagreements
        assert found.outcome in {Outcome.AGREES_FITTED, Outcome.AGREES}
    (fit,) = found.fits
    assert fit.phase is not None
    assert fit.phase.within_s < 0.2
    again = read_evidence(tmp_path / "out")
    assert again.to_json() == found.to_json()
    page = render(again)
    if found.outcome is Outcome.AGREES_FITTED:
        assert "AGREE, PHASE FITTED" in page
        assert "fitted to these calls they agree on" in found.sentence


@pytest.mark.slow
def test_two_customers_behind_one_bucket_that_is_described_wrongly_and_rightly(tmp_path: Path) -> None:
    bucket = {"policy": "token_bucket", "limit": 60, "burst": 10}
    found = validated(study(bucket, shared=True), tmp_path / "right", Mechanism.BUCKET, limit=60, burst=10)
    assert found.outcome is not Outcome.DIFFERS, found.sentence
    assert found.fits[0].share >= 0.95
    if found.generator.verdict is Verdict.VALID:
        assert found.outcome is Outcome.AGREES, found.sentence
    assert found.fits[0].trunks == ("customer0", "customer1")

    window = {"policy": "fixed_window", "limit": 12, "window_s": 3}
    wrong = validated(study(window), tmp_path / "wrong", Mechanism.BUCKET, limit=60, burst=10)
    assert wrong.outcome is Outcome.DIFFERS
    other = wrong.fits[0].alternative
    assert other is not None
    assert other.share >= 0.98 > wrong.fits[0].best_share
    assert f"as {other.settings.describe()}" in wrong.sentence


@pytest.mark.slow
def test_numbers_that_nobody_knows_are_no_agreement(tmp_path: Path) -> None:
    question = study({"policy": "none"}, echo="+918040009999").model_copy(update={"duration_s": 3.0})
    found = validated(question, tmp_path, Mechanism.NONE)
    assert found.outcome is Outcome.DIFFERS
    assert {one.measured for one in found.disagreements} == {"not_found"}


STILL = """\
name: a trunk that stands still
duration_s: 10
trunk:
  throttle: {policy: none}
traffic:
  arrivals: {kind: constant, rate_per_minute: 120}
  holding: 0.5
  ringing: 0.2
  tls: {policy: persistent}
"""


def test_a_trunk_that_stood_still_for_five_seconds_does_not_agree(tmp_path: Path) -> None:
    async def run() -> Comparison:
        card = tmp_path / "trunk" / "trunk.json"

        async def stand_still() -> None:
            while not card.exists():
                await asyncio.sleep(0.1)
            pid = read_card(card).pid
            assert pid is not None
            await asyncio.sleep(5)
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(5)
            os.kill(pid, signal.SIGCONT)

        _, found = await asyncio.gather(stand_still(), validate_async(parse_study(STILL), tmp_path))
        return found

    found = asyncio.run(run())
    assert found.valid
    assert not found.agrees
    assert "stall" in {one.name for one in found.misses}
    assert "longest stall" in found.sentence


def test_inbound_calls_are_refused_where_nobody_would_place_them(tmp_path: Path) -> None:
    question = parse_study(STILL + "  inbound_share: 0.5\n")

    async def run() -> None:
        async with foreign_trunk(tmp_path / "foreign", Mechanism.NONE) as (card, _):
            await validate_async(question, tmp_path / "out", card=card)

    with pytest.raises(InputError, match="inbound"):
        asyncio.run(run())
