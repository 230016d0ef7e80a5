"""Define what the rest of the tool must know of a stack, so that no other code compares the names of stacks.

Every stack has a folder here with a `definition`, and a line in `registry`. A definition must be cheap to import:
commands and pages often need only a label. So it imports nothing that starts, renders or listens.
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
    """The parts of a PoP that is made of foreign programs, such as Kamailio."""

    edge: str
    """The program that customers call. An incident restarts it. If it dies, the trunk is dead."""
    media: str
    """The program that relays audio. It may be the same program."""
    programs: Callable[[Study, StackEndpoints], tuple[list[Program], dict[str, str]]]
    """Write the configuration. Return the programs in the order of starting, and program -> its Prometheus page.

    Raises StackError where a program is not installed.
    """
    windows_began: Callable[[Study, Mapping[str, int]], dict[str, float]]
    """Program -> process id  =>  trunk name -> when, on the monotonic clock, a window of its throttle began.

    Trunks whose throttle has no windows are left out.
    """
    edge_names: Callable[[int], tuple[str, ...]] | None = None
    """Number of edges -> the programs that are the edges, the first first. None: it plays one edge only."""


@dataclass(frozen=True)
class StackDefinition:
    """One stack.

    Its cost calibration is `models/calibrations/NAME.yaml`, which `trunkproof calibrate --stack NAME` makes.
    """

    name: StackName
    label: str
    """The name that people read, for the middle of a sentence."""
    unsupported: Callable[[Study], list[Problem]]
    """Returns everything in a study that the stack cannot play, each with its key and what to do."""
    foreign: ForeignParts | None
    """None for the embedded trunk. It shares the code of its limits with the model, so it proves less."""
