"""A request is read whole, and a wrong one is answered with all its errors, each at its key and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from trunkproof.experiments.review.request_file import parse_request, read_request
from trunkproof.models.errors import InputError

SMALLEST = """\
name: smallest
history: calls.csv
requested_per_minute: 400
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_request(text)
    return [str(problem) for problem in caught.value.problems]


def test_three_lines_are_a_request() -> None:
    request = parse_request(SMALLEST)
    assert (request.now_per_minute, request.requested_per_minute) == (200, 400)
    assert request.history.path == Path("calls.csv")
    assert request.confidence == 0.95
    assert [interpretation.policy for interpretation in request.interpretations] == [
        "fixed_window",
        "sliding_window_admitted",
        "sliding_window_attempts",
        "token_bucket",
        "shaper",
    ]


def test_a_request_without_a_name_has_that_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "march.yaml"
    path.write_text("history: {path: calls.csv, format: asterisk}\nrequested_per_minute: 400\n")
    request = read_request(path)
    assert (request.name, request.history.format) == ("march", "asterisk")


def test_a_hundred_million_calls_per_minute_are_told_the_limit() -> None:
    text = SMALLEST.replace("400", "100000000")
    assert problems_of(text) == ["line 3: requested_per_minute: must be at most 1000000, not `100000000`"]


def test_all_mistakes_are_told_at_once_with_path_line_and_the_nearest_key() -> None:
    found = problems_of("""\
history: {path: calls.csv, timezon: UTC}
requested_per_minute: many
interpretations:
  - {policy: fixed_window, limt: 3}
  - {policy: sliding}
growht: 2
pop: {carrier: {chanels: 600}}
""")
    assert len(found) == 6
    assert found[0] == "line 1: history.timezon: unknown key; did you mean `timezone`?"
    assert found[1].startswith("line 2: requested_per_minute: must be a whole number, not the text `many`")
    assert found[2] == "line 4: interpretations[0].limt: unknown key; did you mean `limit`?"
    assert found[3].startswith("line 5: interpretations[1]: unknown policy `sliding`")
    assert found[4] == "line 6: growht: unknown key; did you mean `growth`?"
    assert found[5] == "line 7: pop.carrier.chanels: unknown key; did you mean `channels`?"


def test_the_former_key_of_interpretations_is_read_and_its_mistakes_are_told_at_it() -> None:
    policies = "  - {policy: fixed_window}\n  - {policy: token_bucket, burst: 20}\n"
    former, present = (parse_request(f"{SMALLEST}{key}:\n{policies}") for key in ("readings", "interpretations"))
    assert former == present
    assert [one.policy for one in former.interpretations] == ["fixed_window", "token_bucket"]
    (wrong,) = problems_of(f"{SMALLEST}readings:\n{policies.replace('burst', 'brst')}")
    assert wrong == "line 6: readings[1].brst: unknown key; did you mean `burst`?"
    (twice,) = problems_of(f"{SMALLEST}readings:\n{policies}interpretations:\n{policies}")
    assert twice.startswith("line 4: readings: unknown key")


def test_what_is_no_raise_is_no_request() -> None:
    (found,) = problems_of(SMALLEST + "now_per_minute: 400\n")
    assert "must be above now_per_minute (400)" in found
    assert found.startswith("request:")


def test_a_wrong_short_form_is_told_where_it_stands() -> None:
    assert problems_of("history: 5\nrequested_per_minute: 400\n")[0].startswith("line 1: history:")
    assert problems_of("requested_per_minute: 400\n") == ["history: is missing"]


@pytest.mark.parametrize("text", ["", "just words", "[1, 2]", "42"])
def test_what_is_no_mapping_is_no_request(text: str) -> None:
    found = "has no keys" if text else "is empty"
    assert problems_of(text) == [f"line 1: request: {found}; it needs at least `history:`"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("trunk: my trunk\n", "line 4: trunk:"),
        ("neighbours: [{name: trunk, per_minute: 10}]\n", "several trunks have the name trunk"),
        (
            "interpretations: [{policy: pipelimit, window_s: 10}, {policy: pipelimit}]\n",
            "give them the same window_s",
        ),
        ("history: again.csv\n", "stands twice; first in line 2"),
        ("interpretations: []\n", "line 4: interpretations:"),
        ("candidates: [0]\n", "line 4: candidates[0]:"),
        ("pop: {machine: {cores: .inf}}\n", "line 4: pop.machine.cores:"),
        ("history: {path: x, since: 2026-02-31}\n", "history.since: must be a date"),
    ],
)
def test_what_no_simulation_could_use_is_told_beforehand(more: str, said: str) -> None:
    text = SMALLEST.replace("history: calls.csv\n", "") + more if "since" in more else SMALLEST + more
    assert any(said in problem for problem in problems_of(text))


def test_files_that_are_no_text_are_told_plainly(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_request(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        read_request(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_request(binary)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (4 * 2**20 + 1))
    with pytest.raises(InputError, match="this is no request"):
        read_request(large)


def test_a_key_that_is_near_none_is_answered_with_all_that_are_known() -> None:
    (problem,) = problems_of(SMALLEST + "duration_s: 5\n")
    assert problem.startswith("line 4: duration_s: unknown key; known here: name, trunk, history")


def test_a_review_is_of_a_trunk_whose_throttle_is_its_own() -> None:
    own = "throttle: {policy: fixed_window, shared: line}"
    neighbour = f"neighbours: [{{name: b, {own}, per_minute: 5, mean_hold_s: 5}}]\n"
    for shared in (neighbour, "pop: {throttles: {line: {policy: fixed_window}}}\n"):
        assert any("throttle of its own" in problem for problem in problems_of(SMALLEST + shared))
