"""Far ends that are not ours: admission is compared call by call, how they end and ring by distribution."""

from __future__ import annotations

import polars as pl
import pytest

from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.validation.compare import Comparison, compare_records
from trunkproof.experiments.validation.far_ends import compare_far_ends
from trunkproof.experiments.validation.outcome import Outcome
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.verdict import Measurements, judge
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import SCHEMA, Disposition
from trunkproof.models.study_file import parse_study
from trunkproof.simulator.run import simulate

STUDY = """\
name: abroad
duration_s: 60
trunk:
  throttle: {policy: fixed_window, limit: 100}
traffic:
  arrivals: {kind: constant, rate_per_minute: 120}
  holding: 1
  redial: {probability: 1, after: [busy], delay: 1, attempts: 2}
  destinations:
    - {numbers: ["+918040005551", "+918040005552"], far_end: echo}
    - {number: "+918040005553", far_end: rejects}
"""
study = parse_study(STUDY)
plan = draw_plan(study)
predicted = simulate(study, plan)


def as_measured(records: pl.DataFrame) -> pl.DataFrame:
    """The prediction as if it had been measured."""
    rows = plan.table.select("row", destination_="destination").with_columns(
        far_end_=pl.when(pl.col("destination_") == 2).then(pl.lit("rejects")).otherwise(pl.lit("echo"))
    )
    named = records.join(rows, on="row", how="left").sort("intended_s", "row")
    return named.with_columns(destination="destination_", far_end="far_end_").select(
        pl.col(name).cast(kind) for name, kind in SCHEMA.items()
    )


def compared(measured: pl.DataFrame) -> Comparison:
    return compare_records(
        plan,
        predicted,
        measured,
        generator=judge(Measurements()),
        provenance=Provenance.collect(study, "a test"),
        srtp=Heard(received=100, authenticated=100),
        abroad=True,
    )


def changed(measured: pl.DataFrame, only: pl.Expr, disposition: str) -> pl.DataFrame:
    other = pl.lit(disposition).cast(SCHEMA["disposition"])
    return measured.with_columns(disposition=pl.when(only).then(other).otherwise("disposition"))


MEASURED = as_measured(predicted)
ECHO, REJECTS = pl.col("far_end") == "echo", pl.col("far_end") == "rejects"


def test_the_same_records_agree() -> None:
    found = compared(MEASURED)
    assert (found.agreement, found.disagreements) == (1.0, ())
    assert found.attempts == predicted.height
    assert found.outcome is Outcome.AGREES


@pytest.mark.parametrize(
    "disposition", ["busy", "no_answer", "media_failed", "dropped", "not_found", "carrier_rejected"]
)
def test_what_a_far_end_does_with_an_admitted_call_is_no_disagreement_on_the_trunk(disposition: str) -> None:
    found = compared(changed(MEASURED, ECHO & (pl.col("disposition") == "completed"), disposition))
    assert (found.agreement, found.disagreements) == (1.0, ())
    echo = found.far_ends[0]
    count = MEASURED.filter(ECHO & (pl.col("disposition") == "completed")).height
    assert (echo.predicted.dispositions, echo.measured.dispositions) == ({"completed": count}, {disposition: count})
    # It is none of the throttle. But it is not what was predicted either.
    assert (found.agrees, found.outcome) == (False, Outcome.DIFFERS)
    assert "far ends 100.00 % of the calls to echo end otherwise" in found.sentence


@pytest.mark.parametrize("disposition", ["not_found", "carrier_rejected"])
def test_a_404_without_ringing_does_not_show_that_the_trunk_admitted_the_call(disposition: str) -> None:
    unknown = changed(MEASURED, pl.col("disposition").is_in(["completed", "busy"]), disposition)
    never = pl.lit(None, dtype=pl.Float64)
    unknown = unknown.with_columns(ringing_s=never, answered_s=never)
    found = compared(unknown)
    assert not found.agrees
    assert {one.measured for one in found.disagreements} == {Disposition(disposition)}
    assert found.agreement == pytest.approx(1 - len(found.disagreements) / found.attempts)
    assert found.agreement < 0.5


@pytest.mark.parametrize("disposition", ["throttled", "forbidden", "no_channel", "connection_failed"])
def test_a_refusal_of_the_trunk_is_a_disagreement(disposition: str) -> None:
    completed = ECHO & (pl.col("disposition") == "completed")
    found = compared(changed(MEASURED, completed, disposition))
    assert len(found.disagreements) == MEASURED.filter(completed).height > 0
    assert found.agreement < 1


def test_a_refusal_where_an_admission_was_predicted_and_the_other_way_round() -> None:
    throttled = pl.col("disposition") == "throttled"
    assert MEASURED.filter(throttled).height
    found = compared(changed(MEASURED, throttled, "completed"))
    assert len(found.disagreements) == MEASURED.filter(throttled).height


def test_a_redial_that_only_one_side_has_after_another_end_is_left_out() -> None:
    rejected = changed(MEASURED, REJECTS & (pl.col("disposition") == "busy"), "completed")
    without_redials = rejected.filter(pl.col("attempt") == 0)
    assert without_redials.height < MEASURED.height
    found = compared(without_redials)
    # Redials after a refusal by the trunk would be missed, and there are none.
    assert (found.agreement, found.disagreements) == (1.0, ())
    assert found.attempts == without_redials.height


def test_at_home_every_disposition_counts() -> None:
    at_home = MEASURED.with_columns(far_end=pl.lit("plan").cast(SCHEMA["far_end"]))
    found = compared(changed(at_home, pl.col("disposition") == "completed", "no_answer"))
    assert found.disagreements
    assert compare_far_ends(predicted, at_home) == ()


def test_ringing_is_compared_by_distribution() -> None:
    longer = MEASURED.with_columns(answered_s=pl.col("answered_s") + 1.5)
    echo = compare_far_ends(predicted, longer)[0]
    assert echo.predicted.ring_p50_s == pytest.approx(2.0)
    assert echo.measured.ring_p50_s == pytest.approx(3.5)
    assert echo.to_json()["far_end"] == "echo"
