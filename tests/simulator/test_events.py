"""No kind of call takes more events than it has steps: events are what a simulation spends its time on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import simpy

from trunkproof.models.costs import load_calibration
from trunkproof.models.study import Study
from trunkproof.simulator import run


class Counting(simpy.Environment):
    """Counts what happens."""

    events = 0

    def step(self) -> None:
        self.events += 1
        super().step()


@pytest.fixture
def pop(tmp_path: Path) -> dict[str, Any]:
    """Of a trunk whose throttle decides at once: a wait for it would be one event more."""
    calibration = load_calibration("embedded")
    costs = calibration.costs.model_copy(update={"throttle_decision_s": 0.0})
    path = tmp_path / "calibration.yaml"
    path.write_text(json.dumps(calibration.model_copy(update={"costs": costs}).model_dump(mode="json")))
    return {"machine": {"calibration": str(path)}}


def events_of(
    monkeypatch: pytest.MonkeyPatch, pop: dict[str, Any], trunk: dict[str, Any], instants: list[float]
) -> int:
    """Events of a simulation of calls at these instants."""
    env = Counting()
    monkeypatch.setattr(simpy, "Environment", lambda: env)
    traffic = {"arrivals": {"kind": "replay", "instants_s": instants}, "holding": 3} | trunk.get("traffic", {})
    trunks = [trunk | {"traffic": traffic}]
    run.simulate(Study.model_validate({"name": "t", "duration_s": 1000, "pop": pop, "trunks": trunks}))
    return env.events


@pytest.mark.parametrize(
    ("trunk", "events"),
    [
        # The next caller's coming, beginning and end; INVITE, set-up, ringing, holding, BYE and its response.
        pytest.param({}, 3 + 6, id="answered"),
        pytest.param({"traffic": {"tls": {"policy": "per_call"}}}, 3 + 7, id="answered, with a handshake"),
        pytest.param({"traffic": {"inbound_share": 1}}, 3 + 5, id="inbound"),
        pytest.param({"traffic": {"outcomes": {"busy": 1}}}, 3 + 2, id="busy"),
        pytest.param({"traffic": {"outcomes": {"no_answer": 1}}}, 3 + 3, id="no answer"),
        # The CANCEL and its response.
        pytest.param({"traffic": {"outcomes": {"abandoned": 1}}}, 3 + 5, id="abandoned"),
        pytest.param({"whitelist": ["10.0.0.0/8"]}, 3 + 2, id="not whitelisted"),
        pytest.param({"throttle": {"policy": "fixed_window", "limit": 1, "window_s": 1000}}, 3 + 2, id="throttled"),
    ],
)
def test_events_of_one_more_call(
    monkeypatch: pytest.MonkeyPatch, pop: dict[str, Any], trunk: dict[str, Any], events: int
) -> None:
    two, three = (events_of(monkeypatch, pop, trunk, [1.0, 200.0, 400.0][:count]) for count in (2, 3))
    assert three - two == events
