"""Define Kamailio with rtpengine as a stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trunkproof.loadgen.stacks.definition import ForeignParts, StackDefinition
from trunkproof.loadgen.stacks.kamailio.unsupported import unsupported
from trunkproof.models.study import Study

if TYPE_CHECKING:
    from trunkproof.loadgen.stacks.endpoints import StackEndpoints
    from trunkproof.loadgen.system.programs import Program


def _programs(study: Study, endpoints: StackEndpoints) -> tuple[list[Program], dict[str, str]]:
    # Import late: a caller that needs only the label needs neither templates nor TLS.
    from trunkproof.loadgen.stacks.kamailio.programs import kamailio_programs  # noqa: PLC0415

    return kamailio_programs(study, endpoints)


def _edge_names(edges: int) -> tuple[str, ...]:
    from trunkproof.loadgen.stacks.kamailio.programs import edge_name  # noqa: PLC0415  # as above

    return tuple(edge_name(edge) for edge in range(edges))


def _windows_began(study: Study, pids: Mapping[str, int]) -> dict[str, float]:
    from trunkproof.loadgen.stacks.kamailio.windows import windows_began  # noqa: PLC0415  # as above

    return windows_began(study, pids)


KAMAILIO = StackDefinition(
    name="kamailio",
    label="Kamailio with rtpengine",
    unsupported=unsupported,
    foreign=ForeignParts(
        edge="kamailio", media="rtpengine", programs=_programs, windows_began=_windows_began, edge_names=_edge_names
    ),
)
