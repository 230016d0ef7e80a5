"""The page's first part on one sheet, its first screen as a picture, and what happens without a browser."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tests.experiments.report.review_example import lower, not_needed, review, undecided

from trunkproof.experiments.report import chromium
from trunkproof.experiments.report.chromium import Browser, ChromiumError, find_chromium
from trunkproof.experiments.report.paper import SCREEN, pages_of, write_pictures
from trunkproof.experiments.report.review_page import write_review_page
from trunkproof.experiments.report.review_summary import summary


@pytest.mark.requires("chromium")
def test_one_sheet_and_one_screen(tmp_path: Path) -> None:
    long = [f"Reason {number}: because the quick brown fox jumps over the lazy dog again." for number in range(12)]
    write_review_page(review(), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    first = review().reasons[0]
    (tmp_path / "long.html").write_text(text.replace(first, "</li><li>".join([first, *long])))
    pdf, png = tmp_path / "page.pdf", tmp_path / "page.png"
    write_pictures(tmp_path / "page.html", png=png)
    assert struct.unpack(">II", png.read_bytes()[16:24]) == SCREEN
    write_pictures(tmp_path / "long.html", pdf=pdf)
    assert pages_of(pdf.read_bytes()) == 1


def test_without_a_browser_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    assert find_chromium() is None
    with pytest.raises(ChromiumError, match="there is no Chromium on this machine"):
        write_pictures(tmp_path / "page.html", png=tmp_path / "page.png")
    assert not (tmp_path / "page.png").exists()


def test_a_browser_that_does_not_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chromium, "find_chromium", lambda: "/bin/false")
    with pytest.raises(ChromiumError, match="could not be started"), Browser(tmp_path):
        pass


def test_ten_lines_say_it_all() -> None:
    for made in (review(), lower(), not_needed(), undecided()):
        lines = summary(made).splitlines()
        assert 4 <= len(lines) <= 10
        assert made.headline in lines
        assert made.request.name in lines[0]
    lines = summary(lower()).splitlines()
    assert lines[0].startswith("APPROVE LOWER: ")
    assert [line.split(":")[0] for line in lines[2:6]] == [
        "Today, 200", "Recommended, 350", "Asked for, 400", "Nothing done for a year, 200",
    ]  # fmt: skip
    assert "no longer protects the others" in lines[4]
    assert "or more of customers lost" in lines[5]
    assert "Contradicted: shaper that delays by 2 s at most." in summary(lower())
