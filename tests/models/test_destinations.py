"""Destinations: what a study may list, which call gets which number, and that the limits of a number hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.models.destinations import COUNTED_OVER_S, Destination, Destinations, NumberLimits, masked_number
from trunkproof.models.errors import InputError
from trunkproof.models.plan import ROWS_PER_TRUNK, draw_plan
from trunkproof.models.records import FarEnd
from trunkproof.models.study import Study
from trunkproof.models.study_file import parse_study, read_study
from trunkproof.simulator.run import Engine, simulate

ONE, TWO, THREE = "+918040005551", "+918040005552", "+918040005553"


def study(*destinations: dict[str, Any], **traffic: Any) -> Study:
    base = {"arrivals": {"kind": "constant", "rate_per_minute": 600}, "holding": {"kind": "exponential", "mean_s": 5}}
    trunk = {"traffic": base | {"destinations": destinations} | traffic, "throttle": {"policy": "none"}}
    return Study.model_validate({"name": "t", "duration_s": 60, "trunks": [trunk]})


def text(destinations: str, callers: str = "[]") -> str:
    return f"""\
traffic:
  arrivals: {{kind: constant, rate_per_minute: 60}}
  holding: 1
  callers: {callers}
  destinations:
{destinations}"""


def problems_of(written: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_study(written)
    return [str(problem) for problem in caught.value.problems]


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    written = text(
        """\
    - {number: +918040005551, far_end: plays}
    - {number: "+918040005551", far_end: plays, status: 486}
    - {numbers: nowhere.csv, far_end: echo}
    - {block: "+918040010000-+91804001999", far_end: answers}
    - {number: "+918040006666", far_end: busy}
    - {number: "+918040006667", numbers: ["+918040006668"], far_end: echo}
    - {far_end: rings}
    - {number: "+918040006669", far_end: plan}
    - {number: "+918040006660", far_end: rejects, status: 487}
""",
        '["08040001234", "+9180400x"]',
    )
    starts = [
        "line 4: traffic.callers[0]: is no number in E.164",
        "line 4: traffic.callers[1]: is no number in E.164",
        "line 6: traffic.destinations[0].number: was read as an integer: write it in quotes",
        "line 7: traffic.destinations[1]: status says how a far end rejects",
        "line 8: traffic.destinations[2].numbers: nowhere.csv cannot be read",
        "line 9: traffic.destinations[3]: a block is its first and its last number",
        "line 10: traffic.destinations[4].far_end: must be `plan`, `echo`",
        "line 11: traffic.destinations[5]: needs exactly one of number, numbers and block, and has number and numbers",
        "line 12: traffic.destinations[6]: needs exactly one of number, numbers and block, and has none",
        "line 13: traffic.destinations[7]: far_end: plan needs a block",
        "line 14: traffic.destinations[8]: 487 is what a call gets that nobody answers",
    ]
    found = problems_of(written)
    assert len(found) == len(starts)
    assert all(map(str.startswith, found, starts)), found
    # A message may be sent around.
    assert "08040001234" not in "".join(found)


@pytest.mark.parametrize(
    ("destinations", "problem"),
    [
        ([{"number": ONE, "share": 0.7}, {"number": TWO, "share": 0.7}], "add up to 1.4"),
        ([{"number": ONE, "share": 0.7}], "must be 1"),
        ([{"number": ONE, "share": 1.0}, {"number": TWO}], "leave nothing"),
        ([{"number": ONE}, {"numbers": [TWO, ONE]}], "stand twice: +91••••••••51"),
        ([{"number": ONE}, {"block": f"{ONE}-{THREE}"}], "stand twice"),
        ([{"block": f"{ONE}-{TWO}"}, {"block": f"{TWO}-{THREE}"}], "overlap"),
    ],
)
def test_entries_must_go_together(destinations: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("+", r"\+")):
        study(*({"far_end": "answers"} | entry for entry in destinations))


@pytest.mark.parametrize(
    ("content", "column", "expected"),
    [
        (f"{ONE}\n{TWO}\n", None, (ONE, TWO)),
        (f"number\n{ONE}\n\n{TWO}\n", None, (ONE, TWO)),
        (f"\ufeffwho,Number\na,{ONE}\nb,{TWO}\n", None, (ONE, TWO)),
        (f"who,test line\na,{ONE}\n", "test line", (ONE,)),
        (f'"{ONE}",echo\n"{TWO}",echo\n', None, (ONE, TWO)),
    ],
)
def test_numbers_of_a_file_beside_the_study(
    content: str, column: str | None, expected: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "numbers.csv").write_text(content, encoding="utf-8")
    named = "numbers.csv" if column is None else f"{{file: numbers.csv, column: {column}}}"
    path = tmp_path / "study.yaml"
    path.write_text(text(f"    - {{numbers: {named}, far_end: echo}}\n", named), encoding="utf-8")
    found = read_study(path)
    assert found.trunks[0].traffic.destinations[0].numbers == found.trunks[0].traffic.callers == expected
    # A study holds the numbers themselves: workers and evidence need no file.
    assert Study.model_validate_json(found.model_dump_json()) == found


def test_wrong_lines_of_a_file_are_told_without_their_content(tmp_path: Path) -> None:
    (tmp_path / "numbers.csv").write_text(f"number\n{ONE}\n08040005552\n{TWO}\n+91 80400\n", encoding="utf-8")
    path = tmp_path / "study.yaml"
    path.write_text(text("    - {numbers: numbers.csv, far_end: echo}\n"), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_study(path)
    (problem,) = caught.value.problems
    assert "lines 3, 5: no number in E.164" in problem.what
    assert "8040005552" not in problem.what


def test_shares_and_numbers_of_a_large_plan() -> None:
    question = study(
        {"numbers": [ONE, TWO], "far_end": "echo", "share": 0.6},
        {"number": THREE, "far_end": "rings"},
        {"block": "+918040010000-+918040010099", "far_end": "rejects", "status": 404},
        arrivals={"kind": "constant", "rate_per_minute": 20_000},
        inbound_share=0.1,
    )
    plan = draw_plan(question)
    outbound = plan.table.filter(pl.col("direction") == "outbound")
    assert plan.table.filter(pl.col("direction") == "inbound")["destination"].null_count() == (
        plan.table.height - outbound.height
    )
    count = outbound.height
    for places, share in (([0], 0.3), ([1], 0.3), ([2], 0.2), (range(3, 103), 0.2)):
        found = outbound["destination"].is_in(list(places)).sum()
        # z = 4.5 of a binomial share.
        assert abs(found / count - share) < 4.5 * (share * (1 - share) / count) ** 0.5
    assert outbound["destination"].n_unique() == 103
    kinds = outbound.group_by("destination").agg(pl.col("outcome").unique(), pl.col("status").unique())
    told = {place: (outcome, status) for place, outcome, status in kinds.iter_rows()}
    assert told[0] == told[1] == (["answered"], [200])
    assert told[2] == (["abandoned"], [487])
    assert told[3] == (["rejected"], [404])
    rows = plan.rows.values()
    assert {plan.dialled(row) for row in rows if row.destination in {0, 1}} == {ONE, TWO}
    assert {plan.dialled(row) for row in rows if row.destination == 3} == {"+918040010000"}


def test_destinations_change_no_other_draw_and_a_redial_dials_the_same_number() -> None:
    redial = {"probability": 0.5, "delay": {"kind": "exponential", "mean_s": 3}, "after": ["busy"]}
    shared = {"outcomes": {"busy": 0.4}, "redial": redial, "ringing": {"kind": "exponential", "mean_s": 2}}
    plain, listed = (
        draw_plan(question).table
        for question in (
            study(**shared),
            study({"far_end": "plan"}, {"number": ONE, "far_end": "answers", "ringing": 1}, **shared),
        )
    )
    rest = pl.exclude("destination", "outcome", "status", "ring_s", "hold_s")
    assert plain.select(rest).equals(listed.select(rest))
    at_home = (listed["destination"] == 0).fill_null(value=False)
    assert plain.filter(at_home).drop("destination").equals(listed.filter(at_home).drop("destination"))
    assert set(listed.filter(~at_home)["ring_s"]) == {1.0}
    assert listed.group_by("call").agg(pl.col("destination").n_unique())["destination"].max() == 1
    assert (listed["attempt"] > 0).any()


def test_a_block_that_plays_the_plan_has_a_number_for_each_row() -> None:
    block = {"block": "+918040010000-+918040019999", "far_end": "plan"}
    plan = draw_plan(study(block))
    dialled = {row.row: plan.dialled(row) for row in plan.rows.values()}
    assert len(set(dialled.values())) == len(dialled)
    assert {row: getattr(plan.row_dialled(number), "row", None) for row, number in dialled.items()} == {
        row: row for row in dialled
    }
    assert plan.row_dialled("+918040019999") is None
    with pytest.raises(InputError, match="has 100 numbers, and the plan has 600 rows"):
        draw_plan(study(block | {"block": "+918040010000-+918040010099"}))


def test_without_destinations_the_row_is_the_number() -> None:
    plan = draw_plan(study())
    row = plan.rows[7]
    assert (plan.dialled(row), plan.row_dialled("+910000000007"), plan.far_end(row)) == (
        "+910000000007",
        row,
        FarEnd.PLAN,
    )
    assert plan.row_dialled(f"+91{ROWS_PER_TRUNK:010d}") is None


Happening = tuple[str, float]


@given(st.lists(st.tuples(st.sampled_from(["begin", "again", "end"]), st.floats(0, 20)), max_size=80))
def test_no_sequence_of_calls_breaks_the_limits_of_a_number(steps: list[tuple[str, float]]) -> None:
    limits = NumberLimits([Destinations([Destination(number=ONE, far_end=FarEnd.ECHO, at_once=3, per_minute=5)])])
    now, up, attempts, refused = 0.0, 0, [], 0
    for kind, step in steps:
        now += step
        if kind == "begin":
            began = limits.begin(0, 0, now)
            up, refused = up + began, refused + (not began)
            attempts += [now] * began
        elif kind == "again" and up:
            # A redial is reserved for an instant to come.
            again = limits.again(0, 0, now + 7)
            refused += not again
            attempts += [now + 7] * again
        elif kind == "end" and up:
            limits.end(0, 0)
            up -= 1
        assert up <= 3
    assert all(sum(at <= other < at + COUNTED_OVER_S for other in attempts) <= 5 for at in attempts)
    assert limits.not_placed == refused


def test_a_number_without_limits_is_never_refused() -> None:
    limits = NumberLimits([Destinations([Destination(number=ONE, far_end=FarEnd.ECHO)])])
    assert all(limits.begin(0, destination, 0.0) for destination in [0, None] * 50)


def test_model_keeps_the_limits_and_both_engines_agree() -> None:
    question = study(
        {"number": ONE, "far_end": "answers", "at_once": 3},
        {"number": TWO, "far_end": "rejects", "per_minute": 40, "share": 0.4},
        redial={"probability": 0.9, "after": ["busy"], "delay": 1},
    )
    plan = draw_plan(question)
    simpy, kernel = (simulate(question, plan, engine=engine) for engine in Engine)
    assert simpy.equals(kernel)
    asked = simpy.join(plan.table.select("row", "destination"), on="row", suffix="_asked")
    one, two = (asked.filter(pl.col("destination_asked") == place) for place in (0, 1))
    edges = sorted([(at, 1) for at in one["intended_s"]] + [(at, -1) for at in one["ended_s"]])
    assert max(sum(step for _, step in edges[: place + 1]) for place in range(len(edges))) == 3
    instants = sorted(two["intended_s"])
    assert max(sum(at <= other < at + COUNTED_OVER_S for other in instants) for at in instants) == 40
    # A redial that was left out is not told of in the attempt before it.
    followed = set(two.filter("redialled").select("call", pl.col("attempt") + 1).iter_rows())
    assert followed == {(call, attempt) for call, attempt in two.select("call", "attempt").iter_rows() if attempt}


@pytest.mark.parametrize(
    "headers", [{"To": "x"}, {"Content-Type": "x"}, {"X A": "x"}, {"X-A": "a\r\nTo: b"}, {"Authorization": "x"}]
)
def test_headers_that_would_break_an_invite_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"header|written by"):
        Study.model_validate(study().model_dump() | {"trunks": [study().trunks[0].model_dump() | {"headers": headers}]})


def test_a_masked_number_keeps_its_last_two_digits() -> None:
    assert masked_number(ONE) == "+91••••••••51"
