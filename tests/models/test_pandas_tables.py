"""Tables for pandas, and what is said where it is missing."""

from __future__ import annotations

import sys

import pytest

from trunkproof import InputError, compute_kpis, parse_study, simulate, to_pandas

RECORDS = simulate(
    parse_study(
        "{name: t, duration_s: 60, traffic: {arrivals: {kind: poisson, rate_per_minute: 300}, holding: 10, ringing: 1}}"
    )
)


def test_records_and_indicators_become_frames() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed (pip install trunkproof[pandas])")
    frame = to_pandas(RECORDS)
    assert list(frame.columns) == RECORDS.columns
    assert len(frame) == RECORDS.height
    assert frame["disposition"].tolist() == RECORDS["disposition"].to_list()
    assert frame["answered_s"].isna().sum() == RECORDS["answered_s"].null_count()
    kpis = to_pandas(compute_kpis(RECORDS)).set_index("name")
    assert kpis.loc["attempts", "value"] == RECORDS.height


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"pip install trunkproof\[pandas\]"):
        to_pandas(RECORDS)
