"""SimPy's order of events is kept, and no kind of call takes more events than it has steps."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import simpy

from trunkproof.models.costs import load_calibration
from trunkproof.models.study import Study
from trunkproof.simulator import run
from trunkproof.simulator.clock import CallProcess, Clock

Steps = Generator[simpy.Event, object, None]


def waits(env: simpy.Environment, seen: list[tuple[float, str]], name: str, *delays_s: float) -> Steps:
    for delay_s in delays_s:
        yield env.timeout(delay_s)
        seen.append((env.now, name))


def order_in(env: simpy.Environment) -> list[tuple[float, str]]:
    seen: list[tuple[float, str]] = []
    for name, delays_s in {"a": (1.0, 1.0, 0.0), "b": (2.0, 0.0), "c": (0.0, 2.0)}.items():
        env.process(waits(env, seen, name, *delays_s))
    env.run(until=2.5)
    return seen


def test_ties_are_ordered_as_by_simpy() -> None:
    assert order_in(Clock()) == order_in(simpy.Environment())


def test_what_happens_at_the_end_is_not_in_the_run() -> None:
    env, seen = Clock(), list[tuple[float, str]]()
    env.process(waits(env, seen, "a", 1.0, 1.0))
    env.run(until=2.0)
    assert seen == [(1.0, "a")]
    with pytest.raises(ValueError, match="not after the present"):
        env.run(until=0.0)


def test_a_call_begins_at_once_and_can_be_interrupted() -> None:
    env, seen = Clock(), list[float]()

    def call() -> Steps:
        seen.append(env.now)
        try:
            yield env.timeout(10)
        except simpy.Interrupt:
            seen.append(env.now)

    process = CallProcess(env, call())
    assert seen == [0.0]
    env.run(until=3.0)
    process.interrupt()
    env.run()
    assert seen == [0.0, 3.0]
    assert not process.is_alive


def test_a_call_that_fails_ends_the_simulation() -> None:
    env = Clock()

    def call() -> Steps:
        yield env.timeout(1)
        raise LookupError("a bug")

    CallProcess(env, call())
    with pytest.raises(LookupError, match="a bug"):
        env.run()


def test_a_timeout_is_not_negative() -> None:
    with pytest.raises(ValueError, match="negative"):
        Clock().timeout(-1)


@pytest.fixture
def pop(tmp_path: Path) -> dict[str, Any]:
    """Of a trunk whose throttle decides at once: a wait for it would be one event more."""
    calibration = load_calibration("embedded")
    costs = calibration.costs.model_copy(update={"throttle_s": 0.0})
    path = tmp_path / "calibration.yaml"
    path.write_text(json.dumps(calibration.model_copy(update={"costs": costs}).model_dump(mode="json")))
    return {"machine": {"calibration": str(path)}}


def events_of(
    monkeypatch: pytest.MonkeyPatch, pop: dict[str, Any], trunk: dict[str, Any], instants: list[float]
) -> int:
    """Events of a simulation of calls at these instants."""
    clock = Clock()
    monkeypatch.setattr(run, "Clock", lambda: clock)
    traffic = {"arrivals": {"kind": "replay", "instants_s": instants}, "holding": 3} | trunk.get("traffic", {})
    trunks = [trunk | {"traffic": traffic}]
    run.simulate(Study.model_validate({"name": "t", "duration_s": 1000, "pop": pop, "trunks": trunks}))
    return next(clock._eid)


@pytest.mark.parametrize(
    ("trunk", "events"),
    [
        # The next caller's coming; INVITE, set-up, ringing, holding, BYE and its response.
        pytest.param({}, 1 + 6, id="answered"),
        pytest.param({"traffic": {"tls": {"policy": "per_call"}}}, 1 + 7, id="answered, with a handshake"),
        pytest.param({"traffic": {"inbound_share": 1}}, 1 + 5, id="inbound"),
        pytest.param({"traffic": {"outcomes": {"busy": 1}}}, 1 + 2, id="busy"),
        pytest.param({"traffic": {"outcomes": {"no_answer": 1}}}, 1 + 3, id="no answer"),
        # The CANCEL and its response.
        pytest.param({"traffic": {"outcomes": {"abandoned": 1}}}, 1 + 5, id="abandoned"),
        pytest.param({"whitelist": ["10.0.0.0/8"]}, 1 + 2, id="not whitelisted"),
        pytest.param({"throttle": {"policy": "fixed_window", "limit": 1, "window_s": 1000}}, 1 + 2, id="throttled"),
    ],
)
def test_events_of_one_more_call(
    monkeypatch: pytest.MonkeyPatch, pop: dict[str, Any], trunk: dict[str, Any], events: int
) -> None:
    two, three = (events_of(monkeypatch, pop, trunk, [1.0, 200.0, 400.0][:count]) for count in (2, 3))
    assert three - two == events
