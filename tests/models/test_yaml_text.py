"""Scalars mean what the core schema of YAML 1.2 says (section 10.3.2), which is what people mean."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trunkproof.models.errors import InputError
from trunkproof.models.study_file import parse_study
from trunkproof.models.yaml_text import read_scalar, read_yaml

STUDY = "traffic:\n  arrivals: {kind: poisson, rate_per_minute: 200}\n  holding: 10\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0200", 200),
        ("0o200", 128),
        ("0x1F", 31),
        ("-12", -12),
        ("+7", 7),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("2.", 2.0),
        ("-.inf", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("Null", None),
    ],
)
def test_yaml_1_2_core_schema_10_3_2(text: str, value: object) -> None:
    found = read_scalar(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "text", ["yes", "No", "on", "OFF", "y", "1:30", "190:20:30", "1_000", "0b11", "2026-11-30", "08x", "="]
)
def test_what_only_yaml_1_1_takes_for_something_else_is_text(text: str) -> None:
    assert read_scalar(text) == text


def test_not_a_number() -> None:
    assert math.isnan(read_scalar(".nan"))


@pytest.mark.parametrize("text", ["!!binary aGk=", "!!set {a}", "!!python/object:os.system {}", "!own 3"])
def test_tags_beyond_the_core_schema_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="YAML: could not determine a constructor"):
        read_scalar(text)


def test_lines_of_keys_in_lists_and_merged_mappings() -> None:
    yaml = read_yaml("a: &a {b: 1}\nc:\n  - <<: *a\n    d: 2\n", source="x", word="study")
    assert yaml.value == {"a": {"b": 1}, "c": [{"b": 1, "d": 2}]}
    assert yaml.line_of(("c", 0, "d")) == 4
    assert yaml.line_of(("c", 0, "nothing")) == 3


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("duration_s: yes", "duration_s: must be a number, not the text `yes`"),
        ("duration_s: true", "duration_s: must be a number, not `true`"),
        ('duration_s: "60"', "duration_s: must be a number, not the text `60`"),
        ("duration_s: 1:30", "duration_s: must be a number, not the text `1:30`"),
        ("seed: 1_000", "seed: must be a whole number, not the text `1_000`"),
        ("seed: true", "seed: must be a whole number, not `true`"),
        ("seed: 2.0", "seed: must be a whole number, not `2.0`"),
        ("name: 5", "name: must be text; put a number in quotes, not `5`"),
        ("trunk: {follow_redirects: on}", "trunk.follow_redirects: must be true or false, not `on`"),
        ("trunk: {follow_redirects: 1}", "trunk.follow_redirects: must be true or false, not `1`"),
    ],
)
def test_a_value_of_another_kind_is_refused_and_never_becomes_one(more: str, told: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_study(STUDY + more)
    assert [f"{problem.where}: {problem.what}" for problem in refused.value.problems] == [told]


@pytest.mark.parametrize(("limit", "read"), [("0200", 200), ("0o310", 200), ("200", 200)])
def test_a_limit_with_a_leading_zero_is_that_limit(limit: str, read: int) -> None:
    study = parse_study(f"trunk: {{throttle: {{policy: fixed_window, limit: {limit}}}}}\n{STUDY}")
    assert study.trunks[0].throttle.limit == read


@pytest.mark.parametrize("python", ["<class", "Value error", "tuple", "dictionary", "boolean", "None"])
def test_messages_do_not_show_python(python: str) -> None:
    wrong: list[Any] = ["5", "[5]", "{a: 5}", "text", "true", "null", "1.5"]
    for key in ("pop", "trunk", "quality", "seed", "duration_s", "name", "trunks"):
        for value in wrong:
            with pytest.raises(InputError) as refused:
                parse_study(f"{STUDY}{key}: {value if key != 'name' else '5'}\nunknown: 1\n")
            assert python not in str(refused.value)
