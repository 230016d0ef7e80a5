"""Read what the journals of a run tell: its records, readings, health and end, and what is missing.

An attempt that began and has no end in any journal was under way when its process died. It is a record too, with the
disposition `still_up`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from trunkproof.loadgen.control import AppliedControl
from trunkproof.loadgen.journal.keeper import health_together
from trunkproof.loadgen.journal.lines import Entry, EntryKind, JournalReader
from trunkproof.loadgen.meters.report import SAMPLES
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.run_end import when
from trunkproof.loadgen.stack_events import StackEvent, StackEventKind
from trunkproof.loadgen.verdict import Measurements
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.records import Direction, Record, record_from_json

_UNDER_WAY = "no end was noted: the process that placed it had died"


@dataclass
class Journalled:
    """What one journal tells."""

    who: str = ""
    records: dict[tuple[int, int], Record] = field(default_factory=dict)
    """Plan row and call -> record. Calls that no plan has share a row. Attempts without an end are `still_up`."""
    under_way: set[int] = field(default_factory=set)
    """The plan rows of attempts without an end."""
    anchors: Mapping[str, float] = field(default_factory=dict)
    zero: float | None = None
    """Plan zero on the machine's monotonic clock. None where it was not known yet."""
    troubles: list[str] = field(default_factory=list)
    controls: list[AppliedControl] = field(default_factory=list)
    """What the user changed while the run lasted."""
    samples: list[list[Any]] = field(default_factory=list)
    health: list[Mapping[str, Any]] = field(default_factory=list)
    orphaned: bool = False
    """Whether its run was gone before it ended. Ends of attempts after that do not count: those were under way."""
    result: Mapping[str, Any] | None = None
    """How the run ended, and what was measured beside tables. None: it was killed."""
    damaged: int = 0
    """Batches that could not be read."""
    torn_bytes: int = 0
    """Bytes at the end that are no whole batch."""

    @property
    def measured(self) -> Measurements:
        """Return the health of the process."""
        return health_together(self.health)

    @property
    def heard(self) -> Heard:
        """Return the packets that the customers received on calls that ended."""
        ended = [record for record in self.records.values() if record.direction is Direction.OUTBOUND]
        return Heard(sum(each.rtp_received for each in ended), sum(each.rtp_authenticated for each in ended))

    @property
    def table(self) -> pl.DataFrame:
        """Return the readings of the meters, with the columns of `SAMPLES`."""
        return pl.DataFrame(self.samples, schema=SAMPLES, orient="row")

    @property
    def last_s(self) -> float | None:
        """Return the last instant after plan zero that it tells of."""
        instants = [row[0] for row in self.samples[-1:]]
        for record in self.records.values():
            instants += [at for at in (record.sent_s, record.answered_s, record.ended_s) if at is not None]
        return max(instants, default=None)

    def take(self, entries: Iterable[Entry]) -> None:
        """Add entries, in the order of writing."""
        for entry in entries:
            self._take(entry.kind, entry.value)

    def _take(self, kind: EntryKind, value: Any) -> None:
        match kind:
            case EntryKind.PROCESS:
                self.who = value["who"]
            case EntryKind.ZERO:
                self.zero, self.anchors = value["zero"], value["anchors"]
            case EntryKind.BEGAN:
                record = record_from_json(value)
                record.reason = _UNDER_WAY
                self.records[record.row, record.call] = record
                self.under_way.add(record.row)
            case EntryKind.ORPHANED:
                self.orphaned = True
            case EntryKind.ENDED if not self.orphaned:
                record = record_from_json(value)
                self.records[record.row, record.call] = record
                self.under_way.discard(record.row)
            case EntryKind.EVENT:
                event = StackEvent(**value["event"] | {"kind": StackEventKind(value["event"]["kind"])})
                if event.kind is not StackEventKind.STARTED:
                    self.troubles.append(f"{event} {when(value['at_s'])}")
            case EntryKind.CONTROL:
                self.controls.append(AppliedControl.from_json(value))
            case EntryKind.METERS:
                self.samples += value
            case EntryKind.HEALTH:
                self.health.append(value)
            case EntryKind.RESULT:
                self.result = value


def read_journal(path: Path) -> Journalled:
    """Read one journal. A torn end and damaged batches are left out, and counted.

    Raises:
        InputError: it cannot be read, or was written by another version.
    """
    reader, found = JournalReader(path), Journalled()
    try:
        found.take(reader.read_new())
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(str(path), [Problem(where="journal", what=f"cannot be read ({error})")]) from error
    found.damaged, found.torn_bytes = reader.damaged, reader.torn_bytes
    return found
