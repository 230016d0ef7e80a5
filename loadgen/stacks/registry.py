"""The stacks that there are: the one list. Options, pages, the suite and the trunk process all ask here.

A new one is a folder beside this file, a line below, and a calibration in `models/calibrations`.
"""

from __future__ import annotations

from trunkproof.loadgen.stacks.asterisk.definition import ASTERISK
from trunkproof.loadgen.stacks.definition import StackDefinition
from trunkproof.loadgen.stacks.embedded.definition import EMBEDDED
from trunkproof.loadgen.stacks.kamailio.definition import KAMAILIO
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.study import StackName, Study

STACKS: dict[StackName, StackDefinition] = {stack.name: stack for stack in (EMBEDDED, KAMAILIO, ASTERISK)}
"""By name, in the order of options and pages."""


def definition_of(name: StackName) -> StackDefinition:
    """Return the stack of that name.

    Raises:
        InputError: there is none.
    """
    if name not in STACKS:
        known = ", ".join(STACKS)
        raise InputError(f"stack {name}", [Problem(where="pop.stack", what=f"{name} is none of {known}")])
    return STACKS[name]


def label_of(name: StackName) -> str:
    """Return what a page calls a stack; its bare name where it is of another installation."""
    return STACKS[name].label if name in STACKS else name


def is_ours(name: StackName) -> bool:
    """Return whether it shares the code of the limits with the model; a stack of another installation does not."""
    return name in STACKS and STACKS[name].foreign is None


def edge_of(name: StackName) -> str | None:
    """Return the program of that stack without which nothing can be called; None where it is all one process."""
    foreign = definition_of(name).foreign
    return None if foreign is None else foreign.edge


def check_playable(study: Study) -> StackDefinition:
    """Find out before anything is started whether the study's stack can play it; return that stack.

    Raises:
        InputError: it cannot, or there is no such stack; lists all that it cannot.
    """
    stack = definition_of(study.pop.stack)
    problems = stack.unsupported(study)
    if problems:
        raise InputError(f"{study.name}, on {stack.name}", problems)
    return stack
