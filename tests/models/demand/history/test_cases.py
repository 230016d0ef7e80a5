"""Small histories that stand each for a kind of fault, made after public reports; the right answers are known."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.table import History

CASES = Path(__file__).parents[3] / "cases" / "histories"


def case(name: str) -> History:
    return read_history(HistorySettings(path=CASES / f"{name}.csv"))


def kinds(history: History) -> dict[str, int]:
    return {oddity.kind: oddity.count for oddity in history.oddities if not oddity.kind.startswith("partial")}


@pytest.mark.parametrize("name", ["empty", "mysql", "go", "unix", "unix_local"])
def test_times_that_stand_for_none_answer_no_call(name: str) -> None:
    history = case(f"sentinel-instants--{name}")
    calls = history.calls
    assert calls is not None
    assert calls["status"].to_list() == ["answered", "no_answer"] * 4
    assert calls["holding_s"].to_list() == [23.0, None] * 4
    # An empty field and one of zeros are no values; a date is one, and what was made of it is told.
    assert kinds(history).get("no_instant", 0) == (0 if name in {"empty", "mysql"} else 4)


def test_an_end_in_the_year_9999_is_none() -> None:
    history = case("sentinel-instants--open_end")
    calls = history.calls
    assert calls is not None
    assert calls.height == 8
    assert calls["status"].to_list() == ["answered"] * 8
    assert kinds(history)["no_instant"] == 1
    assert history.days == 1


@pytest.mark.parametrize("name", ["slashes", "dots"])
def test_years_of_two_digits_are_of_this_century(name: str) -> None:
    history = case(f"two-digit-years--{name}")
    calls = history.calls
    assert calls is not None
    assert calls["start_local"].dt.date().to_list() == [date(2026, 11, day) for day in range(1, 9)]
    assert calls["ringing_s"].to_list() == [5.0] * 8


def test_numbers_that_lost_their_digits_are_nobodys() -> None:
    history = case("numbers-spoilt-by-excel--numbers")
    assert history.attempts == 40
    assert kinds(history)["no_number"] == 40
    assert history.calls is not None
    assert history.calls["caller"].null_count() == history.calls["callee"].null_count() == 40


def test_calls_between_the_telephones_of_a_pbx_are_not_the_trunks() -> None:
    history = case("internal-calls--freepbx")
    assert history.attempts == 10
    assert kinds(history)["internal_call"] == 20
