"""The studies that are shipped with trunkproof, by name."""

from __future__ import annotations

import difflib
from itertools import takewhile
from pathlib import Path

from trunkproof.models.errors import InputError, Problem

FOLDER = Path(__file__).parents[1] / "studies"


def shipped_studies() -> dict[str, Path]:
    """Return the path of each study by its name, such as `above` or `suite/bursts`."""
    paths = sorted(FOLDER.rglob("*.yaml"), key=lambda path: (len(path.parts), path))
    return {path.relative_to(FOLDER).with_suffix("").as_posix(): path for path in paths}


def shipped_study(name: str) -> Path:
    """Return the path of the shipped study of that name.

    Raises:
        InputError: there is none.
    """
    studies = shipped_studies()
    if name not in studies:
        near = difflib.get_close_matches(name, studies, n=1)
        hint = f"did you mean `{near[0]}`?" if near else "`trunkproof studies list` has all of them"
        raise InputError("studies", [Problem(where=name, what=f"no such study; {hint}")])
    return studies[name]


def first_comment(path: Path) -> str:
    """Return what a study's file says of itself: the comment at its top."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return " ".join(line.removeprefix("#").strip() for line in lines)
