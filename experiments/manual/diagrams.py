"""The pages of diagrams: state machines from their tables, a call from the model itself, imports from the files."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from pathlib import Path

from trunkproof.experiments.manual.ladder import Step, draw_ladder
from trunkproof.experiments.manual.markdown import member_sentences, table
from trunkproof.loadgen.sip.call_state import TRANSITIONS, CallState, Trigger
from trunkproof.loadgen.sip.transaction_table import CLIENT, INVITE_CLIENT, INVITE_SERVER, SERVER, State, Table
from trunkproof.models.records import COLUMNS, Disposition
from trunkproof.models.refusals import REFUSALS
from trunkproof.models.study_file import parse_study
from trunkproof.simulator.run import simulate

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("models", "simulator", "loadgen", "experiments")
_S = CallState
_CALLER = (_S.CALLING, _S.CANCEL_WANTED, _S.PROCEEDING, _S.CANCELLING, _S.ESTABLISHED, _S.ENDING, _S.ENDED)
_CALLEE = (_S.INCOMING, _S.ANSWERED, _S.BYE_WANTED, _S.ESTABLISHED, _S.ENDING, _S.ENDED)


def states_page() -> str:
    """Return the page of the states of a call and of the four transaction machines."""
    pieces = ["# States of calls and transactions\n", STATES]
    for title, states in (("A call at the caller", _CALLER), ("A call at the callee", _CALLEE)):
        pieces += [f"## {title}\n", draw_ladder([_word(state) for state in states], list(_steps_within(states)), title)]
    pieces.append("\nThe table is `TRANSITIONS` in `loadgen/sip/call_state.py`, which also says why.\n")
    machines = {
        "INVITE, who sends it": INVITE_CLIENT,
        "INVITE, who receives it": INVITE_SERVER,
        "Other requests, who sends them": CLIENT,
        "Other requests, who receives them": SERVER,
    }
    for title, machine in machines.items():
        pieces += [f"## {title}\n", _machine(title, machine)]
    pieces.append("\nThe tables are in `loadgen/sip/transaction_table.py`.\n")
    return "\n".join(pieces)


STATES = """\
Each line is a state. An arrow begins at the dot, and its word is what happens. What has no arrow changes nothing: it
came too late to matter. The figures are drawn from the tables that the load generator runs by.
"""


def _shown(states: Collection[CallState]) -> Iterator[tuple[CallState, Trigger, CallState]]:
    for (before, trigger), after in TRANSITIONS.items():
        if before in states and after in states:
            yield before, trigger, after


def _steps_within(states: Collection[CallState]) -> Iterator[Step]:
    return (Step(_word(before), _word(after), _word(trigger)) for before, trigger, after in _shown(states))


def shown_transitions() -> set[tuple[CallState, Trigger]]:
    """Return the pairs of state and trigger that the page shows, for the test that none is left out."""
    return {(before, trigger) for states in (_CALLER, _CALLEE) for before, trigger, _ in _shown(states)}


def _machine(title: str, machine: Table) -> str:
    steps = [Step(_word(before), _word(after), _word(given)) for (before, given), (after, _) in machine.items()]
    rows = (
        (_word(before), _word(given), _word(after), ", then ".join(_word(action) for action in actions))
        for (before, given), (after, actions) in machine.items()
    )
    used = list(dict.fromkeys(name for step in steps for name in (step.start, step.end)))
    figure = draw_ladder(sorted(used, key=lambda name: name == _word(State.TERMINATED)), steps, title)
    return f"{figure}\n{table(('in state', 'when', 'goes to', 'and does'), rows)}"


def _word(member: Enum) -> str:
    return member.name.replace("_", " ").lower()


_ONE_CALL = """\
name: one call
duration_s: 10
pop: {machine: {calibration: embedded}}
traffic: {arrivals: {kind: constant, rate_per_minute: 6}, holding: 4, ringing: 2, tls: {policy: per_call}}
"""
_PARTIES = ("caller", "edge", "limits", "called side")
_WAY = {
    "intended_s": ("caller", "edge"),
    "sent_s": ("caller", "limits"),
    "ringing_s": ("called side", "caller"),
    "answered_s": ("called side", "caller"),
    "bye_s": ("caller", "called side"),
    "ended_s": ("called side", "caller"),
}
"""Who tells whom at each instant of a record."""
_MESSAGE = {
    "intended_s": "TCP, TLS",
    "sent_s": "INVITE",
    "ringing_s": "180",
    "answered_s": "200",
    "bye_s": "BYE",
    "ended_s": "200 of the BYE",
}
_LIMITS = (
    (Disposition.NOT_WHITELISTED, "whitelist"),
    (Disposition.THROTTLED, "throttle"),
    (Disposition.NO_PORT, "ports"),
    (Disposition.CARRIER_REJECTED, "calls per second of the carrier"),
    (Disposition.NO_CHANNEL, "channels of the carrier"),
)
"""What an INVITE passes, in the order of `simulator.trunk` and `models.limits`."""


def life_page() -> str:
    """Return the page that follows one call through the model."""
    record = simulate(parse_study(_ONE_CALL)).row(0, named=True)
    instants = sorted((record[name], name) for name in _WAY if record[name] is not None)
    begin_s = instants[0][0]
    steps = [Step(*_WAY[name], _MESSAGE[name]) for _, name in instants]
    rows = ((f"`{name}`", f"{(at_s - begin_s) * 1000:,.1f} ms", COLUMNS[name].what) for at_s, name in instants)
    said = member_sentences(Disposition)
    limits = ((name, f"`{kind}`", _status(kind), said[kind.name]) for kind, name in _LIMITS)
    return "\n".join(
        (
            "# The life of a call in the model\n",
            LIFE,
            draw_ladder(_PARTIES, steps, "The life of a call in the model"),
            table(("column", "after", "what it is"), rows),
            LIMITS,
            table(("limit", "disposition", "status, cause", "meaning"), limits),
        )
    )


LIFE = """\
This call was simulated when this page was made. The instants are those of its record. Real calls have the same columns,
so both can be laid side by side. The process is `Caller.run` in `simulator/trunk.py`; read it from top to bottom.
"""
LIMITS = """\
## What an INVITE passes

In this order. The first limit that says no ends the attempt. What was taken before is given back.
"""


def _status(kind: Disposition) -> str:
    if kind is Disposition.THROTTLED:
        return "`refusal_status` of the throttle"
    return f"{REFUSALS[kind].status}, {REFUSALS[kind].cause}"


def rooms_page() -> str:
    """Return the page of packages and rooms, and of who imports whom."""
    pieces = ["# Rooms and imports\n", ROOMS]
    graph = imports_of(ROOT)
    for package in PACKAGES:
        rows = []
        for room in sorted(name for name in graph if name.partition("/")[0] == package):
            others = sorted(graph[room] - {room})
            rows.append((f"`{room}`", _says(ROOT / room), ", ".join(f"`{other}`" for other in others)))
        pieces += [f"## {package}\n", table(("room", "what it is", "imports"), rows)]
    return "\n".join(pieces)


ROOMS = """\
Imports point one way: `experiments` to `simulator` and `loadgen`, all to `models`. No two rooms import each other.
A test keeps both rules (`tests/test_house.py`). A room is a folder, or a module beside the folders. The modules beside
the folders of a package stand together in one row.
"""


def imports_of(root: Path) -> Mapping[str, set[str]]:
    """Return room -> the rooms that it imports, from the files below a folder."""
    graph: dict[str, set[str]] = {}
    for package in PACKAGES:
        for module in sorted((root / package).rglob("*.py")):
            parts = module.relative_to(root).parts
            graph.setdefault(_room(parts[:-1], root), set()).update(_imported(module, root))
    return graph


def _room(folders: tuple[str, ...], root: Path) -> str:
    return "/".join(folders[:2]) if (root.joinpath(*folders[:2]) / "__init__.py").exists() else folders[0]


def _imported(module: Path, root: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("trunkproof."):
            yield _room(tuple(node.module.split(".")[1:]), root)


def _says(folder: Path) -> str:
    return (ast.get_docstring(ast.parse((folder / "__init__.py").read_bytes())) or "").split("\n\n")[0]
