"""The studies and notebooks that are shipped with trunkproof, by name."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path

from trunkproof.models.errors import InputError, Problem

FOLDER = Path(__file__).parents[1] / "studies"
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def shipped_studies() -> dict[str, Path]:
    """Return the path of each study by its name, such as `above` or `suite/bursts`."""
    paths = sorted(FOLDER.rglob("*.yaml"), key=lambda path: (len(path.parts), path))
    return {path.relative_to(FOLDER).with_suffix("").as_posix(): path for path in paths}


def shipped_study(name: str) -> Path:
    """Return the path of the shipped study of that name.

    Raises:
        InputError: there is none.
    """
    return _named(name, shipped_studies(), "studies")


def shipped_notebooks() -> dict[str, Path]:
    """Return the path of each notebook by its name, such as `01_first_steps`, in the order of reading."""
    return {path.stem: path for path in sorted(NOTEBOOKS.glob("*.ipynb"))}


def shipped_notebook(name: str) -> Path:
    """Return the path of the shipped notebook of that name, with or without its number.

    Raises:
        InputError: there is none.
    """
    notebooks = shipped_notebooks()
    short = {found.split("_", 1)[1]: path for found, path in notebooks.items()}
    return _named(name.removesuffix(".ipynb"), short | notebooks, "notebooks")


def first_heading(path: Path) -> str:
    """Return what a notebook says of itself: the title of its first cell."""
    cell = json.loads(path.read_text(encoding="utf-8"))["cells"][0]
    return "".join(cell["source"]).splitlines()[0].removeprefix("# ")


def _named(name: str, shipped: Mapping[str, Path], command: str) -> Path:
    if name not in shipped:
        near = difflib.get_close_matches(name, shipped, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"`trunkproof {command} list` has all of them"
        raise InputError(command, [Problem(where=name, what=f"there is none of that name; {hint}")])
    return shipped[name]


def first_comment(path: Path) -> str:
    """Return what a study's file says of itself: the comment at its top."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return " ".join(line.removeprefix("#").strip() for line in lines)
