"""A load on a trunk that is not ours: only listed numbers ring, each far end is judged by its kind, limits are kept."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.loadgen.stacks.abroad.conftest import (
    ANSWERS,
    BUSY,
    CALLER,
    CUSTOMER,
    DOMAIN,
    ECHO,
    ECHO_TOO,
    PASSWORD,
    PLAYS,
    RINGS,
    USERNAME,
    dialled,
    foreign_trunk,
)

from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.validation.compare import compare_records
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.run import RunResult, drive
from trunkproof.loadgen.stacks.asterisk.find import Installation
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study
from trunkproof.simulator.run import simulate

pytestmark = pytest.mark.alone
FAR_ENDS: list[dict[str, Any]] = [
    {"numbers": [ECHO, ECHO_TOO], "far_end": "echo", "share": 0.3},
    {"number": PLAYS, "far_end": "plays"},
    {"number": ANSWERS, "far_end": "answers"},
    {"number": BUSY, "far_end": "rejects", "status": 486},
    {"number": RINGS, "far_end": "rings"},
]


QUICK: dict[str, Any] = {"carrier": {"setup": 0.01}}


def study(
    destinations: list[dict[str, Any]],
    *,
    calls: int = 20,
    caller: str = CALLER,
    credentials: Any = None,
    **changes: Any,
) -> Study:
    """Five calls a second."""
    traffic = {
        "arrivals": {"kind": "constant", "rate_per_minute": 300},
        "holding": 1.5,
        "ringing": 0,
        "patience": {"kind": "constant", "value_s": 0.4},
        "callers": [caller],
        "destinations": destinations,
    }
    trunk = {
        "customer_address": CUSTOMER,
        "from_domain": DOMAIN,
        "throttle": {"policy": "none"},
        "traffic": traffic | changes,
        "credentials": credentials,
    }
    return Study.model_validate({"name": "abroad", "duration_s": calls / 5 - 0.1, "pop": QUICK, "trunks": [trunk]})


def load(
    question: Study, installation: Installation, folder: Path, *, challenges: bool = False
) -> tuple[RunResult, list[str]]:
    """Place the calls; return the result, and each INVITE as it was sent."""
    sent: list[str] = []

    def trace(direction: str, data: bytes) -> None:
        if direction == "sent" and data.startswith(b"INVITE "):
            sent.append(data.decode())

    async def run() -> RunResult:
        async with foreign_trunk(installation, folder, challenges=challenges) as card:
            return await drive(draw_plan(question), card, RunOptions(trace=trace))

    return asyncio.run(run()), sent


def by(records: pl.DataFrame, far_end: str) -> pl.DataFrame:
    return records.filter(pl.col("far_end") == far_end)


def test_twenty_calls_to_each_kind_of_far_end(asterisk: Installation, tmp_path: Path) -> None:
    question = study(FAR_ENDS)
    result, sent = load(question, asterisk, tmp_path)
    records = result.records
    assert records.height == 20
    assert set(records["far_end"]) == {"echo", "plays", "answers", "rejects", "rings"}
    listed = {ECHO, ECHO_TOO, PLAYS, ANSWERS, BUSY, RINGS}
    # On the wire, and in the trunk's own log.
    users = [(text.split("sip:")[1].split("@")[0], text.split("To: <sip:")[1].split("@")[0]) for text in sent]
    assert len(users) == 20
    assert {number for pair in users for number in pair} <= listed
    assert all(f"<sip:{CALLER}@{DOMAIN}>" in text for text in sent)
    noted = dialled(tmp_path)
    assert sorted(noted) == sorted((number, CALLER) for number, _ in users)

    echo, plays, answers = by(records, "echo"), by(records, "plays"), by(records, "answers")
    assert set(pl.concat([echo, plays, answers])["disposition"]) == {"completed"}, records["reason"].to_list()
    assert echo["round_trip_ms"].is_between(0, 200, closed="none").all()
    assert (echo["rtp_received"] > 50).all()
    assert records.filter(pl.col("far_end") != "echo")["round_trip_ms"].null_count() == 20 - echo.height
    # An announcement may end before its caller hangs up, and a far end that only answers may be silent.
    assert set(plays["ended_by"]) == {"peer"}
    assert plays["rtp_received"].min() == pytest.approx(30, abs=5)
    assert set(answers["rtp_received"]) == {0}
    assert set(by(records, "rejects").select("disposition", "status").iter_rows()) == {("busy", 486)}
    assert set(by(records, "rings").select("disposition", "status").iter_rows()) == {("abandoned", 487)}
    for destination, number in enumerate([ECHO, ECHO_TOO, PLAYS, ANSWERS, BUSY, RINGS]):
        calls = records.filter(pl.col("destination") == destination).height
        assert calls == sum(each == number for each, _ in noted)

    plan = draw_plan(question)
    compared = compare_records(
        plan,
        simulate(question, plan),
        records,
        generator=result.generator,
        provenance=Provenance.collect(question, "a test"),
    )
    assert compared.agreement == 1


def test_a_far_end_that_does_what_nobody_expects(asterisk: Installation, tmp_path: Path) -> None:
    """An echo is listed as busy, a silent telephone as an echo, and a busy one as an announcement."""
    wrong = [
        {"number": ECHO, "far_end": "rejects"},
        {"number": ANSWERS, "far_end": "echo"},
        {"number": PLAYS, "far_end": "echo"},
        {"number": BUSY, "far_end": "plays"},
    ]
    question = study(wrong)
    result, _ = load(question, asterisk, tmp_path)
    records = result.records
    answered = by(records, "rejects")
    assert set(answered.select("disposition", "reason").iter_rows()) == {("completed", "it was not expected to answer")}
    silent, other = (records.filter(pl.col("destination") == place) for place in (1, 2))
    assert set(silent["disposition"]) == set(other["disposition"]) == {"media_failed"}
    assert all("one-way audio" in reason for reason in silent["reason"])
    assert all("our own audio that came back" in reason for reason in other["reason"])
    assert set(by(records, "plays")["disposition"]) == {"busy"}
    # The trunk admitted all of them as predicted: what the far ends did is no disagreement of it.
    plan = draw_plan(question)
    compared = compare_records(
        plan,
        simulate(question, plan),
        records,
        generator=result.generator,
        provenance=Provenance.collect(question, "a test"),
    )
    assert compared.agreement == 1
    assert compared.far_ends


def test_limits_of_a_number_are_kept(asterisk: Installation, tmp_path: Path) -> None:
    limited = [
        {"number": ECHO, "far_end": "echo", "at_once": 2},
        {"number": PLAYS, "far_end": "plays", "per_minute": 3},
    ]
    question = study(limited)
    result, sent = load(question, asterisk, tmp_path)
    records, predicted = result.records, simulate(question)
    assert by(records, "plays").height == 3
    echo = by(records, "echo")
    ups = sorted([(at, 1) for at in echo["sent_s"]] + [(at, -1) for at in echo["ended_s"]])
    assert max(sum(step for _, step in ups[: place + 1]) for place in range(len(ups))) == 2
    assert records.height + result.not_placed == 20
    assert len(sent) == records.height
    assert set(records["row"]) == set(predicted["row"])


def test_a_wrong_exophone_is_forbidden(asterisk: Installation, tmp_path: Path) -> None:
    result, _ = load(study([{"number": ECHO, "far_end": "echo"}], calls=2, caller="+918040009999"), asterisk, tmp_path)
    assert set(result.records.select("disposition", "status").iter_rows()) == {("forbidden", 403)}


@pytest.mark.parametrize(("password", "outcome"), [(PASSWORD, ("completed", 200)), ("wrong", ("unauthorised", 401))])
def test_rfc7616_a_challenge_is_answered_once(
    password: str, outcome: tuple[str, int], asterisk: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_PASSWORD", password)
    given = {"username": USERNAME, "password_env": "TEST_PASSWORD"}
    question = study([{"number": ECHO, "far_end": "echo"}], calls=2, credentials=given)
    result, sent = load(question, asterisk, tmp_path, challenges=True)
    assert set(result.records.select("disposition", "status").iter_rows()) == {outcome}
    # Two calls, each with one INVITE without and one with credentials.
    assert [("Authorization: Digest" in text) for text in sorted(sent, key=lambda text: "Authorization" in text)] == [
        *([False] * 2),
        *([True] * 2),
    ]
    assert password not in question.model_dump_json() + "".join(sent)
