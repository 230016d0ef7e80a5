"""What MkDocs asks while it builds the documentation: the pages that are made, and links into the code.

Reference pages and diagrams are made here, each time, and are not kept in the repository. So they cannot be out of
date, and two branches that each add a key do not meet in one table.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

from trunkproof.experiments.manual.commands import commands_page
from trunkproof.experiments.manual.diagrams import ROOT, life_page, rooms_page, states_page
from trunkproof.experiments.manual.keys import keys_page
from trunkproof.experiments.manual.tables import dispositions_page, exit_codes_page, kpis_page, records_page

logger = logging.getLogger("mkdocs.hooks.trunkproof")

STUDY_KEYS = """\
This page is made from the models that read a study. `trunkproof schema study` gives the same to an editor, and
`trunkproof new study` writes a file with these words beside its keys. What the keys mean together is said in
[The study](study.md).
"""
REQUEST_KEYS = """\
This page is made from the models that read a request. `trunkproof schema request` gives the same to an editor, and
`trunkproof new request` writes a file with these words beside its keys.
[How a review decides](../explanation/confidence.md) says what they do.
"""


def glossary_page() -> str:
    """Return GLOSSARY.md, with an anchor for each word."""
    text = (ROOT / "GLOSSARY.md").read_text(encoding="utf-8")
    return re.sub(r"(?m)^\| ([^|]+?) \|", lambda row: f'| <span id="{_anchor(row[1])}">{row[1]}</span> |', text)


def _anchor(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


MADE: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/study_keys.md": lambda: keys_page("study", STUDY_KEYS),
    "reference/request_keys.md": lambda: keys_page("request", REQUEST_KEYS),
    "reference/records.md": records_page,
    "reference/kpis.md": kpis_page,
    "reference/dispositions.md": dispositions_page,
    "reference/exit_codes.md": exit_codes_page,
    "explanation/states.md": states_page,
    "explanation/life.md": life_page,
    "explanation/rooms.md": rooms_page,
    "glossary.md": glossary_page,
}
"""Page -> what makes it."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made."""
    for path, make in MADE.items():
        files.append(File.generated(config, path, content=make()))
    return files


_LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)(#[^)]*)?\)")
_FENCE = re.compile(r'(?m)^( *```)(\w+)((?: \w+(?:="[^"]*")?)+)$')


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Show links into the code as paths, because a reader may have the site alone. Give fences their titles."""
    folder = PurePosixPath(page.file.src_uri).parent
    return _FENCE.sub(_fence, _LINK.sub(lambda link: _into_code(link, folder), markdown))


def _into_code(link: re.Match[str], folder: PurePosixPath) -> str:
    words, target = link[1], link[2]
    if ":" in target:
        return link[0]
    path = os.path.normpath(Path("docs") / folder / target)
    if path.startswith("docs/"):
        return link[0]
    if not (ROOT / path).exists():
        logger.warning("A link leads nowhere: %s", target)
    return f"`{path}`" if words.strip("`") == path else f"{words} (`{path}`)"


def _fence(fence: re.Match[str]) -> str:
    """Turn what tests need of a fence into what a reader needs: the file's name, or why it is not run by tests."""
    words = dict(re.findall(r'(\w+)(?:="([^"]*)")?', fence[3]))
    title = words.get("file", "")
    if "skip" in words:
        title = f"Not run by the tests: {words['skip']}"
    elif "exit" in words:
        title = f"Ends with exit code {words['exit']}"
    elif "background" in words:
        title = "Goes on until Ctrl-C: in a terminal of its own"
    return f'{fence[1]}{fence[2]} title="{title}"' if title else f"{fence[1]}{fence[2]}"
