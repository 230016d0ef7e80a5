"""What spans come to: sums that add up, quantiles and peaks told by hand, and spans that do not mix."""

from __future__ import annotations

import numpy as np
import pytest
from tests.experiments.review.known_fit import known_fit
from tests.experiments.review.sweep.test_bench import ALONE, BUSY_FIT, WITH_NEIGHBOUR, batch, request, small

from trunkproof.experiments.review.sweep.bench import Batch, run_batch
from trunkproof.experiments.review.sweep.cells import study_with
from trunkproof.experiments.review.sweep.quantities import Counted, Ending, NeighbourSum, SpanValues
from trunkproof.experiments.review.sweep.spans import Layout, from_instants, from_rates
from trunkproof.models.costs import costs_of
from trunkproof.models.demand.fitting.result import Fit
from trunkproof.models.distributions import Constant, Exponential
from trunkproof.models.packets import PACKETS_PER_CALL_S
from trunkproof.models.records import Disposition
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.models.traffic import Outcomes, Redial

ROOMY = request("pop: {machine: {cores: 64}}\n")


def tallied(instants: list[list[float]], throttle: ThrottleSettings, fit: Fit, layout: Layout) -> SpanValues:
    arrivals = from_instants([np.array(seen) for seen in instants], layout)
    study = study_with(ROOMY, fit, arrivals, layout.duration_s, 5, throttle)
    return run_batch(Batch(study, layout, (throttle,))).values[0]


def test_every_caller_ends_once_and_every_refusal_has_a_reason() -> None:
    (values,) = run_batch(small(ALONE, FixedWindow(limit=50))).values
    ends = sum(values[Ending(kind)] for kind in Disposition)
    assert ends == pytest.approx(values["calls"])
    assert values["refused"] == pytest.approx(values["throttled"] + values["no_channel"] + values["no_port"])
    assert values["blocked"] == pytest.approx(values["no_channel"] + values["no_port"])
    reasons = (Disposition.THROTTLED, Disposition.NO_CHANNEL, Disposition.NO_PORT, Disposition.CARRIER_REJECTED)
    lost = sum(values[Ending(kind)] for kind in reasons)
    assert values["lost"] == pytest.approx(lost)
    assert (values["answered"] <= values["effective"]).all()
    assert (values["effective"] <= values["attempts"]).all()
    assert values["attempts"].sum() > values["calls"].sum() > 0


def test_only_calls_that_first_came_within_the_period_count_with_all_their_attempts() -> None:
    layout = Layout(2, 100.0, 200.0)
    first = [50.0, 99.9, 100.1, 150.0, 299.9]
    values = tallied([first, []], NoThrottle(), known_fit(), layout)
    assert values["calls"].tolist() == [3, 0]
    # One call a day may pass. Who is refused tries again three times, also after the period.
    throttle = FixedWindow(limit=1, window_s=86_400)
    again = Redial(probability=1.0, attempts=4, delay=Constant(value_s=150.0), obeys_retry_after=False)
    refused = tallied([[50.0, 250.0], []], throttle, known_fit(redial=again), layout)
    assert refused["calls"].tolist() == [1, 0]
    assert refused["attempts"].tolist() == refused["throttled"].tolist()
    assert refused["attempts"][0] >= 4
    assert refused["lost"].tolist() == [1, 0]


def test_peaks_count_what_stands_at_the_begin_and_what_comes() -> None:
    layout = Layout(3, 100.0, 200.0)
    fit = known_fit(holding=Constant(value_s=60.0))
    spans = [
        [60.0, 70.0, 80.0, 200.0],  # three stand at the beginning, and more never
        [20.0, 110.0, 120.0, 125.0, 290.0],  # the first is gone; three at once from 125 on
        [],
    ]
    values = tallied(spans, NoThrottle(), fit, layout)
    assert values["peak_concurrency"].tolist() == [3, 3, 0]
    assert values["peak_channels"].tolist() == [3, 3, 0]
    assert values["call_s"] == pytest.approx([60, 240, 0])
    assert values["answered"].tolist() == [1, 4, 0]


def test_quantiles_are_of_each_span_and_missing_where_nobody_called() -> None:
    layout = Layout(2, 100.0, 200.0)
    values = tallied([list(np.linspace(101, 299, 40)), []], NoThrottle(), known_fit(), layout)
    for name in ("srd_p95_ms", "mos_p5", "mos_mean"):
        assert values[name][0] > 0
        assert np.isnan(values[name][1])
    assert values["mos_p5"][0] == pytest.approx(values["mos_mean"][0])  # nothing disturbs any of them


def test_nobody_at_all_calls() -> None:
    layout = Layout(2, 100.0, 200.0)
    values = tallied([[], []], FixedWindow(limit=5), known_fit(), layout)
    busy = run_batch(small(ALONE, FixedWindow(limit=50))).values[0]
    assert values.keys() == busy.keys()
    assert values["attempts"].tolist() == [0, 0]


def test_load_and_carried_calls_agree_with_littles_law() -> None:
    """600 s at one call a second, of which 70 % are answered for 30 s: the mean of exponential sums, with its error."""
    found = batch([60.0] * 3, NoThrottle(), fit=BUSY_FIT, asked=ROOMY, lead_s=300.0, length_s=600.0)
    (values,) = run_batch(found).values
    completed = values["answered"].sum()
    assert values["call_s"].sum() == pytest.approx(30 * completed, abs=4.5 * 30 * completed**0.5)
    cpu = values["cpu_share"]
    assert (cpu == cpu[0]).all()
    # All of the audio at what a packet costs, lead-ins included.
    carried = 60 / 60 * 0.65 * 30
    assert cpu[0] > 0.8 * carried * PACKETS_PER_CALL_S * costs_of(ROOMY.pop).packet_s


def test_neighbours_are_counted_for_themselves_and_share_the_channels() -> None:
    (values,) = run_batch(small(WITH_NEIGHBOUR, FixedWindow(limit=200))).values
    (alone,) = run_batch(small(ALONE, FixedWindow(limit=200))).values
    attempts, refused, blocked = (values[NeighbourSum(counted, "small")] for counted in Counted)
    assert attempts.sum() > 0
    assert (refused >= blocked).all()
    assert blocked.sum() > 0
    assert values["calls"].tolist() == alone["calls"].tolist()
    assert values["no_channel"].sum() > alone["no_channel"].sum()
    assert (values["peak_channels"] >= values["peak_concurrency"]).all()
    assert values["peak_channels"].max() == 22


def test_an_account_with_channels_of_its_own_shows_those_alone() -> None:
    pop = WITH_NEIGHBOUR.pop
    own = pop.model_copy(update={"carrier": pop.carrier.model_copy(update={"channels_per": "account"})})
    (values,) = run_batch(small(WITH_NEIGHBOUR.model_copy(update={"pop": own}), FixedWindow(limit=200))).values
    (alone,) = run_batch(small(ALONE, FixedWindow(limit=200))).values
    assert values["peak_channels"].tolist() == alone["peak_channels"].tolist()
    assert (values["peak_ports"] > alone["peak_ports"]).any()


def test_a_span_does_not_feel_the_load_of_another_one() -> None:
    """With a lead-in longer than any call and any redial, what was before is gone."""
    fit = known_fit(
        holding=Constant(value_s=40.0),
        outcomes=Outcomes(busy=0.1),
        redial=Redial(probability=0.5, attempts=3, delay=Constant(value_s=10.0), obeys_retry_after=False),
    )

    def of(second: float) -> SpanValues:
        asked = request("pop: {carrier: {channels: 40}}\n")
        task = batch([60.0, second], FixedWindow(limit=55), fit=fit, asked=asked, lead_s=600.0, length_s=600.0)
        return run_batch(task).values[0]

    quiet, busy = of(10.0), of(80.0)
    for name, values in quiet.items():
        if name != "cpu_share":  # of all spans together
            assert values[0] == busy[name][0], name
    assert busy["throttled"][1] > quiet["throttled"][1]


def test_a_rush_before_does_not_last_into_the_next_span() -> None:
    """Spans of the same load, whether the one before was empty or overrun, come to the same within chance."""
    fit = known_fit(holding=Exponential(kind="exponential", mean_s=30.0))
    layout = Layout(16, 300.0, 600.0)

    def of(other: float) -> np.ndarray:
        paths = [np.full(15, 55.0 if number % 2 else other) for number in range(16)]
        study = study_with(ALONE, fit, from_rates(paths, 60.0, layout), layout.duration_s, 5, FixedWindow(limit=200))
        values = run_batch(Batch(study, layout, (FixedWindow(limit=200),))).values[0]
        return (values["no_channel"] / values["attempts"])[1::2]

    after_none, after_rush = of(1.0), of(300.0)
    error = np.sqrt((after_none.var(ddof=1) + after_rush.var(ddof=1)) / 8)
    assert after_rush.mean() > 0
    assert abs(after_none.mean() - after_rush.mean()) <= 4.5 * error
