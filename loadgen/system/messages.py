"""Messages between our own processes: frozen dataclasses on this side, one JSON object a line on the wire.

A `Codec` knows the messages of one channel and reads no others. The module of the channel says what a message means.
"""

from __future__ import annotations

import json
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")
_TYPE = "type"


class Codec(Generic[T]):
    """Writes and reads the messages of one channel; on the wire each is known by the name of its class."""

    def __init__(self, *kinds: type[T]) -> None:
        self._adapters: dict[str, TypeAdapter[Any]] = {kind.__name__: TypeAdapter(kind) for kind in kinds}

    def encode(self, message: T) -> bytes:
        """Write a message as one line."""
        name = type(message).__name__
        fields: dict[str, Any] = self._adapters[name].dump_python(message, mode="json")
        # JSON escapes line breaks inside strings, so a line is always one whole message.
        return json.dumps({_TYPE: name, **fields}).encode() + b"\n"

    def decode(self, line: bytes) -> T:
        """Read a line that `encode` wrote.

        Raises:
            ValueError: it is no message of this channel.
        """
        fields = json.loads(line)
        adapter = self._adapters.get(str(fields.pop(_TYPE, ""))) if isinstance(fields, dict) else None
        if adapter is None:
            raise ValueError(f"no message of this channel: {line[:200]!r}")
        message: T = adapter.validate_python(fields)
        return message
