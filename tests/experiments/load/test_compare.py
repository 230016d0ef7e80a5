"""Two runs side by side: what is told of equal and of different trunks, and when nothing is compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from tests.experiments.test_cli import trunkproof

from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.common.result_folder import open_results
from trunkproof.experiments.load.compare import Change, ComparedRun, RunComparison, compare_runs, differing_keys
from trunkproof.experiments.load.result import LoadResult, write_load
from trunkproof.experiments.report.compare_page import write_compare_page
from trunkproof.loadgen.run_end import COMPLETED
from trunkproof.loadgen.verdict import Measurements, Verdict, judge
from trunkproof.models.errors import InputError
from trunkproof.models.study import Study
from trunkproof.models.study_file import parse_study
from trunkproof.simulator.run import simulate

STUDY = """\
name: compared
duration_s: 120
seed: {seed}
trunk: {{throttle: {{policy: fixed_window, limit: {limit}, window_s: 10}}}}
traffic:
  arrivals: {{kind: poisson, rate_per_minute: 600}}
  holding: {{kind: exponential, mean_s: 3}}
  ringing: {{kind: exponential, mean_s: 1}}
"""


def study(limit: int = 90, seed: int = 1) -> Study:
    return parse_study(STUDY.format(limit=limit, seed=seed))


def run(asked: Study, records: pl.DataFrame | None = None) -> ComparedRun:
    made = simulate(asked) if records is None else records
    return ComparedRun(Path(asked.name), asked, made, judge(Measurements()), COMPLETED, asked.digest())


def change_of(found: RunComparison, kpi: str) -> Change:
    return next(one.change for one in found.kpis if one.kpi == kpi)


def test_the_same_plan_on_the_same_trunk_is_the_same() -> None:
    found = compare_runs(run(study()), run(study()))
    assert found.paired
    assert {one.change for one in found.kpis} <= {Change.SAME, Change.NOT_JUDGED, Change.CANNOT_TELL}
    assert change_of(found, "refused_share") is Change.SAME
    assert change_of(found, "answer_delay_p95_ms") is Change.SAME


def test_a_trunk_that_answers_later_and_drops_calls_is_worse() -> None:
    asked = study()
    slow = simulate(asked).with_columns(
        pl.col("ringing_s", "answered_s") + 0.4,
        disposition=pl.when((pl.col("row") % 10 == 0) & pl.col("answered_s").is_not_null())
        .then(pl.lit("dropped"))
        .otherwise(pl.col("disposition").cast(pl.String))
        .cast(simulate(asked)["disposition"].dtype),
    )
    found = compare_runs(run(asked), run(asked, slow))
    assert change_of(found, "srd_p95_ms") is Change.WORSE
    assert change_of(found, "failed_calls_share") is Change.WORSE
    assert change_of(compare_runs(run(asked, slow), run(asked)), "srd_p95_ms") is Change.BETTER
    assert found.sentence.startswith("B is worse in")


def test_another_seed_is_two_samples_and_claims_no_difference_of_the_trunk() -> None:
    found = compare_runs(run(study()), run(study(seed=2)))
    assert not found.paired
    assert change_of(found, "refused_share") in {Change.SAME, Change.CANNOT_TELL}
    both = (compare_runs(run(study()), run(study())), found)
    same, two = (next(one for one in each.kpis if one.kpi == "asr") for each in both)
    assert same.interval is not None
    assert two.interval is not None
    assert two.interval[1] - two.interval[0] > same.interval[1] - same.interval[0]


def test_few_calls_tell_nothing() -> None:
    few = run(study(), simulate(study()).head(15))
    assert {one.change for one in compare_runs(few, few).kpis} == {Change.NOT_JUDGED, Change.CANNOT_TELL}


def test_different_studies_are_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    first, second = run(study()), run(study(limit=60))
    assert list(differing_keys(first.study, second.study)) == ["trunks[0].throttle.limit"]
    with pytest.raises(InputError, match=r"trunks\[0\]\.throttle\.limit: differs"):
        compare_runs(first, second)
    found = compare_runs(first, second, different_studies=True)
    assert change_of(found, "refused_share") is Change.WORSE
    write_compare_page(found, tmp_path / "compare.html")
    assert "trunks[0].throttle.limit" in (tmp_path / "compare.html").read_text()
    other_numbers = replace(run(study()), digest="another")
    with pytest.raises(InputError, match="numbers"):
        compare_runs(first, other_numbers)


def test_the_command_compares_two_folders_and_leaves_a_page(tmp_path: Path) -> None:
    for name in ("a", "b"):
        result = LoadResult(
            study(), simulate(study()), judge(Measurements()), Provenance.collect(study(), "a test"), "foreign"
        )
        with open_results(tmp_path / name) as folder:
            write_load(result, folder)
    told = trunkproof("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c", "--json")
    assert told.returncode == ExitCode.OK
    values = json.loads(told.stdout)
    assert values == json.loads((tmp_path / "c" / "compare.json").read_text())
    assert (values["paired"], values["kpis"]["refused_share"]["change"]) == (True, "same")
    assert "NO CHANGE SEEN" in (tmp_path / "c" / "compare.html").read_text()
    assert trunkproof("compare", tmp_path / "a", tmp_path / "none").returncode == ExitCode.WRONG_INPUT


def test_a_void_run_is_not_compared() -> None:
    void = replace(run(study()), generator=replace(judge(Measurements()), verdict=Verdict.VOID))
    with pytest.raises(InputError, match="is VOID"):
        compare_runs(run(study()), void)
