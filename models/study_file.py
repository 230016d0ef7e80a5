"""YAML text -> `Study`. `models.forms` has the rules by which all files are read."""

from __future__ import annotations

from pathlib import Path

from trunkproof.models.forms import parse_form, read_form
from trunkproof.models.study import STUDY, Study


def read_study(path: Path | str) -> Study:
    """Read a study from a YAML file.

    Raises:
        InputError: the file cannot be read, is not YAML, or says something impossible; lists all problems.
    """
    return read_form(path, STUDY)


def parse_study(text: str, *, source: str = "study") -> Study:
    """Parse a study from YAML text; `source` names it in messages.

    Raises:
        InputError: as `read_study`.
    """
    return parse_form(text, STUDY, source=source)
