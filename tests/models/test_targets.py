"""Targets are values: an indicator, a side and a bound, which must fit together."""

from __future__ import annotations

import numpy as np
import pytest

from trunkproof.models.kpis import DEFINITIONS, Better
from trunkproof.models.study import Quality
from trunkproof.models.targets import Operator, Target


def test_the_bound_itself_keeps_the_target() -> None:
    lost, mos = Target("customers_lost_share", Operator.AT_MOST, 0.01), Target("mos_p5", Operator.AT_LEAST, 4.0)
    assert [lost.holds(value) for value in (0.0, 0.01, 0.011)] == [True, True, False]
    assert [mos.holds(value) for value in (3.9, 4.0, 4.4)] == [False, True, True]
    assert mos.holds(np.array([3.9, 4.0])).tolist() == [False, True]


def test_an_unknown_indicator_is_told_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"`srd_p59_ms`; known: attempts, .*srd_p95_ms"):
        Target("srd_p59_ms", Operator.AT_MOST, 1.0)


@pytest.mark.parametrize(("kpi", "operator"), [("ner", Operator.AT_MOST), ("refused_share", Operator.AT_LEAST)])
def test_nobody_asks_for_worse(kpi: str, operator: Operator) -> None:
    with pytest.raises(ValueError, match="asks for worse"):
        Target(kpi, operator, 0.5)


@pytest.mark.parametrize("operator", Operator)
def test_the_load_may_be_bounded_on_either_side(operator: Operator) -> None:
    assert DEFINITIONS["peak_channels"].better is Better.NEITHER
    assert Target("peak_channels", operator, 30).bound == 30


def test_quality_gives_the_targets_that_are_set_in_its_order() -> None:
    quality = Quality(srd_p95_ms_max=None, ner_min=0.9)
    assert quality.targets == (
        Target("refused_share", Operator.AT_MOST, 0.01),
        Target("customers_lost_share", Operator.AT_MOST, 0.01),
        Target("ner", Operator.AT_LEAST, 0.9),
        Target("mos_p5", Operator.AT_LEAST, 4.0),
    )


def test_every_number_of_quality_is_the_bound_of_a_target() -> None:
    everything = Quality(**dict.fromkeys(Quality.model_fields, 1.0))
    assert len(everything.measured_targets) == len(Quality.model_fields)
