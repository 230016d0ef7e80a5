"""Records of the compiled model as a table and as columns: both say the same, and a table the model's own values."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from trunkproof.models.columns import columns_of
from trunkproof.models.records import SCHEMA
from trunkproof.models.study import Study
from trunkproof.simulator.kernel.frames import to_columns, to_frame
from trunkproof.simulator.kernel.memory import RECORD, Records
from trunkproof.simulator.kernel.running import Running


def study(**trunk: Any) -> Study:
    traffic = {
        "arrivals": {"kind": "poisson", "rate_per_minute": 600},
        "holding": 5,
        "outcomes": {"busy": 0.2, "abandoned": 0.2},
        "inbound_share": 0.3,
    }
    throttle = {"policy": "fixed_window", "limit": 400}
    pop = {"machine": {"quota": 0.03}}
    trunks = [{"traffic": traffic, "throttle": throttle} | trunk]
    return Study.model_validate({"name": "t", "pop": pop, "trunks": trunks})


@pytest.mark.parametrize("trunk", [{}, {"transport": "tcp", "media": "rtp"}])
def test_columns_are_those_of_the_table(trunk: dict[str, str]) -> None:
    kept: list[Records] = []
    question = study(**trunk)
    Running(question, lambda records, _: kept.append(records.copy())).to_the_end()
    (records,) = kept
    frame = to_frame(records, question.trunks)
    assert dict(frame.schema) == SCHEMA
    for name, values in vars(columns_of(frame)).items():
        np.testing.assert_array_equal(getattr(to_columns(records, question.trunks), name), values, err_msg=name)
    # Some lose audio, some have none.
    assert frame["mos"].null_count() > 0
    assert frame.filter(pl.col("rtp_lost") > 0)["mos"].n_unique() > 1


def test_a_batch_without_records_is_a_table_without_rows() -> None:
    frame = to_frame(np.zeros(0, dtype=RECORD), study().trunks)
    assert (frame.height, dict(frame.schema)) == (0, SCHEMA)
