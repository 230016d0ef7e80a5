"""Find the files of a history from a file, a folder, a pattern, or a list of these."""

from __future__ import annotations

import re
from pathlib import Path

from trunkproof.models.errors import InputError, Problem

SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".xlsx", ".parquet")
"""Suffixes of the files of a folder that are read; files of a pattern or a list may have any suffix."""
_PATTERN = re.compile(r"[*?\[]")


def find_files(path: Path | tuple[Path, ...], base: Path | None = None) -> list[Path]:
    """Return the files in the given order, those of a folder or a pattern by name, and none twice.

    Raises:
        InputError: some paths match no file; lists all of them.
    """
    given = path if isinstance(path, tuple) else (path,)
    found: dict[Path, Path] = {}
    problems: list[Problem] = []
    for index, each in enumerate(given):
        whole = base / each if base is not None else each
        files, problem = _stands_for(whole)
        found |= {file.resolve(): file for file in files if file.resolve() not in found}
        if problem:
            where = f"history.path[{index}]" if isinstance(path, tuple) else "history.path"
            problems.append(Problem(where=where, what=f"{each}: {problem}"))
    if problems:
        raise InputError("history", problems)
    return list(found.values())


def names_of(files: list[Path]) -> list[str]:
    """Return the names of the files for messages, with the folder where two files have the same name."""
    names = [file.name for file in files]
    return [str(Path(file.parent.name) / file.name) if names.count(file.name) > 1 else file.name for file in files]


def _stands_for(path: Path) -> tuple[list[Path], str]:
    """Return the files, or a message that says what is wrong."""
    try:
        if path.is_file():
            return [path], ""
        if path.is_dir():
            inside = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
            files = [file for file in inside if file.name.lower().removesuffix(".gz").endswith(SUFFIXES)]
            return sorted(files, key=_by_name), "" if files else f"a folder without {', '.join(SUFFIXES)} (also .gz)"
        if path.exists():
            return [], "is no regular file"
        if _PATTERN.search(str(path)):
            files = [file for file in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if file.is_file()]
            return sorted(files, key=_by_name), "" if files else "no file has such a name"
    except (OSError, ValueError) as error:
        return [], f"cannot be opened ({getattr(error, 'strerror', None) or error})"
    return [], "there is no such file"


def _by_name(file: Path) -> list[tuple[int, str]]:
    """Return a sort key that puts `calls-2` before `calls-10`."""
    parts = re.findall(r"\d+|\D+", str(file))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
