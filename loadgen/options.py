"""The options of a run beyond its plan and its trunk, as one value that is passed on unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field

from trunkproof.loadgen.capture.options import CaptureOptions
from trunkproof.loadgen.guard import LOOPBACK_ONLY, Guard
from trunkproof.loadgen.observer import Observer
from trunkproof.loadgen.sip.trace import Trace
from trunkproof.loadgen.tls.certificates import CertificateFiles


@dataclass(frozen=True)
class RunOptions:
    """The options of a run. Worker processes get all of them except `trace` and `observers`."""

    __pydantic_config__ = ConfigDict(arbitrary_types_allowed=True)

    guard: Guard = LOOPBACK_ONLY
    """Decides where load may go. The default allows loopback only."""
    workers: int = 1
    """The number of processes that place the calls. With 1 it is the run's own process.

    Together they open the connections that the study asks for, each connection in one of them. Their results are
    merged as if one process had measured them.
    """
    head_start_s: float = 0.5
    """The time between `Run.begin` and plan zero, in which the caller can predict."""
    at_least_s: float = 0.0
    """The run and its meters go on for this long after plan zero, even if all calls are over."""
    client_certificate: CertificateFiles | None = None
    """The certificate that customers show to a trunk that asks for one."""
    keylog: Path | None = None
    """The file to which TLS secrets are appended, to decode a capture."""
    capture: CaptureOptions | None = None
    """Keep the packets of failed and slow calls, and write them into this capture's folder when the run ends."""
    trace: Annotated[Trace | None, Field(exclude=True)] = None
    """Is told every SIP message. It works in one process only, so not with several workers."""
    observers: Annotated[tuple[Observer, ...], Field(exclude=True)] = ()
    """Are told of the run while it lasts, in the run's own process."""


DEFAULTS = RunOptions()
"""A run on loopback, from this process, without observers."""
