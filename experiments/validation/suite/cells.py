"""The cells of the suite's table (one profile on one stack), and the file that keeps them.

A cell has the whole comparison.json of its run, and the judgement on it. This module runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from trunkproof.experiments.validation.criteria import Criterion, judge_criteria
from trunkproof.experiments.validation.suite.findings import Note, findings, read_notes
from trunkproof.loadgen.stacks.registry import STACKS
from trunkproof.loadgen.system.files import write_text
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.errors import InputError, Problem, why_unreadable
from trunkproof.models.study import StackName

SUITE = "suite.json"


class State(StrEnum):
    """The result of a cell."""

    HOLDS = "holds"
    MISSES = "misses"
    VOID = "void"
    """The generator could not keep up, twice: the run proves nothing about the trunk."""
    CUT_SHORT = "cut short"
    NOT_PLAYED = "not played"
    """The stack cannot play the profile, or cannot be started here."""


@dataclass(frozen=True)
class Cell:
    """One profile on one stack."""

    stack: StackName
    profile: str
    title: str
    state: State
    criteria: tuple[Criterion, ...] = ()
    """Empty where there is no complete run that is not VOID."""
    why: tuple[str, ...] = ()
    """What is known about why figures differ, or why there are none."""
    note: str = ""
    """What further measurements found out about it."""
    comparison: Mapping[str, Any] = field(default_factory=dict)
    """The comparison of the run that counts. Empty where none was played."""

    @property
    def misses(self) -> tuple[Criterion, ...]:
        """Return the criteria that were missed."""
        return tuple(criterion for criterion in self.criteria if not criterion.holds)

    @property
    def suspect(self) -> bool:
        """Tell whether the generator may have changed the figures."""
        return bool(self.comparison) and self.comparison["generator"]["verdict"] == Verdict.SUSPECT

    def criterion(self, name: str) -> Criterion | None:
        """Return the judgement by one criterion of `criteria.BOUNDS`, or None."""
        return next((criterion for criterion in self.criteria if criterion.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Return all values. The keys of comparison.json are beside the cell's own."""
        return dict(self.comparison) | {
            "stack": self.stack,
            "profile": self.profile,
            "title": self.title,
            "state": self.state.value,
            "criteria": [criterion.to_json() for criterion in self.criteria],
            "misses": [str(criterion) for criterion in self.misses],
            "why": list(self.why),
            "note": self.note,
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Self:
        """Read what `to_json` returned."""
        # `stack` is in the comparison too, and stays in both.
        own = {"profile", "title", "state", "criteria", "misses", "why", "note"}
        comparison = {name: value for name, value in saved.items() if name not in own}
        return cls(
            stack=saved["stack"],
            profile=saved["profile"],
            title=saved["title"],
            state=State(saved["state"]),
            criteria=tuple(Criterion.from_json(criterion) for criterion in saved["criteria"]),
            why=tuple(saved["why"]),
            note=saved["note"],
            # A cell that was not played has only its own keys.
            comparison=comparison if "kpis" in comparison else {},
        )


def played_cell(profile: str, saved: Mapping[str, Any]) -> Cell:
    """Return the cell of a run with this comparison.json."""
    state, criteria = _judged(saved)
    return Cell(saved["stack"], profile, saved["study"], state, criteria, findings(saved), comparison=saved)


def _judged(saved: Mapping[str, Any]) -> tuple[State, tuple[Criterion, ...]]:
    # First: half a run keeps no criterion, whatever its figures are.
    if saved["interrupted"] is not None:
        return State.CUT_SHORT, ()
    if saved["generator"]["verdict"] == Verdict.VOID:
        return State.VOID, ()
    criteria = judge_criteria(saved)
    return State.HOLDS if all(criterion.holds for criterion in criteria) else State.MISSES, criteria


@dataclass(frozen=True)
class Suite:
    """The table stack × profile."""

    origin: Mapping[str, Any]
    """The origin of the newest run: `date`, `command`, `machine`, `versions`."""
    cells: tuple[Cell, ...] = ()

    @cached_property
    def stacks(self) -> tuple[StackName, ...]:
        """Return the stacks that have a cell, in the usual order of stacks."""
        found = dict.fromkeys(cell.stack for cell in self.cells)
        # A stack of another installation comes last.
        return (*(stack for stack in STACKS if stack in found), *(stack for stack in found if stack not in STACKS))

    @cached_property
    def profiles(self) -> dict[str, str]:
        """Return profile -> title, in the order of the table."""
        return {cell.profile: cell.title for cell in sorted(self.cells, key=lambda cell: cell.profile)}

    def of(self, stack: StackName) -> tuple[Cell, ...]:
        """Return one stack's cells, in the order of the table."""
        return tuple(sorted((cell for cell in self.cells if cell.stack == stack), key=lambda cell: cell.profile))

    def cell(self, stack: StackName, profile: str) -> Cell | None:
        """Return one cell, or None where there is none."""
        return next((cell for cell in self.of(stack) if cell.profile == profile), None)

    @property
    def holds(self) -> bool:
        """Tell whether every cell that was played keeps every criterion, and at least one was played."""
        played = [cell for cell in self.cells if cell.state is not State.NOT_PLAYED]
        # `all` of nothing is true, but a suite that played nothing holds nothing.
        return bool(played) and all(cell.state is State.HOLDS for cell in played)

    def with_cell(self, cell: Cell) -> Suite:
        """Return the table with this cell in the place of an older one."""
        # One cell for each pair: an older result of the same pair would be counted twice.
        others = tuple(old for old in self.cells if (old.stack, old.profile) != (cell.stack, cell.profile))
        return Suite(self.origin, (*others, cell))

    def to_json(self) -> dict[str, Any]:
        """Return the content of suite.json. Other programs rely on its keys."""
        cells = [cell.to_json() for stack in self.stacks for cell in self.of(stack)]
        return {"suite": dict(self.origin), "cells": cells}


def write_suite(suite: Suite, folder: Path) -> None:
    """Write suite.json at once, so that a reader sees the old file or the new one and never a part."""
    text = json.dumps(suite.to_json(), indent=1, allow_nan=False)
    write_text(folder / SUITE, text + "\n")


def read_suite(folder: Path) -> Suite:
    """Read what `write_suite` wrote, and put the notes of the same folder on their cells.

    Raises:
        InputError: the folder has none that can be read.
    """
    try:
        saved = json.loads((folder / SUITE).read_text(encoding="utf-8"))
        cells = [Cell.from_json(cell) for cell in saved["cells"]]
        return _with_notes(Suite(saved["suite"], tuple(cells)), read_notes(folder))
    except (OSError, AttributeError, ValueError, KeyError, TypeError) as error:
        problem = Problem(where=SUITE, what=f"holds no suite that can be read ({why_unreadable(error)})")
        raise InputError(str(folder), [problem]) from error


def _with_notes(suite: Suite, notes: Mapping[tuple[str, str], Note]) -> Suite:
    """Put each note on the cell of its run. A later run of the same cell does not get it."""

    def noted(cell: Cell) -> Cell:
        note = notes.get((cell.stack, cell.profile))
        # A note explains one run. On another run of the same cell it would be a false excuse.
        if note is None or not cell.comparison or cell.comparison["provenance"]["started"] != note.started:
            return replace(cell, note="")
        return replace(cell, note=note.text)

    return Suite(suite.origin, tuple(noted(cell) for cell in suite.cells))
