"""What a stack's programs spend: seconds of CPU per handshake, call and packet, and the network's round trip.

Calibrations are data files beside this module, one per stack; this reads and checks them, and says what CPU a table of
records costs by them. How they are measured is `experiments.sizing.calibration`, how work queues for cores
`simulator.host`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import polars as pl
import yaml
from pydantic import Field, ValidationError, model_validator

from trunkproof.models.columns import CONNECTION_CODE, Columns, columns_of
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.records import REFUSED_BY_TRUNK, ConnectionKind, Disposition
from trunkproof.models.settings import Settings
from trunkproof.models.study import Pop, StackName

CALIBRATIONS = Path(__file__).parent / "calibrations"
Seconds = Annotated[float, Field(ge=0, le=10)]
CostName = Literal[
    "full_handshake_s",
    "resumed_handshake_s",
    "invite_s",
    "refusal_s",
    "bye_s",
    "packet_s",
    "waiting_packet_s",
    "waiting_work_share",
    "cold_share",
    "warm_load",
    "idle_share",
    "round_trip_s",
    "throttle_s",
]
"""The fields of `Costs`."""

_WORK: tuple[CostName, ...] = (
    "full_handshake_s",
    "resumed_handshake_s",
    "invite_s",
    "refusal_s",
    "bye_s",
    "packet_s",
    "waiting_packet_s",
)

REFUSED_WITHOUT_CARRIER = REFUSED_BY_TRUNK - {Disposition.NO_CHANNEL}
"""Refused before the INVITE was handed on; for want of a channel it is the carrier that refuses."""
_WITHOUT_CARRIER = np.array([kind in REFUSED_WITHOUT_CARRIER for kind in Disposition])


class Costs(Settings):
    """Seconds of one core, all programs of the stack together, unless said otherwise."""

    full_handshake_s: Seconds
    """A connection: TCP accept, full TLS handshake, close."""
    resumed_handshake_s: Seconds
    """The same, where the handshake resumes a session."""
    invite_s: Seconds
    """An INVITE that is handed on: whole, with all responses until the far side has answered or refused."""
    refusal_s: Seconds
    """An INVITE that the trunk refuses: whole."""
    bye_s: Seconds
    """What an answered call costs beyond its INVITE: ACK, BYE and its response."""
    packet_s: Seconds
    """One packet of a call, either way, from its arrival to its leaving on the other side;
    `PACKETS_PER_CALL_S` of them."""
    waiting_packet_s: Seconds | None = None
    """What there has to be for one where CPU is short, so that calls still sound well: less where one waking of the
    program then serves many packets that wait; none: not measured."""
    waiting_work_share: Annotated[float, Field(gt=0, le=10)] = 1.0
    """What a piece of signalling costs that has to wait for CPU, as a share of its cost: less where it needs no waking
    of its own, more where it is interrupted again and again."""
    cold_share: Annotated[float, Field(ge=0, le=10)] = 0.0
    """By how much all this costs more on a stack that is nearly idle, as a share: cores have to be woken, and caches
    are another's. It falls e-fold with every `warm_load` of load; the costs themselves are those of a busy stack."""
    warm_load: Annotated[float, Field(gt=0, le=1024)] = 1.0
    """In cores."""
    idle_share: Annotated[float, Field(ge=0, le=1024)]
    """What the programs spend without a call, as a share of one core."""
    round_trip_s: Seconds
    """Between customer and trunk, as wall time, with what both ends' event loops add to it."""
    throttle_s: Seconds = 0.0
    """How long an INVITE waits for its throttle's decision, as wall time: Asterisk's dialplan takes a lock for it."""

    @property
    def short_packet_s(self) -> float:
        """What there has to be for a packet where CPU is short, as far as that is known."""
        return self.packet_s if self.waiting_packet_s is None else self.waiting_packet_s

    def at_pace(self, pace: float) -> Self:
        """The same on a machine that takes `pace` times as long for everything that its cores do."""
        names = (*self._work_names, "idle_share", "warm_load")
        return self.model_copy(update={name: pace * getattr(self, name) for name in names})

    def cold_factor(self, load: float) -> float:
        """What work costs at a mean load of so many cores, over its cost on a busy stack."""
        return 1 + self.cold_share * math.exp(-load / self.warm_load)

    def cold_factor_spending(self, cores: float) -> float:
        """The same where the programs spend so many cores on that work, as cold as they are."""
        if cores <= 0 or not self.cold_share:
            return self.cold_factor(0.0)
        from scipy.optimize import brentq  # noqa: PLC0415  # slow to load, and few studies ask

        load = brentq(lambda load: load * self.cold_factor(load) - cores, 0.0, cores)
        return self.cold_factor(load)

    def at_full_load(self, cores: float) -> Self:
        """The same where the programs spend so many cores, and more is not to be had: on few they are cold even so."""
        factor = self.cold_factor_spending(cores)
        return self.model_copy(update={name: factor * getattr(self, name) for name in self._work_names})

    @property
    def _work_names(self) -> Sequence[CostName]:
        return [name for name in _WORK if getattr(self, name) is not None]


class Fingerprint(Settings):
    """The kind of machine that a calibration holds for; not which one it was."""

    processor: str
    cores: Annotated[int, Field(ge=1)]
    system: str


class Gauged(Settings):
    """How fast the machine was, by a small piece of work that is timed beside calls (`loadgen.meters.reference`)."""

    work_s: Annotated[float, Field(gt=0, le=1)]
    """What that work took on average during the calibration, in seconds of CPU."""
    exponent: Annotated[float, Field(ge=0, le=10)]
    """The stack's costs go as this power of it."""
    interval: tuple[float, float] | None = None
    """95 % confidence interval of the exponent."""

    def pace(self, work_s: float) -> float:
        """What the stack's work takes while the gauge's takes so long, over the costs of the calibration."""
        return float((work_s / self.work_s) ** self.exponent)


class Calibration(Settings):
    """The costs of one stack on one kind of machine, and how they were found."""

    stack: StackName
    measured: date
    command: str | None = None
    """What measures them again; none: they were put together by hand."""
    machine: Fingerprint | None = None
    """Where they were measured; none: not noted."""
    costs: Costs
    gauged: Gauged | None = None
    """The pace that these costs are for; none: the machine's pace was not seen to matter, or not measured."""
    intervals: dict[CostName, tuple[float, float]] = Field(default_factory=dict)
    """95 % confidence interval of each cost that has one."""

    def pace(self, work_s: float | None) -> float | None:
        """How much longer than in the calibration work takes while the gauge's takes so long; `None`: nobody knows."""
        return None if self.gauged is None or work_s is None else self.gauged.pace(work_s)

    @model_validator(mode="after")
    def _intervals_are_ordered(self) -> Self:
        for name, (low, high) in self.intervals.items():
            if low > high:
                raise ValueError(f"the interval of {name} ends before it begins: {low:g} to {high:g}")
        return self


def load_calibration(name: str) -> Calibration:
    """The calibration of that name, or of that path.

    Raises:
        InputError: there is none, or it says something impossible; lists all problems.
    """
    path = CALIBRATIONS / f"{name}.yaml"
    if not path.exists():
        path = Path(name)
    try:
        return _read_calibration(path, path.stat().st_mtime_ns)
    except OSError:
        known = ", ".join(sorted(file.stem for file in CALIBRATIONS.glob("*.yaml")))
        problem = Problem(where="calibration", what=f"there is none of that name or path; known: {known}")
        raise InputError(name, [problem]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(str(path), [Problem(where="YAML", what=str(error))]) from None
    except ValidationError as error:
        problems = [Problem(where=".".join(map(str, e["loc"])) or "file", what=e["msg"]) for e in error.errors()]
        raise InputError(str(path), problems) from None


@lru_cache(maxsize=16)
def _read_calibration(path: Path, changed_ns: int) -> Calibration:
    """Read once for all runs of a sweep: YAML takes longer than a simulated hour. `changed_ns` tells files apart."""
    return Calibration.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def costs_of(pop: Pop) -> Costs:
    """What the PoP's programs spend, at its machine's pace; raises as `load_calibration`."""
    return load_calibration(pop.calibration).costs.at_pace(pop.machine.pace)


def cost_counts(records: pl.DataFrame) -> dict[CostName, float]:
    """How often a record table incurs each cost: connections, attempts and packets; no idling and no round trips.

    Exact below the machine's capacity and without incidents: of a connection that an edge restart broke off in its
    handshake, or that was opened for a BYE, no record tells; nor does one of packets that the trunk never read.
    """
    return work_counts(columns_of(records))


def work_counts(records: Columns) -> dict[CostName, float]:
    """As `cost_counts`."""
    sent, refused = ~np.isnan(records.sent_s), _WITHOUT_CARRIER[records.disposition]
    counted: dict[CostName, Any] = {
        "full_handshake_s": np.count_nonzero(records.connection == CONNECTION_CODE[ConnectionKind.FULL]),
        "resumed_handshake_s": np.count_nonzero(records.connection == CONNECTION_CODE[ConnectionKind.RESUMED]),
        "invite_s": np.count_nonzero(sent & ~refused),
        "refusal_s": np.count_nonzero(sent & refused),
        "bye_s": np.count_nonzero(~np.isnan(records.answered_s)),
        "packet_s": int(records.rtp_sent.sum() + records.rtp_received.sum()),
    }
    return {name: float(count) for name, count in counted.items()}


def cpu_breakdown(costs: Costs, records: pl.DataFrame, seconds: float) -> dict[CostName, float]:
    """CPU seconds that the stack spends on these records, by the cost they come from.

    Args:
        costs: of the stack.
        records: all attempts in that time, predicted or measured.
        seconds: wall time, for the share that is spent without a call.
    """
    return spend(costs, cost_counts(records) | {"idle_share": seconds})


def spend(costs: Costs, counts: Mapping[CostName, float]) -> dict[CostName, float]:
    """CPU seconds by the cost they come from, for work that was done so often in `counts["idle_share"]` seconds."""
    seconds = counts["idle_share"]
    spent = {name: getattr(costs, name) * count for name, count in counts.items()}
    work_s = sum(spent.values()) - spent["idle_share"]
    factor = costs.cold_factor(work_s / seconds) if seconds else 1.0
    return {name: value if name == "idle_share" else factor * value for name, value in spent.items()}


def cpu_seconds(costs: Costs, records: pl.DataFrame, seconds: float) -> float:
    """The sum of `cpu_breakdown`: CPU seconds of all programs of the stack together."""
    return sum(cpu_breakdown(costs, records, seconds).values())
