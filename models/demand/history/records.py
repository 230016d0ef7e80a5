"""Open JSON: the answer of an API, its pages, a list of calls, or one of these in every line; also gzipped.

A call is an object that has one of the headings of a start. Objects around it (`{"Calls": [{"Call": {…}}]}`) do not
matter. The fields of objects inside it (`"Details": {…}`) become fields of the call.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from trunkproof.models.demand.history.delimited import UTF_16, opened_bytes
from trunkproof.models.demand.history.opened import SAMPLE_ROWS, Opened, refused, unique_names

_FEWEST_KEYS = 2


def open_records(path: Path, name: str, number: int, starts: frozenset[str]) -> Opened:
    """Open a JSON file; `starts` are the bare headings that a start may have.

    Raises:
        InputError: it is not JSON, or has no calls.
    """
    records = list(_numbered(_loaded(path, name), starts))
    if not records:
        raise refused(name, f"is JSON without calls: no object has a start ({', '.join(sorted(starts)[:6])}, ...)")
    # In the order of their first appearance: a later page may have fields that the first one does not have.
    keys = list(dict.fromkeys(key for _, record in records for key in record))
    columns = unique_names(keys)
    data: dict[str, list[Any]] = {"row": [line for line, _ in records]}
    data |= {column: [record.get(key) for _, record in records] for column, key in zip(columns, keys, strict=True)}
    schema = {"row": pl.Int64()} | dict.fromkeys(columns, pl.String())
    table = pl.DataFrame(data, schema=schema)
    return Opened(path, name, "json", True, columns, table.lazy(), table.head(SAMPLE_ROWS).drop("row"), number)


def bare(heading: str) -> str:
    """Return a heading in lower case without punctuation, as it is written in `models.demand.history.formats`."""
    return "".join(letter for letter in heading.lower() if letter.isalnum())


def _loaded(path: Path, name: str) -> list[tuple[int, Any]]:
    """Return the documents of a file, each with its line. A single document has line 0."""
    try:
        with opened_bytes(path) as file:
            content = file.read()
        text = content.decode("utf-16" if content.startswith(UTF_16) else "utf-8-sig")
    except (OSError, EOFError, zlib.error):
        raise refused(name, "is damaged: a compressed file cut short") from None
    except UnicodeDecodeError:
        raise refused(name, "looks like JSON, but is not text in UTF-8") from None
    try:
        return [(0, json.loads(text))]
    except (json.JSONDecodeError, RecursionError) as error:
        if "\n" not in text.strip():
            raise refused(name, f"is damaged JSON ({error})") from None
        whole = error
    documents = []
    for line, part in enumerate(text.split("\n"), start=1):
        try:
            documents += [(line, json.loads(part))] if part.strip() else []
        except (json.JSONDecodeError, RecursionError):
            if not documents:
                # The first line alone is none either: it was meant as one document.
                raise refused(name, f"is damaged JSON ({whole})") from None
            # One line that is spoilt costs one row; without a start it is told as such.
            documents.append((line, None))
    return documents


def _numbered(documents: list[tuple[int, Any]], starts: frozenset[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the records with their line, or in a single document with their number."""
    number = 0
    for line, document in documents:
        if line and document is None:
            yield line, {}
        found = list(_found(document, starts, is_item=bool(line)))
        # An object beside the list, such as the page's own data, may have a time too; alone it is the only call.
        items = [record for record, is_item in found if is_item]
        for record in items or [record for record, _ in found]:
            number += 1
            yield line or number, record


def _found(value: Any, starts: frozenset[str], *, is_item: bool) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield the records in a value, and whether each was an item of a list, alone or wrapped."""
    if isinstance(value, list):
        for item in value:
            yield from _found(item, starts, is_item=True)
    elif isinstance(value, dict):
        scalar = [key for key, inner in value.items() if not isinstance(inner, list | dict)]
        if len(scalar) >= _FEWEST_KEYS and any(bare(key) in starts for key in scalar):
            yield dict(_spread(value)), is_item
            return
        for inner in value.values():
            yield from _found(inner, starts, is_item=is_item and len(value) == 1)


def _spread(record: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the fields as text. Fields of inner objects have their own names; lists of legs are left out."""
    for key, value in record.items():
        if isinstance(value, dict):
            yield from ((name, inner) for name, inner in _spread(value) if name not in record)
        elif not isinstance(value, list):
            yield key, _text(value)


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)
