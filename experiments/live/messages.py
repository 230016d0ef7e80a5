"""Lines between a run and the process that serves its page and its metrics.

The run writes a `Setup`, then a `News` a second and an `Answer` for each control. The server writes `Serving` once, and
an `Asked` for each control that somebody asks for.
"""

from __future__ import annotations

from dataclasses import dataclass

from trunkproof.experiments.live.address import Address
from trunkproof.loadgen.control import ControlKind
from trunkproof.loadgen.system.messages import Codec


@dataclass(frozen=True)
class Setup:
    """Where to serve what."""

    token: str
    page: Address | None
    metrics: Address | None
    may_control: bool
    why_not: str
    """Why the run cannot be controlled, in words."""


@dataclass(frozen=True)
class News:
    """A snapshot, as its JSON."""

    snapshot: str


@dataclass(frozen=True)
class Answer:
    """What came of a control."""

    number: int
    status: int
    """As in HTTP: 200, or 409 where it cannot be done."""
    words: str


@dataclass(frozen=True)
class Serving:
    """Where it is served. `trouble` says why it cannot be."""

    page: Address | None = None
    metrics: Address | None = None
    trouble: str = ""


@dataclass(frozen=True)
class Asked:
    """A control that somebody asks for."""

    number: int
    kind: ControlKind
    per_minute: float | None = None


FromRun = Setup | News | Answer
FromServer = Serving | Asked
TO_SERVER: Codec[FromRun] = Codec(Setup, News, Answer)
TO_RUN: Codec[FromServer] = Codec(Serving, Asked)
