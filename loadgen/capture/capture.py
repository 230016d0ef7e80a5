"""What a process of a run has captured, and its file. All instants are seconds of Unix time.

The file holds telephone numbers, keys and TLS secrets as they are: only its owner may read it.
`experiments.target.bundle` makes of it what can be given away.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ConfigDict, RootModel, ValidationError

from trunkproof.models.errors import InputError, Problem
from trunkproof.models.records import Record

Address = tuple[str, int]
"""Host and port."""
_FILES = "calls-*.json"
_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700


@dataclass(frozen=True, slots=True)
class Message:
    """One SIP message of a call."""

    at_s: float
    sent: bool
    """Sent by us. Otherwise received."""
    local: Address
    peer: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes of a connection, as they went to the network or came from it."""

    at_s: float
    sent: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """One connection, from its first byte on."""

    local: Address
    peer: Address
    calls_out: bool
    """We opened it. Otherwise the peer did."""
    tls: str
    """Version and cipher suite. Empty where no handshake was finished."""
    complete: bool
    """Every byte was kept. Otherwise the first ones."""
    secrets: tuple[str, ...]
    """Lines of a TLS key log (SSLKEYLOGFILE)."""
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """One datagram of a call's audio."""

    at_s: float
    sent: bool
    local: Address
    peer: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class CapturedCall:
    """One attempt."""

    trunk: str
    row: int
    """-1 for a call that nobody planned."""
    inbound: bool
    call_ids: tuple[str, ...]
    """Several, where the call was redirected."""
    record: Record | None
    """None for an inbound call: whoever placed it has the record."""
    messages: tuple[Message, ...]
    messages_left_out: int
    """Beyond `CaptureOptions.message_bytes`."""
    streams: tuple[int, ...]
    """The connections that it used: places in `Capture.streams`."""
    audio: tuple[AudioPacket, ...]
    """The first and the last datagrams, as they were sent and received."""


@dataclass(frozen=True, slots=True)
class CapturedTrunk:
    """Whose trunk it is."""

    name: str
    account: str
    domain: str
    target: str
    """Host and port that were called."""


@dataclass(frozen=True, slots=True)
class Capture:
    """All that one process has captured."""

    zero_s: float
    """Plan zero."""
    trunks: tuple[CapturedTrunk, ...]
    calls: tuple[CapturedCall, ...] = field(repr=False)
    streams: tuple[Stream, ...] = field(repr=False)


class _File(RootModel[Capture]):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")


def prepare_folder(folder: Path) -> None:
    """Make the folder of a capture, and remove what an earlier run left in it.

    Raises:
        InputError: the folder cannot be made.
    """
    try:
        folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        for old in folder.glob(_FILES):
            old.unlink()
    except OSError as error:
        problem = Problem(where="capture", what=f"cannot be written ({error.strerror})")
        raise InputError(str(folder), [problem]) from error


def write_capture(capture: Capture, folder: Path, index: int) -> None:
    """Write what the process with this number has captured."""
    path = folder / f"calls-{index}.json"
    aside = path.with_suffix(".part")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE_FILE), "w", encoding="ascii") as file:
        file.write(_File(capture).model_dump_json(ensure_ascii=True))
    # At once: whoever reads meanwhile finds a whole file or none.
    aside.replace(path)


def read_captures(folder: Path) -> Sequence[Capture]:
    """Read what all processes of a run have captured.

    Raises:
        InputError: there is nothing, or a file cannot be read.
    """
    captures, problems = [], []
    for path in sorted(folder.glob(_FILES)):
        try:
            captures.append(_File.model_validate_json(path.read_bytes()).root)
        except OSError as error:
            problems.append(Problem(where=path.name, what=f"cannot be read ({error.strerror})"))
        except ValidationError:
            problems.append(
                Problem(where=path.name, what="is damaged, or was written by another version of trunkproof")
            )
    if not captures and not problems:
        problems.append(Problem(where="folder", what="holds no capture: run `load` or `validate` with --capture"))
    if problems:
        raise InputError(str(folder), problems)
    return captures
