"""Quotation marks that do not match, as a recorder leaves them that is stopped in the middle of a line.

Only for files that cannot be read otherwise: it holds the whole file in memory and looks at every line. A field with a
line break inside does not survive it; each of its lines becomes a row.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable


def mended(file: Iterable[bytes], separator: str, skipped: int) -> tuple[bytes, list[int]]:
    """The file's lines, those with wrong marks without any; and the numbers of these, counted from 1.

    Args:
        file: open at its beginning.
        separator: between fields.
        skipped: lines at the beginning that are left out of the result.
    """
    right = _well_formed(separator.encode())
    wrong: list[int] = []
    # A list of all lines would take twice the memory.
    kept = io.BytesIO()
    for number, line in enumerate(file, start=1):
        if number > skipped:
            is_wrong = b'"' in line and not right.fullmatch(line.rstrip(b"\r\n"))
            if is_wrong:
                wrong.append(number)
            kept.write(line.replace(b'"', b"") if is_wrong else line)
    return kept.getvalue(), wrong


def _well_formed(separator: bytes) -> re.Pattern[bytes]:
    between = re.escape(separator)
    field = rb'(?:"(?:[^"]|"")*+"|[^"' + between + rb"]*+)"
    return re.compile(field + b"(?:" + between + field + b")*+")
