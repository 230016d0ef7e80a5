"""How a run is driven, beyond its plan and its trunk: one value, handed as it is to all who take part in the run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field

from trunkproof.loadgen.guard import LOOPBACK_ONLY, Guard
from trunkproof.loadgen.observer import Observer
from trunkproof.loadgen.sip.trace import Trace
from trunkproof.loadgen.tls.certificates import CertificateFiles


@dataclass(frozen=True)
class RunOptions:
    """The options of a run. Worker processes get them too, but for what can live in one process alone."""

    __pydantic_config__ = ConfigDict(arbitrary_types_allowed=True)

    guard: Guard = LOOPBACK_ONLY
    """Where load may go; by default to loopback only."""
    workers: int = 1
    """Processes that place the calls together; 1 is the run's own. They open the connections that the study says, each
    connection in one of them, and what they measure is put together as if one process had.
    """
    head_start_s: float = 0.5
    """From the moment that all is ready to plan zero: time to predict in."""
    at_least_s: float = 0.0
    """The run goes on (and meters) so long after plan zero, even if all calls are over."""
    client_certificate: CertificateFiles | None = None
    """What the customers show to a trunk that asks for a certificate."""
    keylog: Path | None = None
    """File that TLS secrets are appended to, for decoding a capture."""
    trace: Annotated[Trace | None, Field(exclude=True)] = None
    """Told every SIP message; of one process, so not with several workers."""
    observers: Annotated[tuple[Observer, ...], Field(exclude=True)] = ()
    """Told of the run while it lasts, in the run's own process."""


DEFAULTS = RunOptions()
"""A run on loopback, from this process, that nobody watches."""
