"""The suite's page: every state in words, links that lead somewhere, nothing from elsewhere, and the README's table."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trunkproof.experiments.report.suite_page import (
    headline,
    render_suite,
    stack_sentence,
    suite_lines,
    suite_markdown,
    write_suite_page,
)
from trunkproof.experiments.validation.suite.cells import Cell, State, Suite, played_cell

Saved = dict[str, Any]
ORIGIN: Saved = {"date": "2026-01-01T00:00:00+00:00", "command": "c", "machine": {}, "versions": {"python": "3.11"}}


@pytest.fixture
def every_state(saved: Saved) -> Suite:
    played = {
        "a": saved,
        "b": saved | {"agreement": 0.9, "study": "a <b> & more"},
        "c": saved | {"interrupted": "the trunk is gone", "troubles": ["kamailio died 3.0 s after plan zero"]},
        "d": saved | {"generator": saved["generator"] | {"verdict": "void", "reasons": ["void: far too late"]}},
        "e": saved | {"generator": saved["generator"] | {"verdict": "suspect", "reasons": ["suspect: late"]}},
    }
    cells = [played_cell(name, content) for name, content in played.items()]
    refused = Cell("asterisk", "a", "made up", State.NOT_PLAYED, why=("it has no Retry-After",), note="so it is")
    return Suite(ORIGIN, (*cells, refused))


def test_every_state_is_told_in_words_with_its_reason(every_state: Suite, tmp_path: Path) -> None:
    page = render_suite(every_state, tmp_path)
    for state in State:
        assert re.search(rf'class="word"[^>]*>{state.value}<', page)
    for reason in ("kamailio died", "void: far too late", "suspect: late", "it has no Retry-After", "so it is"):
        assert reason in page
    assert "misses agreement 90.00 %" in page
    assert "a &lt;b&gt; &amp; more" in page


def test_it_is_small_and_fetches_nothing(every_state: Suite, tmp_path: Path) -> None:
    page = render_suite(every_state, tmp_path)
    assert len(page.encode()) < 200_000
    assert not re.search(r"https?:|src=|url\(|@import|<script|<link", page)


def test_links_lead_to_pages_that_are_there(every_state: Suite, tmp_path: Path) -> None:
    own = tmp_path / "kamailio" / "b"
    own.mkdir(parents=True)
    (own / "report.html").write_text("")
    write_suite_page(every_state, tmp_path / "suite.html")
    page = (tmp_path / "suite.html").read_text()
    targets = set(re.findall(r'href="([^"#][^"]*)"', page))
    assert targets == {"kamailio/b/report.html"}
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r'id="([^"]+)"', page))


def test_a_void_run_shows_no_figure(saved: Saved, tmp_path: Path) -> None:
    void = saved | {"generator": saved["generator"] | {"verdict": "void", "reasons": ["void: late"]}}
    page = render_suite(Suite(ORIGIN, (played_cell("a", void),)), tmp_path)
    assert 'class="figure' not in page


def test_the_sentences_count_right(every_state: Suite, saved: Saved) -> None:
    assert headline(every_state).endswith("2 of 5 runs keep every criterion.")
    attempts = 3 * saved["attempts"]
    sentence = stack_sentence(every_state, "kamailio")
    assert f"2 of 5 profiles keep every criterion: 96.67 % of {attempts:,} attempts ended as predicted" in sentence
    assert sentence.endswith("Besides: 1 VOID, 1 cut short.")
    assert stack_sentence(every_state, "asterisk") == "On Asterisk, no profile could be played."


def test_the_lines_for_a_terminal_name_every_cell_that_does_not_hold(every_state: Suite) -> None:
    lines = suite_lines(every_state).splitlines()
    assert [line.partition(":")[0] for line in lines[2:]] == [
        "kamailio, b",
        "kamailio, c",
        "kamailio, d",
        "asterisk, a",
    ]
    assert lines[2].startswith("kamailio, b: misses: agreement 90.00 %")
    assert lines[-1] == "asterisk, a: not played: it has no Retry-After"


def test_the_table_for_a_readme(every_state: Suite) -> None:
    lines = suite_markdown(every_state).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + len(every_state.cells)
    assert "**misses** agreement" in lines[3]
    assert lines[-1].endswith("| not played: it has no Retry-After |")


def test_the_page_has_no_serious_finding_of_an_accessibility_checker(
    every_state: Suite, tmp_path: Path, serious_findings: Callable[[str], list[str]]
) -> None:
    assert serious_findings(render_suite(every_state, tmp_path)) == []
