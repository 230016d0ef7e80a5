"""What the rest of the tool knows of a stack, so that nobody else compares a stack's name.

Every stack has a folder here with a `definition`, and a line in `registry`. A definition is light: it imports nothing
that starts, renders or listens, because command and pages ask it for no more than a label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trunkproof.models.errors import Problem
from trunkproof.models.study import StackName, Study

if TYPE_CHECKING:
    from trunkproof.loadgen.stacks.endpoints import StackEndpoints
    from trunkproof.loadgen.system.programs import Program


@dataclass(frozen=True)
class ForeignParts:
    """How a PoP is made of programs that others wrote."""

    edge: str
    """The program that customers call. An incident restarts it; without it there is no trunk."""
    media: str
    """The program that relays audio; the same one where a stack has no other."""
    programs: Callable[[Study, StackEndpoints], tuple[list[Program], dict[str, str]]]
    """Write the configuration; the programs in the order of starting, and the Prometheus pages by program.

    Raises StackError where a program is not installed.
    """
    windows_began: Callable[[Study, Mapping[str, int]], dict[str, float]]
    """From the processes by program: when, on the monotonic clock, a window of each trunk's throttle began.

    Trunks whose throttle has no windows are left out.
    """


@dataclass(frozen=True)
class StackDefinition:
    """One stack.

    Its cost calibration is `models/calibrations/NAME.yaml`, which `trunkproof calibrate --stack NAME` makes.
    """

    name: StackName
    label: str
    """For people, in the middle of a sentence."""
    unsupported: Callable[[Study], list[Problem]]
    """What of a study it cannot play, each with its key and what to do about it; empty where it can play all."""
    foreign: ForeignParts | None
    """None: it is ours, and shares the code of the limits with the model, so it proves less."""
