"""A run under control: what each control does, what is refused, and that the journal replays the same calls."""

from __future__ import annotations

import asyncio
from pathlib import Path

import polars as pl
import pytest

from trunkproof.experiments.common.result_folder import REPLAY, open_results
from trunkproof.experiments.common.saved_run import read_run
from trunkproof.experiments.load.replay import replayed_study
from trunkproof.experiments.load.result import write_load
from trunkproof.experiments.load.run import load_async
from trunkproof.loadgen.control import Control, ControlError, ControlKind, RunControls
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.run import Run
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.models.errors import GuardError
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study
from trunkproof.models.study_file import read_study

RATE, FASTER, SLOWER, PAUSE, RESUME, DRAIN = (
    *(ControlKind.RATE, ControlKind.FASTER, ControlKind.SLOWER, ControlKind.PAUSE, ControlKind.RESUME),
    ControlKind.DRAIN,
)


def study(seconds: float = 30.0, per_minute: float = 300.0, **traffic: object) -> Study:
    settings = {
        "arrivals": {"kind": "poisson", "rate_per_minute": per_minute},
        "holding": {"kind": "exponential", "mean_s": 0.5},
        "ringing": 0.1,
        "outcomes": {"busy": 0.3},
        "redial": {"probability": 0.5, "after": ["busy"], "delay": 0.3, "attempts": 3},
        "tls": {"policy": "pool", "pool_size": 4},
    }
    trunk = {"customer_address": "127.0.0.61", "throttle": {"policy": "none"}, "traffic": settings | traffic}
    return Study.model_validate({"name": "controlled", "duration_s": seconds, "trunks": [trunk]})


def controls_of(asked: Study, ceiling: float = 1e9) -> RunControls:
    def approve(per_minute: float) -> None:
        if per_minute > ceiling:
            raise GuardError("confirm a ceiling")

    return RunControls(draw_plan(asked), approve)


def test_rate_up_down_pause_and_resume() -> None:
    controls = controls_of(study())
    asked = [
        (Control(RATE, 600.0), 600.0),
        (Control(FASTER), 660.0),
        (Control(PAUSE), 0.0),
        (Control(RESUME), 660.0),
        (Control(SLOWER), 600.0),
        (Control(PAUSE), 0.0),
        (Control(RATE, 150.0), 150.0),
        (Control(DRAIN), 0.0),
    ]
    applied = [controls.decide(control, float(second)) for second, (control, _) in enumerate(asked)]
    assert [one.per_minute for one in applied] == pytest.approx([per_minute for _, per_minute in asked])
    assert [one.at_s for one in applied] == pytest.approx([second + 0.3 for second in range(len(asked))])
    with pytest.raises(ControlError, match="drained"):
        controls.decide(Control(RESUME), 20.0)


def test_a_rate_is_that_of_the_instant_and_the_plan_keeps_its_shape() -> None:
    ramp = {"kind": "ramp", "from_per_minute": 0, "to_per_minute": 600}
    controls = controls_of(study(arrivals=ramp))
    assert controls.asked_per_minute(15.0) == pytest.approx(300.0)
    assert controls.decide(Control(RATE, 900.0), 14.7).speed == pytest.approx(3.0)
    assert controls.asked_per_minute(17.0) == pytest.approx(3 * 600 * 21 / 30)


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(GuardError):
        controls_of(study(), ceiling=500.0).decide(Control(RATE, 600.0), 1.0)
    with pytest.raises(ControlError, match="PSTN"):
        controls_of(study(inbound_share=0.2)).decide(Control(PAUSE), 1.0)
    for rate in (None, 0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ControlError, match="above 0"):
            controls_of(study()).decide(Control(RATE, rate), 1.0)
    with pytest.raises(ControlError, match="no calls at this time"):
        controls_of(study()).decide(Control(RATE, 100.0), 31.0)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_journal_of_a_controlled_run_replays_the_same_calls(tmp_path: Path, workers: int) -> None:
    """300 CPM, then 900, a pause, 600, and a drain: the calls of the replayed study are those that were placed."""
    asked = study()

    async def steer(run: Run) -> None:
        for wait_s, control in (
            (0.8, Control(RATE, 900.0)),
            (1.0, Control(PAUSE)),
            (0.8, Control(RATE, 600.0)),
            (1.0, Control(FASTER)),
            (0.4, Control(DRAIN)),
        ):
            await asyncio.sleep(wait_s)
            run.control(control)

    async def run() -> None:
        with open_results(tmp_path / "result") as folder:
            async with running_trunk(asked, tmp_path / "trunk") as card:
                options = RunOptions(workers=workers)
                result = await load_async(asked, card, folder=folder, options=options, beside=steer)
            write_load(result, folder)

    asyncio.run(run())
    saved = read_run(tmp_path / "result")
    assert [one.kind for one in saved.controls] == [RATE, PAUSE, RATE, FASTER, DRAIN]
    columns = ["row", "call", "attempt", "intended_s"]
    placed = saved.records.filter(pl.col("attempt") == 0).select(columns).sort("row")
    assert placed.height > 20
    for replay in (replayed_study(asked, saved.controls), read_study(tmp_path / "result" / REPLAY)):
        plan = draw_plan(replay).table
        firsts = plan.filter(pl.col("attempt") == 0)
        assert placed.rows() == firsts.select("row", "call", "attempt", "place_s").rows()
        # The same callers do the same things: all but the instants is the original plan's.
        drawn = draw_plan(asked).table.filter(pl.col("row") < plan.height)
        assert plan.drop("place_s").equals(drawn.drop("place_s"))
    pause, again = saved.controls[1].at_s, saved.controls[2].at_s
    assert placed.filter(pl.col("intended_s").is_between(pause, again, closed="none")).is_empty()
    assert saved.records["attempt"].max() > 0
