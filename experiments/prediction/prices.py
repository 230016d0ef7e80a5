"""What TLS and SRTP cost a study: the same calls predicted over TLS with SRTP, and over TCP with plain RTP.

The plan is the same, so the difference is that of the transport and the media alone. Their CPU differs only by what the
calibration prices: `Costs.tcp_connection_s` and `Costs.plain_packet_s`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from trunkproof.models.costs import cpu_seconds, load_calibration, study_costs
from trunkproof.models.kpis import compute_kpis
from trunkproof.models.plan import Plan
from trunkproof.models.study import MediaProfile, Study, Transport
from trunkproof.simulator.run import simulate

WAYS: tuple[tuple[Transport, MediaProfile], ...] = (("tls", "srtp"), ("tcp", "rtp"))


@dataclass(frozen=True)
class Price:
    """A study's prediction with one transport and one media."""

    transport: Transport
    media: MediaProfile
    cpu_s: float
    """CPU seconds of all programs of the PoP together, while calls are offered."""
    connect_p50_ms: float | None
    """The median time until a new connection is open. None where no call opened one."""
    srd_p50_ms: float | None
    srd_p95_ms: float | None


@dataclass(frozen=True)
class Prices:
    """Both predictions, and what the calibration does not know."""

    ways: tuple[Price, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return asdict(self)


def prices(plan: Plan) -> Prices:
    """Predict a plan's study with each of `WAYS`.

    Raises:
        InputError: the calibration is missing or invalid.
    """
    costs, name = load_calibration(plan.study.pop.calibration).costs, plan.study.pop.calibration
    unknown = {
        "a connection without TLS is taken as free (tcp_connection_s)": costs.tcp_connection_s,
        "a packet of plain RTP is priced as SRTP (plain_packet_s)": costs.plain_packet_s,
    }
    notes = tuple(f"Not measured in calibration {name}: {what}." for what, cost in unknown.items() if cost is None)
    return Prices(tuple(_price(_on(plan.study, *way), plan) for way in WAYS), notes)


def _on(study: Study, transport: Transport, media: MediaProfile) -> Study:
    trunks = [trunk.model_copy(update={"transport": transport, "media": media}) for trunk in study.trunks]
    return study.model_copy(update={"trunks": tuple(trunks)})


def _price(study: Study, plan: Plan) -> Price:
    records = simulate(study, Plan(study, plan.table))
    kpis = compute_kpis(records)
    opened = records.filter(records["connect_s"] > 0)["connect_s"].median()
    return Price(
        transport=study.transport,
        media=study.media,
        cpu_s=cpu_seconds(study_costs(study), records, study.duration_s),
        connect_p50_ms=1000 * opened if isinstance(opened, float) else None,
        srd_p50_ms=kpis["srd_p50_ms"],
        srd_p95_ms=kpis["srd_p95_ms"],
    )
