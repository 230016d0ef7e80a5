"""A throttle told from the records of a run."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from trunkproof.experiments.report.identify_page import render_identify
from trunkproof.experiments.target.identify.recorded import attempts_of, identify_records
from trunkproof.models.records import Disposition
from trunkproof.models.study_file import parse_study
from trunkproof.simulator.run import simulate

STUDY = """\
name: recorded
duration_s: 120
trunk:
  name: main
  throttle: {throttle}
traffic:
  arrivals: {{kind: poisson, rate_per_minute: 300}}
  holding: {{kind: exponential, mean_s: 3}}
"""


def records_of(throttle: str) -> pl.DataFrame:
    return simulate(parse_study(STUDY.format(throttle=throttle)))


@pytest.mark.parametrize(
    ("throttle", "told"),
    [
        ("{policy: fixed_window, limit: 40, window_s: 10}", "40 calls in 10 s, fixed window"),
        (
            "{policy: sliding_window_admitted, limit: 40, window_s: 10}",
            "40 calls in 10 s, sliding window over admitted calls",
        ),
        ("{policy: token_bucket, limit: 200, burst: 30}", "200 calls in 60 s, token bucket of 30"),
    ],
)
def test_the_records_of_a_run_tell_its_throttle(throttle: str, told: str) -> None:
    found = identify_records(records_of(throttle))["main"]
    assert found.settings is not None
    assert found.settings.describe() == told
    assert found.is_sure


def test_attempts_that_the_throttle_never_saw_are_left_out() -> None:
    records = records_of("{policy: token_bucket, limit: 200, burst: 30}")
    kind = pl.lit(Disposition.CONNECTION_FAILED.value).cast(records.schema["disposition"])
    lost = records.with_columns(disposition=kind, ringing_s=None, answered_s=None)
    assert len(attempts_of(records)) == records.height
    assert attempts_of(lost) == []


def test_the_page_says_what_was_told_and_what_cannot_be() -> None:
    page = render_identify(identify_records(records_of("{policy: fixed_window, limit: 40, window_s: 10}")))
    for words in ("40 calls in 10 s, fixed window", "policy: fixed_window", "cannot tell", "SURE"):
        assert words in page


def test_the_page_has_no_serious_finding_of_an_accessibility_checker(
    serious_findings: Callable[[str], list[str]],
) -> None:
    page = render_identify(identify_records(records_of("{policy: fixed_window, limit: 40, window_s: 10}")))
    assert serious_findings(page) == []
