"""What the suite's tests share: the content of the comparison.json of a run that keeps every criterion."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.validation.compare import compare_records
from trunkproof.experiments.validation.cpu import CpuComparison
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.verdict import Measurements, judge
from trunkproof.models.plan import draw_plan
from trunkproof.models.study_file import parse_study
from trunkproof.simulator.run import simulate

STUDY = """\
name: made up
duration_s: 30
trunk:
  throttle: {policy: fixed_window, limit: 40, window_s: 12}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 240}
  holding: {kind: exponential, mean_s: 3}
"""


@pytest.fixture
def saved() -> dict[str, Any]:
    study = parse_study(STUDY).on("kamailio")
    plan = draw_plan(study)
    records = simulate(study, plan)
    content = compare_records(
        plan,
        records,
        records,
        generator=judge(Measurements()),
        provenance=Provenance.collect(study, "a test"),
        srtp=Heard(received=5000, authenticated=5000),
        cpu=CpuComparison(30.0, 2.0, 2.0, {"packet_s": 1.5, "invite_s": 0.5}, {"kamailio": 0.4, "rtpengine": 1.6}),
    ).to_json()
    return dict(json.loads(json.dumps(content)))
