"""Small pieces of Markdown, and the sentences that stand below the members of an enum."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence
from enum import Enum


def cell(text: object) -> str:
    """Return text that stands in one cell of a table, whatever letters it has. What is in backquotes stays."""
    parts = re.split(r"(`[^`]*`)", " ".join(str(text).split()).replace("|", "\\|"))
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;").replace("*", "\\*") for part in parts)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with a row of headings."""
    lines = [head, ["---"] * len(head), *([cell(value) for value in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def member_sentences(kind: type[Enum]) -> dict[str, str]:
    """Return what the source says below each member of an enum, by the member's name.

    Raises:
        ValueError: a member has no sentence.
    """
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for before, here in zip(body.body, body.body[1:], strict=False):
        if not isinstance(before, ast.Assign) or not isinstance(name := before.targets[0], ast.Name):
            continue
        if isinstance(here, ast.Expr) and isinstance(here.value, ast.Constant) and isinstance(here.value.value, str):
            found[name.id] = inspect.cleandoc(here.value.value)
    lacking = [name for name in kind.__members__ if name not in found]
    if lacking:
        raise ValueError(f"{kind.__name__} says nothing of {', '.join(lacking)}")
    return found
