"""Messages between processes come out as they went in, and nothing else does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

from trunkproof.loadgen.system.messages import Codec


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Plain: ...


@dataclass(frozen=True)
class Rich:
    at: float
    colour: Colour
    file: Path
    names: tuple[str, ...] = ()
    inner: Plain | None = None


CODEC: Codec[Plain | Rich] = Codec(Plain, Rich)


@pytest.mark.parametrize(
    "message",
    [Plain(), Rich(0.1 + 0.2, Colour.RED, Path("a b/c")), Rich(1e-300, Colour.RED, Path("x"), ("ü", "\n"), Plain())],
)
def test_a_message_comes_out_as_it_went_in_on_one_line(message: Plain | Rich) -> None:
    line = CODEC.encode(message)
    assert line.count(b"\n") == 1
    assert CODEC.decode(line) == message


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"null", b"{}", b'{"type": "Other"}', b'{"type": "Rich"}', b'{"type": 7}', b'{"type": []}'],
)
def test_anything_else_is_no_message(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # JSON's, pydantic's and our own are all of them
        CODEC.decode(line)
