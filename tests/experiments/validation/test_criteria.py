"""Each bound from both sides, on figures that are made up."""

from __future__ import annotations

from typing import Any

import pytest

from trunkproof.experiments.validation.criteria import (
    ABROAD,
    BOUNDS,
    HOME,
    TITLES,
    Criterion,
    judge_criteria,
    pair_words,
)

Saved = dict[str, Any]


def judged(saved: Saved, name: str) -> Criterion:
    return next(criterion for criterion in judge_criteria(saved) if criterion.name == name)


def with_kpi(saved: Saved, name: str, predicted: float | None, measured: float | None) -> Saved:
    pair = saved["kpis"][name] | {"predicted": predicted, "measured": measured}
    return saved | {"kpis": saved["kpis"] | {name: pair}}


def test_a_run_that_agrees_keeps_all(saved: Saved) -> None:
    criteria = judge_criteria(saved)
    assert [criterion.name for criterion in criteria] == list(HOME)
    assert list(BOUNDS) == list(TITLES)
    assert {*HOME, *ABROAD} == {*BOUNDS}
    assert all(criterion.holds and criterion.used == 0 for criterion in criteria)


@pytest.mark.parametrize(("agreement", "holds"), [(0.98, True), (0.9799, False)])
def test_agreement_of_98_percent(saved: Saved, agreement: float, holds: bool) -> None:
    assert judged(saved | {"agreement": agreement}, "agreement").holds is holds


def test_no_attempt_is_no_agreement(saved: Saved) -> None:
    assert not judged(saved | {"attempts": 0, "agreement": 1.0}, "agreement").holds


@pytest.mark.parametrize(("measured", "holds"), [(0.31, True), (0.29, True), (0.3101, False), (0.2899, False)])
def test_refused_share_within_one_point(saved: Saved, measured: float, holds: bool) -> None:
    assert judged(with_kpi(saved, "refused_share", 0.30, measured), "refused").holds is holds


@pytest.mark.parametrize(
    ("predicted", "measured", "holds"),
    [(100, 103, True), (100, 97, True), (100, 104, False), (100, 96, False), (20, 21, True), (20, 18, False)],
)
def test_peak_within_three_percent_or_one_call(saved: Saved, predicted: int, measured: int, holds: bool) -> None:
    assert judged(with_kpi(saved, "peak_concurrency", predicted, measured), "peak").holds is holds


@pytest.mark.parametrize(
    ("predicted", "measured", "holds"),
    [(100, 115, True), (100, 115.1, False), (100, 84.9, False), (10, 15, True), (10, 15.1, False)],
)
def test_srd_within_15_percent_or_5_ms(saved: Saved, predicted: float, measured: float, holds: bool) -> None:
    assert judged(with_kpi(saved, "srd_p95_ms", predicted, measured), "srd").holds is holds


def test_a_figure_that_one_side_lacks_misses_and_one_that_both_lack_agrees(saved: Saved) -> None:
    assert not judged(with_kpi(saved, "srd_p95_ms", 101.0, None), "srd").holds
    assert not judged(with_kpi(saved, "srd_p95_ms", None, 101.0), "srd").holds
    assert judged(with_kpi(saved, "srd_p95_ms", None, None), "srd").holds


@pytest.mark.parametrize(("difference", "holds"), [(0.15, True), (-0.15, True), (0.151, False), (-0.151, False)])
def test_cpu_within_15_percent(saved: Saved, difference: float, holds: bool) -> None:
    assert judged(saved | {"cpu": saved["cpu"] | {"difference_share": difference}}, "cpu").holds is holds


@pytest.mark.parametrize("cpu", [None, {"predicted_s": 1.0, "measured_s": 0.0, "difference_share": None}])
def test_cpu_that_was_not_metered_proves_nothing(saved: Saved, cpu: Saved | None) -> None:
    criterion = judged(saved | {"cpu": cpu}, "cpu")
    assert not criterion.holds
    assert criterion.words == "not metered"


@pytest.mark.parametrize(("received", "authentic", "holds"), [(9, 9, True), (9, 8, False), (0, 0, False)])
def test_every_srtp_packet_received_is_authentic(saved: Saved, received: int, authentic: int, holds: bool) -> None:
    heard = {"received": received, "authenticated": authentic}
    assert judged(saved | {"srtp": heard}, "srtp").holds is holds


def test_how_much_of_the_allowance_is_used(saved: Saved) -> None:
    assert judged(with_kpi(saved, "refused_share", 0.30, 0.305), "refused").used == pytest.approx(0.5)
    assert judged(saved | {"srtp": {"received": 2, "authenticated": 1}}, "srtp").used == float("inf")
    assert judged(with_kpi(saved, "srd_p95_ms", 101.0, None), "srd").used is None


def test_a_criterion_survives_being_saved(saved: Saved) -> None:
    assert tuple(Criterion.from_json(one.to_json()) for one in judge_criteria(saved)) == judge_criteria(saved)


def test_both_figures_are_written_with_one_unit() -> None:
    assert pair_words(0.1, 0.2, "share") == "10.00 / 20.00 %"
    assert pair_words(101.5, None, "ms") == "101.5 ms / n/a"
    assert pair_words(20, 21, "1") == "20 / 21"


def test_the_embedded_trunk_has_the_models_own_limits_and_must_agree_on_99_percent(saved: Saved) -> None:
    own = saved | {"stack": "embedded"}
    assert judged(own | {"agreement": 0.99}, "agreement").holds
    assert not judged(own | {"agreement": 0.9899}, "agreement").holds
    assert judged(own | {"agreement": 0.98, "abroad": True}, "agreement").holds


@pytest.mark.parametrize(("measured", "holds"), [(1.2, True), (1.21, False), (0.0, True)])
def test_a_stall_of_one_second_more_than_predicted_and_our_own_lateness(
    saved: Saved, measured: float, holds: bool
) -> None:
    late = saved["generator"] | {"lateness_max_ms": 100.0}
    changed = saved | {"generator": late, "stall_s": {"predicted": 0.1, "measured": measured}}
    assert judged(changed, "stall").holds is holds


def test_files_from_before_stalls_were_recorded_are_judged_without(saved: Saved) -> None:
    del saved["stall_s"]
    assert "stall" not in [one.name for one in judge_criteria(saved)]


def test_without_audio_to_expect_none_is_no_miss(saved: Saved) -> None:
    silent = saved | {"srtp": {"received": 0, "authenticated": 0}}
    assert not judged(silent, "srtp").holds
    assert judged(silent | {"audio_expected": False}, "srtp").holds


def far_end(**measured: int) -> dict[str, Any]:
    ends = {"predicted": {"completed": 100}, "measured": measured}
    return {"far_end": "echo"} | {side: {"dispositions": counts} for side, counts in ends.items()}


@pytest.mark.parametrize(
    ("ends", "holds"),
    [
        ({"completed": 95, "busy": 5}, True),
        ({"completed": 94, "busy": 6}, False),
        ({"completed": 2, "busy": 1}, True),
        ({"not_found": 100}, False),
        ({}, False),
    ],
)
def test_abroad_one_call_or_5_percent_of_a_kind_may_end_otherwise(
    saved: Saved, ends: dict[str, int], holds: bool
) -> None:
    abroad = saved | {"abroad": True, "cpu": None, "far_ends": [far_end(**ends)]}
    assert [one.name for one in judge_criteria(abroad)] == list(ABROAD)
    assert judged(abroad, "far_ends").holds is holds
