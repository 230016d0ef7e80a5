"""One cell of the suite's table: what became of one profile on one stack, and the file that keeps all cells.

A cell holds the whole comparison.json of its run beside the judgement on it. It runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from trunkproof.experiments.validation.suite.criteria import Criterion, judge_criteria
from trunkproof.experiments.validation.suite.findings import Note, findings, read_notes
from trunkproof.loadgen.stacks.registry import STACKS
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.study import StackName

SUITE = "suite.json"


class State(StrEnum):
    """What became of a cell."""

    HOLDS = "holds"
    MISSES = "misses"
    VOID = "void"
    """The generator could not keep up, twice: the run proves nothing about the trunk."""
    CUT_SHORT = "cut short"
    NOT_PLAYED = "not played"
    """This stack cannot play the profile, or cannot be started here."""


@dataclass(frozen=True)
class Cell:
    """One profile on one stack."""

    stack: StackName
    profile: str
    title: str
    state: State
    criteria: tuple[Criterion, ...] = ()
    """Empty where no whole, sound run was to be judged."""
    why: tuple[str, ...] = ()
    """What is known about why figures differ, or why there are none."""
    note: str = ""
    """What was found out about it by further measuring."""
    comparison: Mapping[str, Any] = field(default_factory=dict)
    """Of the run that counts; empty where none was played."""

    @property
    def misses(self) -> tuple[Criterion, ...]:
        """The criteria that were not kept."""
        return tuple(criterion for criterion in self.criteria if not criterion.holds)

    @property
    def suspect(self) -> bool:
        """Whether the generator may have coloured the figures."""
        return bool(self.comparison) and self.comparison["generator"]["verdict"] == Verdict.SUSPECT

    def criterion(self, name: str) -> Criterion | None:
        """The judgement by one criterion of `criteria.BOUNDS`, where there is one."""
        return next((criterion for criterion in self.criteria if criterion.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """All of it, with the keys of comparison.json beside its own."""
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
        """What `to_json` gave, read back."""
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
            comparison=comparison if "kpis" in comparison else {},
        )


def played_cell(profile: str, saved: Mapping[str, Any]) -> Cell:
    """The cell of a run that left this comparison.json."""
    state, criteria = _judged(saved)
    return Cell(saved["stack"], profile, saved["study"], state, criteria, findings(saved), comparison=saved)


def _judged(saved: Mapping[str, Any]) -> tuple[State, tuple[Criterion, ...]]:
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
    """Of the newest run: `date`, `command`, `machine`, `versions`."""
    cells: tuple[Cell, ...] = ()

    @cached_property
    def stacks(self) -> tuple[StackName, ...]:
        """Those that have a cell, in the order in which all are always named."""
        found = dict.fromkeys(cell.stack for cell in self.cells)
        # A stack of another installation comes last.
        return (*(stack for stack in STACKS if stack in found), *(stack for stack in found if stack not in STACKS))

    @cached_property
    def profiles(self) -> dict[str, str]:
        """Profile -> title, in the order of the table."""
        return {cell.profile: cell.title for cell in sorted(self.cells, key=lambda cell: cell.profile)}

    def of(self, stack: StackName) -> tuple[Cell, ...]:
        """One stack's cells, in the order of the table."""
        return tuple(sorted((cell for cell in self.cells if cell.stack == stack), key=lambda cell: cell.profile))

    def cell(self, stack: StackName, profile: str) -> Cell | None:
        """One cell, where it was run."""
        return next((cell for cell in self.of(stack) if cell.profile == profile), None)

    @property
    def holds(self) -> bool:
        """Whether every cell that could be played kept every criterion, and there was one."""
        played = [cell for cell in self.cells if cell.state is not State.NOT_PLAYED]
        return bool(played) and all(cell.state is State.HOLDS for cell in played)

    def with_cell(self, cell: Cell) -> Suite:
        """This table with one cell put in, in the place of the one that was there."""
        others = tuple(old for old in self.cells if (old.stack, old.profile) != (cell.stack, cell.profile))
        return Suite(self.origin, (*others, cell))

    def to_json(self) -> dict[str, Any]:
        """The content of suite.json; its keys are a promise to other programs."""
        cells = [cell.to_json() for stack in self.stacks for cell in self.of(stack)]
        return {"suite": dict(self.origin), "cells": cells}


def write_suite(suite: Suite, folder: Path) -> None:
    """Leave suite.json; whoever reads meanwhile sees the old or the new one, whole."""
    text = json.dumps(suite.to_json(), indent=1, allow_nan=False)
    beside = folder / f"{SUITE}.new"
    beside.write_text(text + "\n", encoding="utf-8")
    beside.replace(folder / SUITE)


def read_suite(folder: Path) -> Suite:
    """Return what `write_suite` left, each cell with the note that stands beside it.

    Raises:
        InputError: the folder holds none that can be read.
    """
    try:
        saved = json.loads((folder / SUITE).read_text(encoding="utf-8"))
        cells = [Cell.from_json(cell) for cell in saved["cells"]]
        origin = saved["suite"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = Problem(where=SUITE, what=f"holds no suite that can be read ({error})")
        raise InputError(str(folder), [problem]) from error
    return _with_notes(Suite(origin, tuple(cells)), read_notes(folder))


def _with_notes(suite: Suite, notes: Mapping[tuple[str, str], Note]) -> Suite:
    """Put each note on the cell that it was written about, and on no later run of it."""

    def noted(cell: Cell) -> Cell:
        note = notes.get((cell.stack, cell.profile))
        if note is None or not cell.comparison or cell.comparison["provenance"]["started"] != note.started:
            return replace(cell, note="")
        return replace(cell, note=note.text)

    return Suite(suite.origin, tuple(noted(cell) for cell in suite.cells))
