"""A study as it is written beside a result: the same study, with stand-ins for telephone numbers.

A result folder is sent around. So each number is replaced by one that nobody has: country code 999, which ITU-T E.164
keeps free, a place in the order of the study, and the last two digits of the number itself. Everything else is the
study's own, so a page can be made again, and its plan has the same calls. The digest of the true study stands in the
result's provenance.
"""

from __future__ import annotations

from trunkproof.models.destinations import Destination
from trunkproof.models.study import Study

_FREE = 999 * 10**11


class _StandIns:
    """Gives each number its stand-in, the same one each time."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._blocks: list[tuple[range, int]] = []
        self._next = 0

    def of(self, number: str) -> str:
        """Return the stand-in of one number."""
        for block, first in self._blocks:
            if int(number) in block:
                return f"+{first + int(number) - block.start}"
        if number not in self._given:
            self._given[number] = f"+{self._take(int(number[-2:]), 1)}"
        return self._given[number]

    def of_block(self, block: range) -> str:
        """Return a block of as many stand-ins."""
        first = self._take(block.start % 100, len(block))
        self._blocks.append((block, first))
        return f"+{first}-+{first + len(block) - 1}"

    def _take(self, last_two: int, count: int) -> int:
        first = _FREE + self._next * 100 + last_two
        self._next += -(-(last_two + count) // 100)
        return first


def without_numbers(study: Study) -> Study:
    """Return the study with stand-ins for every number of its destinations, callers and thresholds."""
    stand_ins = _StandIns()
    trunks = []
    for trunk in study.trunks:
        traffic = trunk.traffic
        entries = tuple(_replaced(entry, stand_ins) for entry in traffic.destinations)
        update = {"destinations": entries, "callers": tuple(map(stand_ins.of, traffic.callers))}
        trunks.append(trunk.model_copy(update={"traffic": traffic.model_copy(update=update)}))
    thresholds = tuple(
        one if one.number is None else one.model_copy(update={"number": stand_ins.of(one.number)})
        for one in study.thresholds
    )
    return study.model_copy(update={"trunks": tuple(trunks), "thresholds": thresholds})


def _replaced(entry: Destination, stand_ins: _StandIns) -> Destination:
    # Made anew: a copy would keep the range that the entry has computed of its own block.
    values = entry.model_dump() | {
        "number": None if entry.number is None else stand_ins.of(entry.number),
        "numbers": tuple(map(stand_ins.of, entry.numbers)),
        "block": None if entry.range is None else stand_ins.of_block(entry.range),
    }
    return Destination.model_validate(values)
