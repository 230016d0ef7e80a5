"""The path of a key in nested settings, such as `trunks[0].throttle.limit`: as text, as a tuple, and to set a value."""

from __future__ import annotations

import re
from typing import Any

KeyPath = tuple[str | int, ...]
_PART = re.compile(r"(?:^|(?<=.)\.)([^.\[\]]+)|\[(\d+)\]")


def dotted(path: KeyPath) -> str:
    """Return the path as text."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def key_path(text: str) -> KeyPath:
    """Return the path that `dotted` writes as this text.

    Raises:
        ValueError: it is no path.
    """
    parts: list[str | int] = []
    end = 0
    while end < len(text):
        found = _PART.match(text, end)
        if found is None:
            break
        parts.append(found[1] if found[2] is None else int(found[2]))
        end = found.end()
    if not text or end < len(text):
        raise ValueError(
            f"`{text}` is no path of keys; write it like traffic.arrivals.rate_per_minute or trunks[0].name"
        )
    return tuple(parts)


def with_value_at(settings: Any, path: KeyPath, value: Any) -> Any:
    """Return a copy of nested mappings and lists in which the value at that path is another.

    Mappings that are missing on the way are made.

    Raises:
        ValueError: the path leads into a list that has no such item, or into a value that has no keys.
    """
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(part, int):
        if not isinstance(settings, list) or part >= len(settings):
            raise ValueError(f"there is no list with an item [{part}]")
        return [with_value_at(item, rest, value) if index == part else item for index, item in enumerate(settings)]
    mapping = {} if settings is None else settings
    try:
        return mapping | {part: with_value_at(mapping.get(part), rest, value)}
    except AttributeError:
        raise ValueError(f"what stands there has no keys, so no `{part}`") from None
