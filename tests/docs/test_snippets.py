"""Every snippet of the documentation is run: its commands, its Python, its files, from the top of a page to its end.

A fence may say, behind its language:

    file="NAME"         write the block to this file of the page's folder
    exit="N"            the last command leaves with this code
    background          the command goes on until the page ends; with ready="FILE", wait for that file
    skip="WHY"          not run
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import yaml

from trunkproof.models.study_file import parse_study

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RUN = ("console", "python", "yaml")
_FENCE = re.compile(r"(?ms)^```(\w*)([^\n]*)\n(.*?)^```$")
_WORD = re.compile(r'(\w+)(?:="([^"]*)")?')
_PATIENCE_S = 120


@dataclass(frozen=True)
class Snippet:
    """One block of a page."""

    page: Path
    line: int
    language: str
    words: dict[str, str]
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets_of(page: Path) -> list[Snippet]:
    text = page.read_text(encoding="utf-8")
    return [
        Snippet(page, text.count("\n", 0, found.start()) + 1, found[1], dict(_WORD.findall(found[2])), found[3])
        for found in _FENCE.finditer(text)
    ]


# Its snippets are one notebook, which tests/experiments/notebooks runs inside an event loop.
_NOTEBOOK = DOCS / "reference" / "python.md"
_CALLS = DOCS / "tutorial" / "calls.md"
PAGES = sorted(page for page in DOCS.rglob("*.md") if page != _NOTEBOOK)


@contextmanager
def _page() -> Iterator[list[subprocess.Popen[bytes]]]:
    """End what a page has left running, when it is over."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        yield running
    finally:
        for one in running:
            os.killpg(one.pid, signal.SIGINT)
        for one in running:
            one.wait(30)


def _environment(folder: Path) -> dict[str, str]:
    programs = folder / ".bin"
    if not programs.exists():
        programs.mkdir()
        command = programs / "trunkproof"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m trunkproof.experiments.cli "$@"\n')
        command.chmod(0o755)
    return os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}


def _run_console(snippet: Snippet, folder: Path, running: list[subprocess.Popen[bytes]]) -> None:
    command = ["bash", "-eu", "-c", snippet.text]
    environment = _environment(folder)
    if "background" in snippet.words:
        with (folder / "background.log").open("wb") as log:
            begun = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        running.append(begun)
        until = time.monotonic() + _PATIENCE_S
        while not (folder / snippet.words["ready"]).exists():
            assert begun.poll() is None, f"{snippet}: {(folder / 'background.log').read_text()}"
            assert time.monotonic() < until, f"{snippet}: not ready"
            time.sleep(0.05)
        return
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
    )
    said = f"{snippet}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert str(done.returncode) == snippet.words.get("exit", "0"), said
    assert "Traceback" not in done.stderr, said


def _run_yaml(snippet: Snippet, folder: Path) -> None:
    """Read a block as what it is: a whole study is checked, of a part only the keys."""
    written = yaml.safe_load(snippet.text)
    assert written, f"{snippet}: nothing in it"
    if "file" in snippet.words:
        (folder / snippet.words["file"]).write_text(snippet.text)
    if isinstance(written, dict) and "traffic" in written and "arrivals" in written["traffic"]:
        parse_study(snippet.text, source=str(snippet))


# Tutorials are run each time, the other pages with the slow tests.
_BY_PAGE = [page if page.parent.name == "tutorial" else pytest.param(page, marks=pytest.mark.slow) for page in PAGES]
# It validates, and what it says then holds only where no other test takes the cores.
_BY_PAGE = [pytest.param(page, marks=pytest.mark.alone) if page == _CALLS else page for page in _BY_PAGE]


@pytest.mark.parametrize("page", _BY_PAGE, ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    python: list[Snippet] = []
    with _page() as running:
        for snippet in snippets_of(page):
            if snippet.language not in RUN:
                continue
            if "skip" in snippet.words:
                assert len(snippet.words["skip"]) > 10, f"{snippet}: say why it is not run"
                print(f"{snippet}: {snippet.words['skip']}")
            elif snippet.language == "python":
                python.append(snippet)
            else:
                # Blocks of Python are one session. Files that it makes are there for the commands below.
                _run_python(python, tmp_path)
                run = _run_yaml if snippet.language == "yaml" else partial(_run_console, running=running)
                run(snippet, tmp_path)
        _run_python(python, tmp_path)


def _run_python(snippets: list[Snippet], folder: Path) -> None:
    if not snippets:
        return
    text = "".join(each.text for each in snippets)
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=folder, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
    )
    assert done.returncode == 0, f"{snippets[0]}\n{done.stderr[-2000:]}"
    snippets.clear()


def test_every_block_of_commands_says_its_language() -> None:
    bare = [f"{snippet}" for page in PAGES for snippet in snippets_of(page) if snippet.language not in {*RUN, "text"}]
    assert not bare, "\n".join(bare)
