"""Cost calibrations: those shipped read, a wrong one is answered with all that is wrong; what records cost by them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import polars as pl
import pytest

from trunkproof.loadgen.stacks.registry import STACKS
from trunkproof.models.costs import (
    CALIBRATIONS,
    OLDER_NAMES,
    Calibration,
    CostName,
    Costs,
    cost_counts,
    costs_of,
    cpu_breakdown,
    cpu_seconds,
    load_calibration,
)
from trunkproof.models.errors import InputError
from trunkproof.models.records import SCHEMA, ConnectionKind, Direction, Disposition, Record, to_frame
from trunkproof.models.study import Pop

COSTS = Costs(
    full_handshake_s=1.0, resumed_handshake_s=0.5, invite_s=0.1, refusal_s=0.05, bye_s=0.02, packet_s=0.001,
    idle_share=0.25, round_trip_s=9.0,
)  # fmt: skip


def _interval(calibration: Calibration, name: CostName) -> tuple[float, float]:
    value = getattr(calibration.costs, name)
    return calibration.intervals.get(name, (value, value))


@pytest.mark.parametrize("name", STACKS)
def test_every_stack_has_a_calibration(name: str) -> None:
    calibration = load_calibration(name)
    assert calibration.stack == name
    # Some cannot be told from each other on a busy machine; none may be the other way round.
    for more, less in (("full_handshake_s", "resumed_handshake_s"), ("invite_s", "refusal_s")):
        assert getattr(calibration.costs, less) > 0
        assert _interval(calibration, more)[1] >= _interval(calibration, less)[0]
    assert calibration.costs == costs_of(Pop.model_validate({"stack": name}))


def test_costs_have_the_names_that_intervals_are_given_for() -> None:
    assert set(Costs.model_fields) == set(get_args(CostName))


BY_HAND = """\
stack: embedded
measured: 2026-11-23
costs:
  full_handshake_s: 0.0016
  resumed_handshake_s: 0.0012
  invite_s: 0.0012
  refusal_s: 0.0009
  bye_s: 0.0004
  packet_s: 0.000028
  idle_share: 0.0
  round_trip_s: 0.0015
intervals: {}
"""


def written(tmp_path: Path, *changes: tuple[str, str]) -> str:
    text = BY_HAND
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return str(path)


def test_a_calibration_can_be_a_path(tmp_path: Path) -> None:
    machine = "machine: {processor: fast, cores: 4, system: Linux 6}\n"
    interval = "intervals: {bye_s: [0.4, 0.6]}"
    path = written(
        tmp_path, ("bye_s: 0.0004", "bye_s: 0.5"), ("costs:", machine + "costs:"), ("intervals: {}", interval)
    )
    found = load_calibration(path)
    assert found.costs.bye_s == 0.5
    assert found.machine is not None
    assert (found.machine.processor, found.machine.cores, found.machine.system) == ("fast", 4, "Linux 6")
    assert found.intervals == {"bye_s": (0.4, 0.6)}


def test_all_mistakes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("stack: No Stack\ncosts: {bye_s: -1, bey_s: 1}\nintervals: {bye_s: [1]}\n")
    with pytest.raises(InputError) as caught:
        load_calibration(str(path))
    places = {problem.where for problem in caught.value.problems}
    assert places >= {"stack", "measured", "costs.bye_s", "costs.bey_s", "costs.invite_s", "intervals.bye_s.1"}


@pytest.mark.parametrize("interval", ["{bye_s: [0.6, 0.4]}", "{tcp_accept_s: [0.1, 0.2]}"])
def test_an_interval_that_cannot_be_is_refused(tmp_path: Path, interval: str) -> None:
    with pytest.raises(InputError, match="interval"):
        load_calibration(written(tmp_path, ("intervals: {}", f"intervals: {interval}")))


OLDER_FILE = {**{new: old for old, new in OLDER_NAMES.items()}, "reference": "gauged"}
"""Each name in a calibration file -> the name that it had before."""


@pytest.mark.parametrize("stack", STACKS)
def test_a_calibration_with_older_names_is_read(tmp_path: Path, stack: str) -> None:
    text = (CALIBRATIONS / f"{stack}.yaml").read_text()
    for new, old in OLDER_FILE.items():
        text = text.replace(f"{new}:", f"{old}:")
    assert "gauged:" in text
    path = tmp_path / "older.yaml"
    path.write_text(text)
    assert load_calibration(str(path)) == load_calibration(stack)


def test_an_older_name_beside_the_new_one_is_a_mistake(tmp_path: Path) -> None:
    both = "bye_s: 0.0004\n  throttle_s: 0.1\n  throttle_decision_s: 0.1"
    with pytest.raises(InputError, match="throttle_s"):
        load_calibration(written(tmp_path, ("bye_s: 0.0004", both)))


@pytest.mark.parametrize("content", [b"costs: [", b"\xff\xfe\x00", b""])
def test_what_is_no_yaml_table_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError):
        load_calibration(str(path))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="known: asterisk, embedded, kamailio"):
        load_calibration("nothing")


def attempt(disposition: Disposition, *, sent: bool = True, **values: object) -> Record:
    record = Record(
        row=0, call=0, attempt=0, trunk="t", direction=Direction.OUTBOUND, disposition=disposition, intended_s=0.0,
        sent_s=0.0 if sent else None,
    )  # fmt: skip
    for name, value in values.items():
        setattr(record, name, value)
    return record


def records() -> pl.DataFrame:
    full, resumed, reused = ConnectionKind.FULL, ConnectionKind.RESUMED, ConnectionKind.REUSED
    return to_frame(
        [
            attempt(Disposition.COMPLETED, connection=full, answered_s=1.0, rtp_sent=100, rtp_received=98),
            attempt(Disposition.MEDIA_FAILED, connection=resumed, answered_s=1.0, rtp_sent=2),
            attempt(Disposition.THROTTLED, connection=reused),
            attempt(Disposition.NOT_WHITELISTED, connection=full),
            attempt(Disposition.NO_PORT),
            attempt(Disposition.NO_CHANNEL),
            attempt(Disposition.CARRIER_REJECTED),
            attempt(Disposition.BUSY),
            attempt(Disposition.TIMED_OUT),
            attempt(Disposition.CONNECTION_FAILED, sent=False),
        ]
    )


def test_each_attempt_incurs_what_its_fate_costs() -> None:
    # The carrier refuses for want of a channel, so that such an INVITE was handed on.
    assert cost_counts(records()) == {
        "full_handshake_s": 2, "resumed_handshake_s": 1, "invite_s": 6, "refusal_s": 3, "bye_s": 2, "packet_s": 200,
    }  # fmt: skip


def test_cpu_is_the_product_of_counts_and_costs_and_idling() -> None:
    expected = {
        "full_handshake_s": 2.0, "resumed_handshake_s": 0.5, "invite_s": 0.6, "refusal_s": 0.15, "bye_s": 0.04,
        "packet_s": 0.2, "idle_share": 2.5,
    }  # fmt: skip
    assert cpu_breakdown(COSTS, records(), 10.0) == pytest.approx(expected)
    assert cpu_seconds(COSTS, records(), 10.0) == pytest.approx(5.99)


def test_work_on_an_idle_stack_costs_more() -> None:
    cold = COSTS.model_copy(update={"idle_penalty": 0.5, "idle_penalty_decay_load": 0.349})
    # 3.49 s of work in 10 s are one load that warms.
    factor = 1 + 0.5 / math.e
    assert cpu_seconds(cold, records(), 10.0) == pytest.approx(2.5 + 3.49 * factor)
    assert cpu_breakdown(cold, records(), 10.0)["full_handshake_s"] == pytest.approx(2.0 * factor)


def test_a_slower_machine_takes_longer_for_all_that_its_cores_do() -> None:
    slow = COSTS.model_copy(update={"idle_penalty": 0.5, "idle_penalty_decay_load": 0.349}).at_slowdown(1.2)
    assert slow.round_trip_s == COSTS.round_trip_s
    assert cpu_seconds(slow, records(), 10.0) == pytest.approx(1.2 * (2.5 + 3.49 * (1 + 0.5 / math.e)))


def test_what_never_gets_warm_costs_more_even_at_full_load() -> None:
    cold = COSTS.model_copy(update={"idle_penalty": 0.5, "idle_penalty_decay_load": 0.05})
    # Work of 0.05 cores that are warm takes so much more of cores that are cold.
    factor = 1 + 0.5 / math.e
    small = cold.at_full_load(0.05 * factor)
    assert cold.idle_factor_spending(0.05 * factor) == pytest.approx(cold.idle_factor(0.05))
    assert small.invite_s == pytest.approx(factor * cold.invite_s)
    assert small.packet_s == pytest.approx(factor * cold.packet_s)
    assert small.contended_packet_s is None
    assert (small.idle_share, small.round_trip_s) == (cold.idle_share, cold.round_trip_s)
    # A machine that calls can keep busy gets warm; one that none can is never asked.
    assert cold.at_full_load(2.0).invite_s == pytest.approx(cold.invite_s)
    assert cold.idle_factor_spending(0.0) == 1.5
    assert COSTS.at_full_load(0.05) == COSTS


def test_without_calls_only_idling_costs() -> None:
    assert cpu_seconds(COSTS, pl.DataFrame(schema=SCHEMA), 4.0) == 1.0


def test_without_tls_and_srtp_only_what_was_measured_is_cheaper() -> None:
    costs = COSTS.model_copy(update={"contended_packet_s": 0.5 * COSTS.packet_s})
    assert costs.carrying("tls", "srtp") == costs
    tcp = costs.carrying("tcp", "rtp")
    # Not measured: a connection is free, and a packet costs what SRTP does.
    assert (tcp.full_handshake_s, tcp.resumed_handshake_s, tcp.packet_s) == (0.0, 0.0, costs.packet_s)
    known = {"tcp_connection_s": 1e-4, "plain_packet_s": 0.75 * costs.packet_s}
    measured = costs.model_copy(update=known).carrying("tcp", "rtp")
    assert (measured.full_handshake_s, measured.resumed_handshake_s) == (1e-4, 1e-4)
    assert measured.packet_s == 0.75 * costs.packet_s
    assert measured.contended_packet_s == pytest.approx(0.25 * costs.packet_s)
