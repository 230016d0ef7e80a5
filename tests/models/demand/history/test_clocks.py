"""Two clocks: the offset is found from pairs in the wrong order and mended, or told as one that cannot be told."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from trunkproof.models.demand.history.table import History, Oddity

Read = Callable[..., History]
MONDAY = datetime(2026, 5, 4, 9)
HEADING = "Sid,host,From,To,Direction,Status,StartTime,EndTime,Duration,ConversationDuration\n"


def clocks(history: History) -> Oddity | None:
    return next((oddity for oddity in history.oddities if oddity.kind == "two_clocks"), None)


def line(call: tuple[str, str, int], status: str, start: datetime, ring_s: int, talk_s: int) -> str:
    """`call`: identity, recorder, number."""
    sid, host, number = call
    end = start + timedelta(seconds=ring_s + talk_s)
    numbers = f"+9120{number:08d},+9170{number:08d}"
    return f"{sid},{host},{numbers},outbound,{status},{start},{end},{ring_s + talk_s},{talk_s}\n"


def redials(count: int, ahead_s: float, hosts: tuple[str, str] = ("a", "b"), *, one_way: bool = False) -> str:
    """A refused attempt and the answered redial of each caller, each in a recorder of its own."""
    rng = np.random.default_rng(3)
    rows = []
    for number in range(count):
        start = MONDAY + timedelta(seconds=30 * number)
        waited = timedelta(seconds=int(rng.integers(5, 40)))
        first, second = (0, 1) if one_way else rng.permutation(2)
        shift = [timedelta(), timedelta(seconds=ahead_s)]
        rows.append(line((f"r{number}", hosts[first], number), "busy", start + shift[first], 1, 0))
        rows.append(line((f"s{number}", hosts[second], number), "completed", start + waited + shift[second], 5, 60))
    return HEADING + "".join(rows)


@pytest.mark.parametrize("ahead_s", [-90.0, 45.0])
def test_redials_before_what_they_follow_tell_the_offset(read: Read, ahead_s: float) -> None:
    """Waiting is uniform on 35 s: its median has a standard error of 35 / (2 sqrt(300)) = 1 s in each direction."""
    history = read(redials(600, ahead_s))
    oddity = clocks(history)
    assert oddity is not None
    said = re.search(r"a recorder is (\d+) s", oddity.what)
    assert said is not None
    assert abs(int(said[1]) - abs(ahead_s)) <= 4.5
    assert history.calls is not None
    order = (
        history.calls.sort("caller", "start_utc").group_by("caller", maintain_order=True).agg(pl.col("status").first())
    )
    assert order["status"].to_list().count("busy") == 600


def test_recorders_of_one_clock_are_left_alone(read: Read) -> None:
    assert clocks(read(redials(600, 0.0))) is None


def test_pairs_of_one_direction_tell_that_there_are_two_clocks_and_no_more(read: Read) -> None:
    history = read(redials(600, -90.0, one_way=True))
    oddity = clocks(history)
    assert oddity is not None
    assert "cannot be found" in oddity.handled
    assert oddity.count == 600


def test_two_files_of_two_recorders_with_the_same_calls_are_put_on_one_clock(
    read: Read, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("two")
    for name, ahead_s in (("one", 0), ("two", 7)):
        rows = [
            line((f"c{n}", name, n), "completed", MONDAY + timedelta(seconds=60 * n + ahead_s), 5, 60)
            for n in range(50)
        ]
        (folder / f"{name}.csv").write_text(HEADING + "".join(rows))
    history = read("", path=folder)
    oddity = clocks(history)
    assert oddity is not None
    assert "7 s ahead" in oddity.what
    assert history.attempts == 50
    assert {o.kind: o.count for o in history.oddities}["overlap"] == 50


def ends(shift_s: list[float], *, stated: bool = True) -> str:
    rng = np.random.default_rng(4)
    rows = []
    for number, by_s in enumerate(shift_s):
        start, talk_s = MONDAY + timedelta(seconds=20 * number), 1 + int(rng.exponential(60))
        end = start + timedelta(seconds=5 + talk_s + by_s)
        duration = f"{5 + talk_s},{talk_s}" if stated else ","
        rows.append(f"s{number},a,+91{number:08d},+92{number:08d},inbound,completed,{start},{end},{duration}\n")
    return HEADING + "".join(rows)


def test_ends_of_another_clock_are_put_right_by_the_stated_durations(read: Read) -> None:
    history = read(ends([-30.0] * 400))
    oddity = clocks(history)
    assert oddity is not None
    assert "30 s too early" in oddity.what
    assert "end_before_start" not in {o.kind for o in history.oddities}
    assert history.calls is not None
    assert history.calls["ringing_s"].to_list() == [5.0] * 400


def test_ends_of_another_clock_are_put_right_by_the_shortest_calls(read: Read) -> None:
    """The shortest of 4,000 calls is known to some 0.1 %: a second or two beside the five of ringing."""
    history = read(ends([-30.0] * 4000, stated=False))
    oddity = clocks(history)
    assert oddity is not None
    assert "s too early" in oddity.what
    assert "end_before_start" not in {o.kind for o in history.oddities if o.count > 40}


def test_ends_of_which_some_are_right_tell_no_offset(read: Read) -> None:
    history = read(ends([-30.0, 0.0] * 2000, stated=False))
    oddity = clocks(history)
    assert oddity is not None
    assert "cannot be found" in oddity.handled
    assert "end_before_start" in {o.kind for o in history.oddities}


def test_single_bad_ends_are_no_second_clock(read: Read) -> None:
    history = read(ends([0.0] * 4990 + [-5000.0] * 10))
    assert clocks(history) is None
    assert {o.kind: o.count for o in history.oddities}["end_before_start"] == 10
