"""The suite's page and its table for a README: every profile on every stack, predicted against measured.

It lays out what `cells` holds, and computes nothing but sums for the headline. The page is one small HTML file without
scripts that needs no network. Its links lead to the pages of the single runs beside it.
"""

from __future__ import annotations

from pathlib import Path

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.report.sheet import fill
from trunkproof.experiments.validation.criteria import BOUNDS, HOME, TITLES, Criterion
from trunkproof.experiments.validation.suite.cells import Cell, State, Suite
from trunkproof.loadgen.stacks.registry import label_of
from trunkproof.loadgen.system.files import write_text
from trunkproof.models.study import StackName

_REPORT = "report.html"
_BLANK = "–"
_TITLES = {name: TITLES[name] for name in HOME}


def write_suite_page(suite: Suite, path: Path) -> None:
    """Write the page. It links to the runs' own pages, as far as they lie in folders `STACK/PROFILE` beside it."""
    write_text(path, render_suite(suite, path.parent))


def render_suite(suite: Suite, folder: Path) -> str:
    """Return the page as HTML text; links are relative to `folder`."""
    cells = _ordered(suite)
    return fill(
        "suite.html",
        suite=suite,
        headline=headline(suite),
        sentences={stack: stack_sentence(suite, stack) for stack in suite.stacks},
        stack_states={stack: _stack_state(suite, stack) for stack in suite.stacks},
        names={stack: label_of(stack) for stack in suite.stacks},
        bounds=BOUNDS,
        titles=_TITLES,
        links=_links(suite, folder),
        runs=_runs(suite),
        percent_used=_percent_used,
        in_short=_in_short,
        token=lambda state: state.value.replace(" ", "-"),
        trouble=[cell for cell in cells if cell.state is not State.HOLDS],
        others=[cell for cell in cells if cell.state is State.HOLDS],
    )


def headline(suite: Suite) -> str:
    """Return the result on all stacks in one sentence."""
    played = [cell for cell in suite.cells if cell.state is not State.NOT_PLAYED]
    holding = sum(cell.state is State.HOLDS for cell in played)
    if not played:
        return "No profile could be played."
    *others, last = (label_of(stack) for stack in suite.stacks)
    stacks = f"{', '.join(others)} and {last}" if others else last
    return f"Predicted and proven on {stacks}: {holding} of {len(played)} runs keep every criterion."


def stack_sentence(suite: Suite, stack: StackName) -> str:
    """Return the result on one stack in a sentence or two."""
    cells = suite.of(stack)
    played = [cell for cell in cells if cell.state is not State.NOT_PLAYED]
    holding = sum(cell.state is State.HOLDS for cell in played)
    if not played:
        return f"On {label_of(stack)}, no profile could be played."
    what = f"On {label_of(stack)}, {holding} of {len(played)} profiles keep every criterion"
    return f"{what}{_totals(cells)}.{_left_out(cells)}"


def _totals(cells: tuple[Cell, ...]) -> str:
    judged = [cell.comparison for cell in cells if cell.criteria]
    attempts = sum(saved["attempts"] for saved in judged)
    if not attempts:
        return ""
    # By attempts: a profile with ten calls must not count as much as one with a thousand.
    agreed = sum(saved["agreement"] * saved["attempts"] for saved in judged) / attempts
    off = [abs(saved["cpu"]["difference_share"] or 0.0) for saved in judged if saved["cpu"] is not None]
    cpu = f", CPU at most {100 * max(off):.0f} % off" if off else ""
    return f": {formatted(agreed, 'share')} of {attempts:,} attempts ended as predicted{cpu}"


def _left_out(cells: tuple[Cell, ...]) -> str:
    words = {State.VOID: "VOID", State.CUT_SHORT: "cut short", State.NOT_PLAYED: "not played"}
    counts = {state: sum(cell.state is state for cell in cells) for state in words}
    told = ", ".join(f"{count} {words[state]}" for state, count in counts.items() if count)
    return f" Besides: {told}." if told else ""


def _stack_state(suite: Suite, stack: StackName) -> State:
    """Return the state of a whole stack: that of its worst cell."""
    states = {cell.state for cell in suite.of(stack)}
    order = (State.MISSES, State.CUT_SHORT, State.VOID, State.HOLDS)
    return next((state for state in order if state in states), State.NOT_PLAYED)


def _ordered(suite: Suite) -> list[Cell]:
    return [cell for stack in suite.stacks for cell in suite.of(stack)]


def _links(suite: Suite, folder: Path) -> dict[tuple[str, str], str]:
    """Map (stack, profile) to the relative path of its own page, where that page exists."""
    pages = {(cell.stack, cell.profile): f"{cell.stack}/{cell.profile}/{_REPORT}" for cell in suite.cells}
    played = {(cell.stack, cell.profile) for cell in suite.cells if cell.comparison}
    # A table may be copied without its runs, and then a link would lead nowhere.
    return {key: page for key, page in pages.items() if key in played and (folder / page).exists()}


def _runs(suite: Suite) -> list[dict[str, str]]:
    """Return where the cells come from: one row per stack, command and machine."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for cell in _ordered(suite):
        if cell.comparison:
            origin = cell.comparison["provenance"]
            key = (label_of(cell.stack), origin["command"], _machine(origin["machine"]))
            found.setdefault(key, []).append(origin["started"])
    return [
        {"stack": stack, "command": command, "machine": machine, "when": _span(sorted(starts))}
        for (stack, command, machine), starts in found.items()
    ]


def _machine(machine: dict[str, str]) -> str:
    return f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"


def _span(starts: list[str]) -> str:
    first, last = (start[:16].replace("T", " ") for start in (starts[0], starts[-1]))
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"


def _percent_used(criterion: Criterion) -> int:
    """Return the used part of the allowance in whole per cent; a miss fills the bar."""
    if criterion.used is None:
        return 0 if criterion.holds else 100
    return min(100, round(100 * criterion.used))


def _in_short(cell: Cell) -> str:
    """Return the short text of a cell of the overview."""
    if cell.misses:
        return ", ".join(TITLES[criterion.name] for criterion in cell.misses)
    agreement = cell.criterion("agreement")
    if agreement is not None and agreement.measured is not None:
        return formatted(agreement.measured, "share") + (", SUSPECT" if cell.suspect else "")
    return ""


def suite_lines(suite: Suite) -> str:
    """Return text for a terminal: a sentence for each stack, and a line for each cell that does not hold."""
    cells = [cell for cell in _ordered(suite) if cell.state is not State.HOLDS]
    lines = [stack_sentence(suite, stack) for stack in suite.stacks]
    return "\n".join([*lines, *(f"{cell.stack}, {cell.profile}: {_complaint(cell)}" for cell in cells)])


def _complaint(cell: Cell) -> str:
    return f"{cell.state.value}: {'; '.join(map(str, cell.misses or cell.why[:1]))}"


def suite_markdown(suite: Suite) -> str:
    """Return a Markdown table for a README: one row per profile and stack, predicted / measured."""
    heads = ("stack", "profile", *_TITLES.values(), "verdict")
    lines = [_row(heads), "|" + "---|" * len(heads)]
    for cell in _ordered(suite):
        figures = [criterion.words if criterion else _BLANK for criterion in map(cell.criterion, _TITLES)]
        lines.append(_row((cell.stack, cell.title, *figures, _verdict(cell))))
    return "\n".join(lines) + "\n"


def _verdict(cell: Cell) -> str:
    if cell.state is State.HOLDS:
        return "holds" + (" (SUSPECT)" if cell.suspect else "")
    if cell.misses:
        return f"**misses** {_in_short(cell)}"
    # The first reason only: a table cell has no room for more.
    return f"{cell.state.value}: {'; '.join(cell.why[:1])}"


def _row(cells: tuple[str, ...]) -> str:
    # A bar or a line break in a cell would end the cell or the row.
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
