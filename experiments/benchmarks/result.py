"""The results of benchmarks: rows, and a report with date and machine, as JSON and as Markdown.

Nothing is measured or judged here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from trunkproof.experiments.common.provenance import fingerprint, package_versions

LATEST = Path(__file__).parent / "latest.json"
_PEERS = ("ciw", "uvloop", "numba")
"""Packages that figures depend on, beyond those of every result."""


@dataclass(frozen=True)
class Row:
    """One figure."""

    name: str
    """`module.what`, in lower case."""
    value: float
    unit: str
    baseline: float | None
    """The same figure of what it is compared with, in the same unit, from the same run."""
    ratio: float | None
    """How many times better than the baseline. Above 1 is better, for rates as for costs."""
    command: str
    """The command that makes the figure again."""
    note: str = ""
    """What the baseline is, and what else the reader must know."""


@dataclass(frozen=True)
class Missing:
    """A figure that could not be measured on this machine, and why."""

    name: str
    why: str


Result = Row | Missing


def higher_is_better(name: str, value: float, unit: str, *, baseline: float, command: str, note: str = "") -> Row:
    """Return the row of a figure that should be large, such as a rate."""
    return Row(name, value, unit, baseline, value / baseline, command, note)


def lower_is_better(name: str, value: float, unit: str, *, baseline: float, command: str, note: str = "") -> Row:
    """Return the row of a figure that should be small, such as a cost."""
    return Row(name, value, unit, baseline, baseline / value, command, note)


def figure(name: str, value: float, unit: str, *, command: str, note: str = "") -> Row:
    """Return the row of a figure without a baseline."""
    return Row(name, value, unit, None, None, command, note)


@dataclass(frozen=True, kw_only=True)
class Report:
    """All rows of one run."""

    rows: tuple[Row, ...]
    missing: tuple[Missing, ...] = ()
    date: str
    """UTC, ISO 8601."""
    machine: Mapping[str, str]
    versions: Mapping[str, str] = field(default_factory=dict)
    load_average: tuple[float, float] = (0.0, 0.0)
    """Load average of the last minute, before and after the run: what other programs did on this machine."""
    quick: bool = False
    """Whether sizes were small: that shows only that everything runs, and its figures must not be quoted."""

    @classmethod
    def of(cls, results: Sequence[Result], *, load_average: tuple[float, float], quick: bool) -> Self:
        """Make the report of a run that has just ended on this machine."""
        return cls(
            rows=tuple(result for result in results if isinstance(result, Row)),
            missing=tuple(result for result in results if isinstance(result, Missing)),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            machine={name: str(value) for name, value in fingerprint().model_dump().items()},
            versions=package_versions(_PEERS),
            load_average=load_average,
            quick=quick,
        )

    def write(self, path: Path) -> None:
        """Write JSON to `path`, and Markdown beside it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")
        path.with_suffix(".md").write_text(self.to_markdown(), encoding="utf-8")

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return asdict(self)

    def to_markdown(self) -> str:
        """Return a page: ratios first, then figures without a baseline, then what is missing."""
        compared = [row for row in self.rows if row.ratio is not None]
        alone = [row for row in self.rows if row.ratio is None]
        parts = [_heading(self)]
        if compared:
            parts.append(_table(("ratio", "name", "value", "baseline", "unit", "of what", "command"), compared))
        if alone:
            parts.append(_table(("name", "value", "unit", "of what", "command"), alone))
        if self.missing:
            parts.append("Not measured here:\n\n" + "\n".join(f"- `{each.name}`: {each.why}" for each in self.missing))
        return "\n\n".join(parts) + "\n"


def rounded(value: float | None) -> str:
    """Round to three significant digits, with thousands separated."""
    if value is None:
        return ""
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _heading(report: Report) -> str:
    machine, (before, after) = report.machine, report.load_average
    lines = [
        "# Benchmarks",
        "",
        "A ratio says how many times better a figure is than the baseline of the same run. Above 1 is better.",
        "",
        f"{report.date}, {machine['processor']}, {machine['cores']} cores, {machine['system']}; load average "
        f"{before:.2f} before, {after:.2f} after.",
    ]
    if report.quick:
        lines += ["", "A quick run: it shows only that everything runs. Do not quote its figures."]
    return "\n".join(lines)


def _table(columns: tuple[str, ...], rows: Sequence[Row]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row, column) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def _cell(row: Row, column: str) -> str:
    match column:
        case "name" | "command":
            return f"`{getattr(row, column)}`"
        case "ratio":
            return f"**{rounded(row.ratio)}**"
        case "of what":
            return row.note
        case "unit":
            return row.unit
        case _:
            return rounded(getattr(row, column))
