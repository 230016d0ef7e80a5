"""Finds the files of a history: what a file, a folder, a pattern, or a list of these stands for."""

from __future__ import annotations

import re
from pathlib import Path

from trunkproof.models.errors import InputError, Problem

SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".xlsx", ".parquet")
"""Files of a folder that may be a history; of a pattern or a list any file is."""
_PATTERN = re.compile(r"[*?\[]")


def find_files(path: Path | tuple[Path, ...], base: Path | None = None) -> list[Path]:
    """The files in the order given, those of a folder or a pattern by name, none twice.

    Raises:
        InputError: one of the paths stands for no file; lists all of these.
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
    """What messages call them: their names, with the folder where two have the same."""
    names = [file.name for file in files]
    return [str(Path(file.parent.name) / file.name) if names.count(file.name) > 1 else file.name for file in files]


def _stands_for(path: Path) -> tuple[list[Path], str]:
    """Files, or what is wrong."""
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
        return [], f"cannot be looked up ({getattr(error, 'strerror', None) or error})"
    return [], "there is no such file"


def _by_name(file: Path) -> list[tuple[int, str]]:
    """`calls-2` before `calls-10`."""
    parts = re.findall(r"\d+|\D+", str(file))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
