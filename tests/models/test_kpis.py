"""KPIs against hand-counted tables, by the definitions of RFC 6076 and E.411; batches equal the whole."""

from __future__ import annotations

import math
import pickle

import polars as pl
import pytest

from trunkproof.models.kpis import DEFINITIONS, KpiAccumulator, compute_kpis
from trunkproof.models.records import Direction, Disposition, Record, to_frame


def record(call: int, disposition: Disposition, **values: object) -> Record:
    base: dict[str, object] = {
        "row": call, "call": call, "attempt": 0, "trunk": "t", "direction": Direction.OUTBOUND,
        "disposition": disposition, "intended_s": float(call), "sent_s": call + 0.01, "ended_s": call + 1.0,
    }  # fmt: skip
    return Record(**(base | values))  # type: ignore[arg-type]  # keyword values of a test table


def answered(call: int, hold_s: float = 4.0, **values: object) -> Record:
    times = {
        "ringing_s": call + 0.11, "answered_s": call + 2.01, "bye_s": call + 2.01 + hold_s,
        "ended_s": call + 2.02 + hold_s, "status": 200, "ports": 1,
    }  # fmt: skip
    return record(call, Disposition.COMPLETED, **(times | values))


TABLE = [
    answered(0),
    answered(1, rtp_received=190, rtp_lost=10, rtp_late=19, mos=4.0, jitter_ms=2.0),
    record(2, Disposition.THROTTLED, status=503, redialled=True),
    record(2, Disposition.THROTTLED, status=503, attempt=1),
    record(3, Disposition.THROTTLED, status=503, redialled=True),
    answered(3, attempt=1, mos=4.4, jitter_ms=1.0, rtp_received=200),
    record(4, Disposition.BUSY, status=486, ports=1),
    record(5, Disposition.NO_ANSWER, status=480, ringing_s=5.2, ports=1),
    record(6, Disposition.CARRIER_REJECTED, status=404, ports=1),
    record(7, Disposition.CONNECTION_FAILED, sent_s=None),
]


def test_shares_by_hand() -> None:
    kpis = compute_kpis(to_frame(TABLE))
    assert kpis["attempts"] == 10
    assert kpis["calls"] == 8
    assert kpis["refused_share"] == pytest.approx(3 / 10)
    # Callers 2 (throttled twice), 6 (carrier refused) and 7 (no connection) never got through; 3 did in the end.
    assert kpis["customers_lost_share"] == pytest.approx(3 / 8)
    assert kpis["asr"] == pytest.approx(3 / 10)
    assert kpis["ner"] == pytest.approx(5 / 10)


def test_rfc6076_4_6_to_4_9_ratios_are_per_invite_sent() -> None:
    kpis = compute_kpis(to_frame([*TABLE, record(8, Disposition.REDIRECTED, status=302)]))
    assert kpis["ser"] == pytest.approx(3 / 9)
    assert kpis["seer"] == pytest.approx(5 / 9)
    assert kpis["isa"] == pytest.approx(3 / 10)
    assert kpis["scr"] == pytest.approx(3 / 10)


def test_rfc6076_4_3_delays_from_the_sent_and_from_the_intended_instant() -> None:
    kpis = compute_kpis(to_frame([answered(0)]))
    assert kpis["srd_p95_ms"] == pytest.approx(100, rel=1e-3)
    assert kpis["srd_intended_p95_ms"] == pytest.approx(110, rel=1e-3)
    assert kpis["answer_delay_p50_ms"] == pytest.approx(2000, rel=1e-3)
    assert kpis["sdd_p95_ms"] == pytest.approx(10, rel=1e-3)


def test_a_call_answered_without_ringing_has_its_srd_at_the_200() -> None:
    assert compute_kpis(to_frame([answered(0, ringing_s=None)]))["srd_p50_ms"] == pytest.approx(2000, rel=1e-3)


def test_media_shares_and_quantiles() -> None:
    kpis = compute_kpis(to_frame(TABLE))
    assert kpis["rtp_lost_share"] == pytest.approx(10 / 400)
    assert kpis["rtp_late_share"] == pytest.approx(19 / 390)
    assert kpis["mos_mean"] == pytest.approx(4.2)
    assert kpis["mos_p5"] == pytest.approx(4.0, rel=1e-3)
    assert kpis["jitter_p95_ms"] == pytest.approx(2.0, rel=1e-3)


def test_concurrency_counts_answered_calls_and_channels_all_that_were_admitted() -> None:
    kpis = compute_kpis(to_frame([answered(0), answered(1), answered(10), record(11, Disposition.BUSY, ports=2)]))
    assert kpis["peak_concurrency"] == 2
    assert kpis["peak_channels"] == 2
    assert kpis["peak_ports"] == 3
    assert kpis["mean_concurrency"] == pytest.approx(3 * 4.0 / 16.02)


def test_a_zero_denominator_is_not_available() -> None:
    kpis = compute_kpis(to_frame([]))
    shares = [name for name, definition in DEFINITIONS.items() if definition.unit in {"share", "ms", "MOS"}]
    assert all(kpis[name] is None for name in shares)


def test_dispositions_sum_to_the_attempts_and_every_definition_has_a_value() -> None:
    kpis = compute_kpis(to_frame(TABLE))
    assert sum(kpis.dispositions.values()) == kpis["attempts"]
    assert list(kpis) == list(DEFINITIONS)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_batches_equal_the_whole(size: int) -> None:
    frame = to_frame(TABLE).sort("ended_s")
    accumulator = KpiAccumulator()
    for start in range(0, frame.height, size):
        later = frame.slice(start + size)
        first_unknown = later.select(pl.col("intended_s").min()).item() if later.height else math.inf
        accumulator.add(frame.slice(start, size), complete_until_s=first_unknown)
    assert accumulator.result().values == pytest.approx(compute_kpis(frame).values, nan_ok=True)


def test_indicators_are_attributes_a_dict_and_a_table() -> None:
    kpis = compute_kpis(to_frame([]))
    assert kpis.attempts == kpis["attempts"] == 0
    assert kpis.to_dict()["asr"] is None
    assert kpis.to_frame().columns == ["name", "title", "value", "unit"]
    assert "refused_share" in dir(kpis)
    assert "<td>Attempts</td><td>0</td>" in kpis._repr_html_()
    with pytest.raises(AttributeError, match="there is no indicator refuse_share; there are attempts,"):
        kpis.refuse_share  # noqa: B018
    assert pickle.loads(pickle.dumps(kpis)).values == kpis.values
