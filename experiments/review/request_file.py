"""YAML text -> `Request`, with every mistake found in one go, as a study is read.

The rules of reading are `models.study_file`'s; what a value means is `experiments.review.request`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trunkproof.experiments.review.request import Request
from trunkproof.models.study_file import Form, KeyPath, Written, parse_form, read_form


def read_request(path: Path | str) -> Request:
    """Read a request from a YAML file; `history: FILE` is short for `history: {path: FILE}`.

    The history's path stays as written: relative to the request's file.

    Raises:
        InputError: the file cannot be read, is not YAML, or says something impossible; lists all problems.
    """
    return read_form(path, _REQUEST)


def parse_request(text: str, *, source: str = "request") -> Request:
    """Parse a request from YAML text; `source` names it in messages.

    Raises:
        InputError: as `read_request`.
    """
    return parse_form(text, _REQUEST, source=source)


def _expanded(written: Written) -> Written:
    history = written.get("history")
    return written | {"history": {"path": history}} if isinstance(history, str) else written


def _as_written(path: KeyPath, written: Mapping[str, Any]) -> KeyPath:
    return path[:1] if path[:1] == ("history",) and isinstance(written.get("history"), str) else path


_REQUEST = Form(Request, word="request", needs="history", expand=_expanded, as_written=_as_written)
