"""Records of the compiled model as a table and as columns: both say the same, and a table the model's own values."""

from __future__ import annotations

import numpy as np
import polars as pl

from trunkproof.models.columns import columns_of
from trunkproof.models.records import SCHEMA
from trunkproof.models.study import Study
from trunkproof.simulator.kernel.frames import to_columns, to_frame
from trunkproof.simulator.kernel.memory import RECORD, Records
from trunkproof.simulator.kernel.running import Running


def study() -> Study:
    traffic = {
        "arrivals": {"kind": "poisson", "rate_per_minute": 600},
        "holding": 5,
        "outcomes": {"busy": 0.2, "abandoned": 0.2},
        "inbound_share": 0.3,
    }
    throttle = {"policy": "fixed_window", "limit": 400}
    pop = {"machine": {"quota": 0.03}}
    return Study.model_validate({"name": "t", "pop": pop, "trunks": [{"traffic": traffic, "throttle": throttle}]})


def test_columns_are_those_of_the_table() -> None:
    kept: list[Records] = []
    Running(study(), lambda records, _: kept.append(records.copy())).to_the_end()
    (records,) = kept
    frame = to_frame(records, ("trunk",))
    assert dict(frame.schema) == SCHEMA
    for name, values in vars(columns_of(frame)).items():
        np.testing.assert_array_equal(getattr(to_columns(records), name), values, err_msg=name)
    # Some lose audio, some have none.
    assert frame["mos"].null_count() > 0
    assert frame.filter(pl.col("rtp_lost") > 0)["mos"].n_unique() > 1


def test_a_batch_without_records_is_a_table_without_rows() -> None:
    frame = to_frame(np.zeros(0, dtype=RECORD), ("a", "b"))
    assert (frame.height, dict(frame.schema)) == (0, SCHEMA)
