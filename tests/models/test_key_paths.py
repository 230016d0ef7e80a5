"""Paths of keys: text, tuple, and the value at one."""

from __future__ import annotations

from typing import Any

import pytest

from trunkproof.models.key_paths import KeyPath, dotted, key_path, with_value_at


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("seed", ("seed",)),
        ("trunks[0].throttle.limit", ("trunks", 0, "throttle", "limit")),
        ("a.b[1][2]", ("a", "b", 1, 2)),
    ],
)
def test_text_and_path_are_each_other(text: str, path: KeyPath) -> None:
    assert key_path(text) == path
    assert dotted(path) == text


@pytest.mark.parametrize("text", ["", ".a", "a..b", "a[x]", "a[1", "a]"])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match="is no path of keys"):
        key_path(text)


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        (("a",), {"a": 9, "l": [{"x": 1}, 2], "n": None}),
        (("l", 0, "x"), {"a": 1, "l": [{"x": 9}, 2], "n": None}),
        (("n", "new", "key"), {"a": 1, "l": [{"x": 1}, 2], "n": {"new": {"key": 9}}}),
    ],
)
def test_the_value_at_a_path_is_another_and_the_original_stays(path: KeyPath, changed: Any) -> None:
    settings = {"a": 1, "l": [{"x": 1}, 2], "n": None}
    assert with_value_at(settings, path, 9) == changed
    assert settings == {"a": 1, "l": [{"x": 1}, 2], "n": None}


@pytest.mark.parametrize("path", [("l", 2), ("a", "b"), ("a", 0), ("l", "x")])
def test_a_path_that_leads_nowhere(path: KeyPath) -> None:
    with pytest.raises(ValueError, match=r"there is no list|has no keys"):
        with_value_at({"a": 1, "l": [1, 2]}, path, 9)
