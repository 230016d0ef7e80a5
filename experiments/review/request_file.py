"""YAML text -> `Request`, with every mistake found in one go, as a study is read.

The rules of reading are `models.forms`'s; what a value means is `experiments.review.request`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trunkproof.experiments.review.request import Request
from trunkproof.models.forms import Form, Written, parse_form, read_form
from trunkproof.models.key_paths import KeyPath

_PRESENT, _FORMER = "interpretations", "readings"
"""Requests of earlier versions call the interpretations of the throttle `readings`. Both keys are read."""


def read_request(path: Path | str) -> Request:
    """Read a request from a YAML file; `history: FILE` is short for `history: {path: FILE}`.

    The key `interpretations` may also be written `readings`, as in earlier versions. The history's path stays as
    written: relative to the request's file.

    Raises:
        InputError: the file cannot be read, is not YAML, or says something impossible; lists all problems.
    """
    return read_form(path, REQUEST)


def parse_request(text: str, *, source: str = "request") -> Request:
    """Parse a request from YAML text; `source` names it in messages.

    Raises:
        InputError: as `read_request`.
    """
    return parse_form(text, REQUEST, source=source)


def _expanded(written: Written) -> Written:
    history = written.get("history")
    if isinstance(history, str):
        written = written | {"history": {"path": history}}
    # With both keys the old one stays, so that pydantic reports it as unknown.
    if _FORMER in written and _PRESENT not in written:
        written = {_PRESENT if key == _FORMER else key: value for key, value in written.items()}
    return written


def _as_written(path: KeyPath, written: Mapping[str, Any]) -> KeyPath:
    if path[:1] == ("history",) and isinstance(written.get("history"), str):
        return path[:1]
    if path[:1] == (_PRESENT,) and _PRESENT not in written:
        return (_FORMER, *path[1:])
    return path


REQUEST = Form(Request, word="request", needs="history", expand=_expanded, as_written=_as_written)
"""A request, in which `history: FILE` and the older key `readings` are short forms."""
