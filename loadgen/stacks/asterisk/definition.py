"""Define Asterisk as a stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trunkproof.loadgen.stacks.asterisk.unsupported import unsupported
from trunkproof.loadgen.stacks.definition import ForeignParts, StackDefinition
from trunkproof.models.study import Study

if TYPE_CHECKING:
    from trunkproof.loadgen.stacks.endpoints import StackEndpoints
    from trunkproof.loadgen.system.programs import Program


def _programs(study: Study, endpoints: StackEndpoints) -> tuple[list[Program], dict[str, str]]:
    # Import late: a caller that needs only the label needs neither templates nor TLS.
    from trunkproof.loadgen.stacks.asterisk.programs import asterisk_programs  # noqa: PLC0415

    return asterisk_programs(study, endpoints)


def _windows_began(study: Study, pids: Mapping[str, int]) -> dict[str, float]:
    from trunkproof.loadgen.stacks.asterisk.programs import windows_began  # noqa: PLC0415  # as above

    return windows_began(study, pids)


ASTERISK = StackDefinition(
    name="asterisk",
    label="Asterisk",
    unsupported=unsupported,
    foreign=ForeignParts(edge="asterisk", media="asterisk", programs=_programs, windows_began=_windows_began),
)
