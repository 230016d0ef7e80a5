"""Read and check cost calibrations, and compute the CPU that a table of records costs.

A calibration says what a stack's programs spend: seconds of CPU per handshake, call and packet, and the network's round
trip. There is one data file per stack in models/calibrations/. `experiments.sizing.calibration` measures them.
`simulator.host` lets the work queue for cores.
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
from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator

from trunkproof.models.columns import CONNECTION_CODE, Columns, columns_of
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.records import REFUSED_BY_TRUNK, ConnectionKind, Disposition
from trunkproof.models.settings import Settings
from trunkproof.models.study import MediaProfile, Pop, StackName, Study, Transport
from trunkproof.models.yaml_text import read_yaml

CALIBRATIONS = Path(__file__).parent / "calibrations"
Seconds = Annotated[float, Field(ge=0, le=10)]
CostName = Literal[
    "full_handshake_s",
    "resumed_handshake_s",
    "invite_s",
    "refusal_s",
    "bye_s",
    "packet_s",
    "contended_packet_s",
    "contended_work_share",
    "idle_penalty",
    "idle_penalty_decay_load",
    "idle_share",
    "round_trip_s",
    "throttle_decision_s",
    "tcp_connection_s",
    "plain_packet_s",
]
"""The fields of `Costs`."""

_WORK: tuple[CostName, ...] = (
    "full_handshake_s",
    "resumed_handshake_s",
    "invite_s",
    "refusal_s",
    "bye_s",
    "packet_s",
    "contended_packet_s",
)

OLDER_NAMES: dict[str, CostName] = {
    "waiting_packet_s": "contended_packet_s",
    "waiting_work_share": "contended_work_share",
    "cold_share": "idle_penalty",
    "warm_load": "idle_penalty_decay_load",
    "throttle_s": "throttle_decision_s",
}
"""Names that calibration files used before. Such files are still read."""

REFUSED_WITHOUT_CARRIER = REFUSED_BY_TRUNK - {Disposition.NO_CHANNEL}
"""Refused before the INVITE was handed on. Without a free channel it is the carrier that refuses."""
_NEW = (CONNECTION_CODE[ConnectionKind.FULL], CONNECTION_CODE[ConnectionKind.TCP])
_WITHOUT_CARRIER = np.array([kind in REFUSED_WITHOUT_CARRIER for kind in Disposition])


def _also(older: str) -> AliasChoices:
    """Return the aliases of the field that once had that older name."""
    return AliasChoices(OLDER_NAMES[older], older)


class Costs(Settings):
    """The costs of a stack, in CPU seconds of all its programs together unless a field says otherwise.

    They are those of a busy stack. The idle penalty comes on top where the load is low.
    """

    full_handshake_s: Seconds
    """One connection: TCP accept, full TLS handshake, close."""
    resumed_handshake_s: Seconds
    """One connection whose handshake resumes a session."""
    invite_s: Seconds
    """One INVITE that is handed on, with all responses until the far side has answered or refused."""
    refusal_s: Seconds
    """One INVITE that the trunk refuses."""
    bye_s: Seconds
    """The rest of an answered call: ACK, BYE and its response."""
    packet_s: Seconds
    """One packet of a call in either direction, from its arrival to its departure on the other side.

    A call has `PACKETS_PER_CALL_S` packets per second.
    """
    contended_packet_s: Annotated[Seconds | None, Field(validation_alias=_also("waiting_packet_s"))] = None
    """The CPU that one packet needs where CPU is contended, so that calls still sound well. None: not measured.

    It is less than `packet_s` where one wakeup of the program then serves many packets.
    """
    contended_work_share: Annotated[float, Field(gt=0, le=10, validation_alias=_also("waiting_work_share"))] = 1.0
    """The cost of signalling that has to wait for CPU, as a share of its cost without waiting.

    It is below 1 where the work needs no wakeup of its own, and above 1 where it is interrupted again and again.
    """
    idle_penalty: Annotated[float, Field(ge=0, le=10, validation_alias=_also("cold_share"))] = 0.0
    """How much more all this costs on a nearly idle stack, as a share of its cost on a busy one.

    Cores have to be woken, and their caches hold the data of other programs. The penalty decays with load.
    """
    idle_penalty_decay_load: Annotated[float, Field(gt=0, le=1024, validation_alias=_also("warm_load"))] = 1.0
    """The load, in cores, at which the idle penalty has decayed to 1/e (37 %)."""
    idle_share: Annotated[float, Field(ge=0, le=1024)]
    """What the programs spend without a call, as a share of one core."""
    round_trip_s: Seconds
    """The round trip between customer and trunk, as wall time. It includes the delay of both ends' event loops."""
    throttle_decision_s: Annotated[Seconds, Field(validation_alias=_also("throttle_s"))] = 0.0
    """How long an INVITE waits for the throttle's decision, as wall time. Asterisk's dialplan takes a lock for it."""
    tcp_connection_s: Seconds | None = None
    """One connection without TLS: TCP accept and close. None: not measured, and taken as free."""
    plain_packet_s: Seconds | None = None
    """One packet of a call with plain RTP, as `packet_s`. None: not measured, and taken as `packet_s`."""

    def carrying(self, transport: Transport, media: MediaProfile) -> Self:
        """Return the costs of the same stack with that transport and media: its connections and its packets."""
        changes: dict[str, float] = {}
        if transport == "tcp":
            changes |= dict.fromkeys(("full_handshake_s", "resumed_handshake_s"), self.tcp_connection_s or 0.0)
        if media == "rtp" and self.plain_packet_s is not None:
            changes["packet_s"] = self.plain_packet_s
            if self.contended_packet_s is not None and self.packet_s:
                # SRTP is the same work whether CPU is contended or not.
                changes["contended_packet_s"] = max(0.0, self.contended_packet_s - self.packet_s + self.plain_packet_s)
        return self.model_copy(update=changes)

    @property
    def required_packet_s(self) -> float:
        """Return the CPU that a packet needs where CPU is contended, or `packet_s` where that was not measured."""
        return self.packet_s if self.contended_packet_s is None else self.contended_packet_s

    def at_slowdown(self, slowdown: float) -> Self:
        """Return the costs on a machine whose cores take `slowdown` times as long for all work."""
        # The decay load too: on a slower machine the same calls are a larger load, in cores, and warm the stack as
        # much.
        names = (*self._work_names, "idle_share", "idle_penalty_decay_load")
        return self.model_copy(update={name: slowdown * getattr(self, name) for name in names})

    def idle_factor(self, load: float) -> float:
        """Return the cost of work at a mean load of that many cores, divided by its cost on a busy stack."""
        return 1 + self.idle_penalty * math.exp(-load / self.idle_penalty_decay_load)

    def idle_factor_spending(self, cores: float) -> float:
        """Return the idle factor where the programs spend that many cores on work, idle penalty included."""
        # Nothing to solve, and no SciPy to load.
        if cores <= 0 or not self.idle_penalty:
            return self.idle_factor(0.0)
        from scipy.optimize import brentq  # noqa: PLC0415  # slow to load, and few studies ask

        # The factor depends on the load, and the cores spent on both. The load is at most `cores`: the factor is never
        # below 1.
        load = brentq(lambda load: load * self.idle_factor(load) - cores, 0.0, cores)
        return self.idle_factor(load)

    def at_full_load(self, cores: float) -> Self:
        """Return the costs where the programs spend all of so many cores. A small quota keeps a part of the penalty."""
        factor = self.idle_factor_spending(cores)
        return self.model_copy(update={name: factor * getattr(self, name) for name in self._work_names})

    @property
    def _work_names(self) -> Sequence[CostName]:
        return [name for name in _WORK if getattr(self, name) is not None]


class Fingerprint(Settings):
    """The kind of machine that a calibration holds for. It does not tell one machine of that kind from another."""

    processor: str
    cores: Annotated[int, Field(ge=1)]
    system: str


class ReferenceSpeed(Settings):
    """How fast the machine was, by the reference workload that is timed beside calls (`loadgen.meters.reference`)."""

    work_s: Annotated[float, Field(gt=0, le=1)]
    """The mean CPU seconds that the reference workload took during the calibration."""
    exponent: Annotated[float, Field(ge=0, le=10)]
    """The stack's costs grow as that time to this power."""
    interval: tuple[float, float] | None = None
    """95 % confidence interval of the exponent."""

    def slowdown(self, work_s: float) -> float:
        """Return how many times as long work takes as in the calibration, if the reference workload takes `work_s`."""
        return float((work_s / self.work_s) ** self.exponent)


class Calibration(Settings):
    """The costs of one stack on one kind of machine, and how they were measured."""

    stack: StackName
    measured: date
    command: str | None = None
    """The command that measures them again. None: they were written by hand."""
    machine: Fingerprint | None = None
    """Where they were measured. None: not noted."""
    costs: Costs
    reference: Annotated[ReferenceSpeed | None, Field(validation_alias=AliasChoices("reference", "gauged"))] = None
    """The speed that these costs are for. None: it was not measured, or did not significantly change the costs."""
    intervals: dict[CostName, tuple[float, float]] = Field(default_factory=dict)
    """95 % confidence interval of each cost that has one."""

    def slowdown(self, work_s: float | None) -> float | None:
        """Return how many times as long work takes as in the calibration.

        Args:
            work_s: the CPU seconds that the reference workload takes now.

        Returns:
            The slowdown. None where the reference workload was not timed, now or in the calibration.
        """
        return None if self.reference is None or work_s is None else self.reference.slowdown(work_s)

    @field_validator("intervals", mode="before")
    @classmethod
    def _older_names_are_replaced(cls, given: Any) -> Any:
        return {OLDER_NAMES.get(name, name): ends for name, ends in given.items()} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _intervals_are_ordered(self) -> Self:
        for name, (low, high) in self.intervals.items():
            if low > high:
                raise ValueError(f"the interval of {name} ends before it begins: {low:g} to {high:g}")
        return self


def load_calibration(name: str) -> Calibration:
    """Read the calibration of that name or path.

    Raises:
        InputError: there is none, or it is invalid. Lists all problems.
    """
    path = CALIBRATIONS / f"{name}.yaml"
    # A name of a shipped calibration comes before a file of the same name in the working directory.
    if not path.exists():
        path = Path(name)
    try:
        return _read_calibration(path, path.stat().st_mtime_ns)
    except OSError:
        known = ", ".join(sorted(file.stem for file in CALIBRATIONS.glob("*.yaml")))
        # Whoever misspelt a name needs the list of those that exist.
        problem = Problem(where="calibration", what=f"there is none of that name or path; known: {known}")
        raise InputError(name, [problem]) from None
    except UnicodeDecodeError as error:
        raise InputError(str(path), [Problem(where="YAML", what=str(error))]) from None
    except ValidationError as error:
        problems = [Problem(where=".".join(map(str, e["loc"])) or "file", what=e["msg"]) for e in error.errors()]
        raise InputError(str(path), problems) from None


@lru_cache(maxsize=16)
def _read_calibration(path: Path, changed_ns: int) -> Calibration:
    """Read a calibration once for all runs of a sweep: parsing YAML takes longer than a simulated hour.

    `changed_ns` is part of the cache's key, so that a changed file is read again.
    """
    text = path.read_text(encoding="utf-8")
    return Calibration.model_validate(read_yaml(text, source=str(path), word="calibration").value)


def costs_of(pop: Pop) -> Costs:
    """Return the costs of the PoP's programs, with its machine's slowdown.

    Raises:
        InputError: the calibration is missing or invalid.
    """
    return load_calibration(pop.calibration).costs.at_slowdown(pop.machine.slowdown)


def study_costs(study: Study) -> Costs:
    """Return the costs of the PoP's programs, for the transport and media of a study.

    Raises:
        InputError: the calibration is missing or invalid.
    """
    costs = load_calibration(study.pop.calibration).costs.carrying(study.transport, study.media)
    return costs.at_slowdown(study.pop.machine.slowdown)


def cost_counts(records: pl.DataFrame) -> dict[CostName, float]:
    """Count how often a record table incurs each cost of connections, attempts and packets.

    The counts are exact below the machine's capacity and without incidents. Otherwise some work is in no record:
    connections that an edge restart broke off in their handshake, connections opened for a BYE, and packets that the
    trunk never read.
    """
    return work_counts(columns_of(records))


def work_counts(records: Columns) -> dict[CostName, float]:
    """Count how often these columns of records incur each cost. `cost_counts` does the same for a record table."""
    # An attempt without a connection sent no INVITE, so it costs no such work.
    sent, refused = ~np.isnan(records.sent_s), _WITHOUT_CARRIER[records.disposition]
    counted: dict[CostName, Any] = {
        # With `Costs.carrying`, a full handshake costs what a connection without TLS does.
        "full_handshake_s": np.count_nonzero(np.isin(records.connection, _NEW)),
        "resumed_handshake_s": np.count_nonzero(records.connection == CONNECTION_CODE[ConnectionKind.RESUMED]),
        "invite_s": np.count_nonzero(sent & ~refused),
        "refusal_s": np.count_nonzero(sent & refused),
        # Every answered call is hung up in the end, also one that is still up in these records.
        "bye_s": np.count_nonzero(~np.isnan(records.answered_s)),
        "packet_s": int(records.rtp_sent.sum() + records.rtp_received.sum()),
    }
    return {name: float(count) for name, count in counted.items()}


def cpu_breakdown(costs: Costs, records: pl.DataFrame, seconds: float) -> dict[CostName, float]:
    """Return the CPU seconds that the stack spends on these records, by cost.

    Args:
        costs: the costs of the stack.
        records: all attempts in that time, predicted or measured.
        seconds: the wall time, for the share that is spent without a call.
    """
    return spend(costs, cost_counts(records) | {"idle_share": seconds})


def spend(costs: Costs, counts: Mapping[CostName, float]) -> dict[CostName, float]:
    """Return the CPU seconds by cost, for work that was done `counts` times in `counts["idle_share"]` seconds."""
    seconds = counts["idle_share"]
    spent = {name: getattr(costs, name) * count for name, count in counts.items()}
    work_s = sum(spent.values()) - spent["idle_share"]
    # The penalty's load is the work at the costs of a busy stack, without the penalty itself.
    factor = costs.idle_factor(work_s / seconds) if seconds else 1.0
    return {name: value if name == "idle_share" else factor * value for name, value in spent.items()}


def cpu_seconds(costs: Costs, records: pl.DataFrame, seconds: float) -> float:
    """Return the CPU seconds that all programs of the stack together spend: the sum of `cpu_breakdown`."""
    return sum(cpu_breakdown(costs, records, seconds).values())
