"""Plan, task and results come out of a team's folder as they went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from polars.testing import assert_frame_equal

from trunkproof.loadgen.bugs import Bug
from trunkproof.loadgen.card import CustomerFiles, TrunkCard
from trunkproof.loadgen.guard import Guard, Target
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.tls.certificates import CertificateFiles
from trunkproof.loadgen.verdict import Measurements, judge
from trunkproof.loadgen.workers.messages import (
    Task,
    digest_of,
    open_tally,
    read_placed,
    read_task,
    write_placed,
    write_task,
)
from trunkproof.loadgen.workers.placer import PlacedCalls
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import Direction, Disposition, Record, to_frame
from trunkproof.models.study_file import parse_study

STUDY = parse_study("""\
name: handed over
duration_s: 5
traffic:
  arrivals: {kind: poisson, rate_per_minute: 600}
  holding: {kind: lognormal, mean_s: 6, cv: 0.8}
  outcomes: {busy: 0.2, rejected: [{status: 404, share: 0.1}]}
  redial: {probability: 0.5}
  inbound_share: 0.3
""").on("kamailio")


def test_a_task_and_its_plan_are_read_back(tmp_path: Path) -> None:
    customers = {"a": CustomerFiles(certificate="c.pem", key="k.pem", phone_port=5061)}
    card = TrunkCard(
        stack="kamailio",
        server_name="a.example",
        host="127.0.0.1",
        port=5,
        ca_file="ca",
        cores=(0,),
        customers=customers,
    )
    task = Task(
        study=STUDY,
        card=card,
        target=Target("localhost", "127.0.0.1", 5),
        options=RunOptions(
            guard=Guard(frozenset({"192.0.2.1"}), 100.0, production=True),
            workers=2,
            head_start_s=3.5,
            at_least_s=7.0,
            client_certificate=CertificateFiles(Path("chain.pem"), Path("key.pem")),
            keylog=Path("keys.log"),
        ),
    )
    plan = draw_plan(STUDY)
    write_task(task, plan, tmp_path)
    again, same = read_task(tmp_path)
    assert again == task
    assert_frame_equal(same.table, plan.table)
    assert same.rows == plan.rows
    assert digest_of(same) == digest_of(plan)
    assert digest_of(draw_plan(STUDY.model_copy(update={"seed": 2}))) != digest_of(plan)


def test_a_tally_is_shared(tmp_path: Path) -> None:
    card = TrunkCard(server_name="a.example", host="127.0.0.1", port=5, ca_file="ca")
    task = Task(study=STUDY, card=card, target=Target("h", "127.0.0.1", 5), options=RunOptions(workers=2))
    write_task(task, draw_plan(STUDY), tmp_path)
    here, there = open_tally(tmp_path, 2), open_tally(tmp_path, 2)
    there[1] += (3, 2)
    assert here.tolist() == [[0, 0], [3, 2]]


def test_a_part_is_read_back(tmp_path: Path) -> None:
    record = Record(
        row=1, call=1, attempt=0, trunk="t", direction=Direction.INBOUND, disposition=Disposition.BUSY, intended_s=0.25
    )
    bugs = (Bug("call 1, attempt 0", "KeyError: 7", "Traceback", 2),)
    measured = Measurements(
        lateness_s=[0.001, 0.1 / 3],
        loop_lag_s=np.array([0.2]),
        cpu_share=1 / 3,
        media_lateness_p99_ms=0.7,
        never_placed=2,
    )
    part = PlacedCalls(to_frame([record]), measured, Heard(10, 9), bugs=bugs)
    write_placed(part, tmp_path, 1)
    again = read_placed(tmp_path, 1)
    assert_frame_equal(again.records, part.records)
    assert judge(again.measured) == judge(measured)
    assert again.heard == part.heard
    assert again.bugs == bugs
