"""Repair CSV whose lines are not one row each: line breaks inside quotation marks, and unmatched marks.

A recorder that is stopped in the middle of a line leaves a mark open. A CSV reader then takes all lines up to the next
mark for one row. Here only the broken line is lost. This is used only for files with such lines, because it holds the
whole file in memory and checks every line.
"""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_MOST_JOINED = 50
"""Lines of one row."""


@dataclass(frozen=True)
class Mended:
    """A file of which every line is a row."""

    content: bytes
    wrong: tuple[int, ...]
    """Lines whose marks were taken away, counted from 1."""
    joined: tuple[tuple[int, int], ...]
    """Rows of several lines: the row's number, as if every row were a line, and its further lines."""


def mended(file: Iterable[bytes], separator: str, skipped: int, width: int) -> Mended:
    """Make every row one line: join lines inside quotation marks, and remove unmatched marks.

    Args:
        file: open at its beginning.
        separator: between fields.
        skipped: lines at the beginning that are left out of the result.
        width: fields that a whole row has.
    """
    shape = _Shape(separator.encode(), width)
    wrong: list[int] = []
    joined: list[tuple[int, int]] = []
    # A list of all lines would take twice the memory.
    kept = io.BytesIO()
    lines = _Lines(file)
    for line in lines:
        if lines.number <= skipped:
            continue
        if b'"' not in line or shape.is_row(line):
            kept.write(line)
            continue
        further = _further(line, lines, shape)
        if further:
            joined.append((lines.number - sum(count for _, count in joined), len(further)))
            whole = b"".join([line, *further])
            lines.skip(len(further))
            kept.write(b" ".join(whole.splitlines()) + b"\n")
        else:
            wrong.append(lines.number)
            kept.write(line.replace(b'"', b""))
    return Mended(kept.getvalue(), tuple(wrong), tuple(joined))


def _further(line: bytes, lines: _Lines, shape: _Shape) -> list[bytes]:
    """Return the lines that complete a row; none if no mark closes it before the next complete row."""
    text, further = line, []
    for following in lines.ahead(_MOST_JOINED):
        if shape.is_whole(following):
            break
        further.append(following)
        text += following
        if shape.is_row(text):
            return further
    return []


class _Lines:
    """Lines with a look ahead; `number` is that of the last one given out."""

    def __init__(self, file: Iterable[bytes]) -> None:
        self._file = iter(file)
        self._held: deque[bytes] = deque()
        self.number = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            line = self._held.popleft() if self._held else next(self._file, None)
            if line is None:
                return
            self.number += 1
            yield line

    def ahead(self, most: int) -> Iterator[bytes]:
        """Yield the next lines without removing them."""
        for at in range(most):
            if at == len(self._held):
                line = next(self._file, None)
                if line is None:
                    return
                self._held.append(line)
            yield self._held[at]

    def skip(self, count: int) -> None:
        """Skip lines that `ahead` has yielded."""
        for _ in range(count):
            self._held.popleft()
        self.number += count


class _Shape:
    """What a row looks like: fields with all of their marks, or with none."""

    def __init__(self, separator: bytes, width: int) -> None:
        between = re.escape(separator)
        field = rb'(?:"(?:[^"]|"")*+"|[^"\r\n' + between + rb"]*+)"
        self._row = re.compile(field + b"(?:" + between + field + b")*+")
        self._field = re.compile(rb'"(?:[^"]|"")*+"|' + between)
        self._separator, self._width = separator, width

    def is_row(self, text: bytes) -> bool:
        """Return whether every quotation mark has its partner."""
        return self._row.fullmatch(text.rstrip(b"\r\n")) is not None

    def is_whole(self, line: bytes) -> bool:
        """Return whether the line is a row with the usual number of fields."""
        fields = 1 + sum(found == self._separator for found in self._field.findall(line))
        return fields >= self._width and self.is_row(line)
