"""What one call of the command has beside its command's own options: `--set`, and the file that it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trunkproof.models.errors import InputError, Problem
from trunkproof.models.forms import Form, S, at_its_keys, read_form
from trunkproof.models.key_paths import KeyPath, key_path
from trunkproof.models.yaml_text import read_scalar


@dataclass
class Invocation:
    """The settings file of this call, and what its command line changes in it."""

    changes: Mapping[KeyPath, Any] = field(default_factory=dict)
    _path: Path | None = None
    _form: Form[Any] | None = None

    def read(self, path: Path, form: Form[S]) -> S:
        """Read a settings file, with the changes of `--set`.

        Raises:
            InputError: it cannot be used. The error lists all problems.
        """
        self._path, self._form = path, form
        return read_form(path, form, changes=self.changes)

    def at_its_keys(self, error: InputError) -> InputError:
        """Return a later error at the keys of the file that was read."""
        if self._path is None or self._form is None:
            return error
        return at_its_keys(error, self._path, self._form, changes=self.changes)


_CURRENT: ContextVar[Invocation] = ContextVar("invocation")


def current_invocation() -> Invocation:
    """Return this call's. Where a command's function is called without a command line, return an empty one."""
    return _CURRENT.get(Invocation())


def begin_invocation(assignments: Sequence[str]) -> None:
    """Begin a call of the command that has these `--set KEY=VALUE`.

    Raises:
        InputError: as `changes_of`.
    """
    _CURRENT.set(Invocation(changes_of(assignments)))


def changes_of(assignments: Sequence[str]) -> dict[KeyPath, Any]:
    """Return the changes that `--set KEY=VALUE` asks for. A value is read as it would be in the file.

    Raises:
        InputError: some are no assignments. The error lists all of them.
    """
    changes: dict[KeyPath, Any] = {}
    problems = []
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            what = "write KEY=VALUE, such as traffic.arrivals.rate_per_minute=300"
            problems.append(Problem(where=f"--set {assignment}", what=what))
            continue
        try:
            changes[key_path(key.strip())] = read_scalar(text)
        except ValueError as error:
            problems.append(Problem(where=f"--set {assignment}", what=str(error)))
        except InputError as error:
            problems += [Problem(where=f"--set {assignment}", what=problem.what) for problem in error.problems]
    if problems:
        raise InputError("trunkproof", problems)
    return changes
