"""The snapshot of a run: what it counts, what its line and screen show, and what programs get of it."""

from __future__ import annotations

import io

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from rich.console import Console
from tests.experiments.test_cli import trunkproof

from trunkproof.experiments.cli.cockpit import with_address
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.live.address import Address
from trunkproof.experiments.live.history import NAMES, History
from trunkproof.experiments.live.metrics import SnapshotCollector, openmetrics
from trunkproof.experiments.live.snapshot import Meters, RunState, Snapshot
from trunkproof.experiments.live.state import LiveState
from trunkproof.experiments.live.terminal import Lines, line, screen
from trunkproof.loadgen.control import AppliedControl, ControlKind
from trunkproof.loadgen.meters.report import Sample
from trunkproof.loadgen.observer import RunProgress
from trunkproof.loadgen.verdict import Measurements
from trunkproof.models.errors import InputError
from trunkproof.models.faults import AudioFault
from trunkproof.models.records import Direction, Disposition, Record
from trunkproof.models.study_file import parse_study

STUDY = parse_study(
    """\
name: seen [red]here[/red]
duration_s: 60
traffic: {arrivals: {kind: poisson, rate_per_minute: 60}, holding: 1}
thresholds: [{kpi: refused_share, at_most: 0.5, window_s: 10}]
"""
)


def record(row: int, disposition: Disposition, **more: object) -> Record:
    values = {"intended_s": float(row), "sent_s": float(row), "ended_s": row + 0.5} | more
    return Record(
        row=row, call=row, attempt=0, trunk="trunk", direction=Direction.OUTBOUND, disposition=disposition, **values
    )


def seen() -> Snapshot:
    """Twelve attempts, one a second: good, late, silent, refused, failed, busy, each twice."""
    kinds = (
        {"disposition": Disposition.COMPLETED, "ringing_s": 0.1, "answered_s": 1.0, "rtp_received": 100},
        {"disposition": Disposition.COMPLETED, "ringing_s": 0.3, "answered_s": 1.0, "rtp_received": 100, "rtp_late": 9},
        {"disposition": Disposition.MEDIA_FAILED, "answered_s": 1.0, "audio_fault": AudioFault.ONE_WAY},
        {"disposition": Disposition.THROTTLED, "status": 503},
        {"disposition": Disposition.TIMED_OUT},
        {"disposition": Disposition.BUSY, "status": 486},
    )
    state = LiveState(STUDY)
    for row in range(12):
        values = dict(kinds[row % 6])
        if "ringing_s" in values:
            values["ringing_s"] += row
        one = record(row, **values)
        state.progressed(RunProgress(row + 0.6, row / 60, row, row, 60.0, 50.0))
        state.attempt_began(one)
        state.attempt_ended(one)
    state.metered([Sample(11.0, "kamailio", "cpu_s", 2.5), Sample(11.0, "kamailio", "memory_bytes", 1e6)])
    state.measured(Measurements(lateness_s=[0.001, 0.030], loop_lag_s=[0.002], cpu_share=0.2))
    state.controlled(AppliedControl(ControlKind.PAUSE, 12.0, 0.0, 0.0))
    state.progressed(RunProgress(13.0, 0.2, 13, 12, 0.0, None))
    return state.snapshot


def test_a_snapshot_counts_what_became_of_the_attempts() -> None:
    now = seen()
    assert (now.begun, now.under_way, now.answered, now.state) == (13, 1, 6, RunState.PAUSED)
    assert now.refused == {"503": 2}
    assert now.failed == {"no audio came back": 2, "timed_out": 2}
    assert now.unanswered == {"busy": 2}
    assert now.audio == {"good": 2, "late": 2, "silent": 2}
    assert now.srd_p50_ms == pytest.approx(200.0)
    assert (sum(now.srd_counts), now.srd_sum_s) == (4, pytest.approx(0.8))
    assert now.sent_per_minute == pytest.approx(60 * 9 / 10)
    assert (now.health.verdict, now.meters) == ("suspect", {"kamailio": Meters(2.5, 1e6)})
    refused = {bound.name: (bound.value, bound.holds) for bound in now.bounds if "refused" in bound.name}
    assert list(refused.values()) == [(pytest.approx(2 / 13), False), (pytest.approx(2 / 9), True)]
    assert Snapshot.from_json(now.to_json()) == now


def test_the_line_and_the_screen_show_it_and_take_no_name_for_markup() -> None:
    now = seen()
    assert line(now).startswith("13 s; paused; asked 0 CPM, sent 54; 1 under way; 6 answered; 2 refused (503 2); ")
    console = Console(file=io.StringIO(), width=110)
    console.print(screen(now))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for shown in ("seen [red]here[/red]: paused, 0:13", "calls per minute", "good 2, late 2, silent 2", "SUSPECT"):
        assert shown in text
    told: list[str] = []
    lines = Lines(told.append)
    for at_s in range(-5, 35):
        lines.take(Snapshot(study="s", at_s=float(at_s)))
    assert [words.split(";")[0] for words in told] == ["10 s", "20 s", "30 s"]


def test_prometheus_gets_it_in_the_openmetrics_form() -> None:
    collector = SnapshotCollector("s")
    collector.snapshot = seen()
    found = {family.name: family for family in text_string_to_metric_families(openmetrics(collector).decode())}
    samples = found["trunkproof_session_request_delay_seconds"].samples
    delays = {each.labels.get("le", each.name): each.value for each in samples}
    assert (delays["0.1"], delays["0.5"], delays["+Inf"]) == (2, 4, 4)
    (cpu,) = found["trunkproof_program_cpu_seconds"].samples
    assert (cpu.labels, cpu.value) == ({"program": "kamailio"}, 2.5)


def test_a_long_history_stays_small_and_reaches_to_the_end() -> None:
    history = History()
    for second in range(20_000):
        history.add(Snapshot(study="s", at_s=float(second)))
    points = history.to_json()["points"]
    assert 900 <= len(points) <= 1800
    assert len(points[0]) == len(NAMES)
    assert points[-1][0] > 19_950


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8700", Address("127.0.0.1", 8700)),
        ("localhost:0", Address("127.0.0.1", 0)),
        ("[::1]:8700", Address("::1", 8700)),
        ("0.0.0.0:80", Address("0.0.0.0", 80)),
    ],
)
def test_addresses_are_read_as_they_are_written(text: str, address: Address) -> None:
    assert Address.read(text, "--live") == address


def test_wrong_addresses_are_said() -> None:
    for text in ("", "example.com:80", "127.0.0.1:", "127.0.0.1:70000", "x"):
        with pytest.raises(InputError, match="--live"):
            Address.read(text, "--live")
    told = trunkproof("load", "--help")
    assert "--live" in told.stdout
    assert told.returncode == ExitCode.OK


def test_live_may_stand_without_an_address() -> None:
    for given, meant in (
        (["s.yaml", "--live"], ["s.yaml", "--live", "127.0.0.1:0"]),
        (["--live", "s.yaml"], ["--live", "127.0.0.1:0", "s.yaml"]),
        (["--live", "8700", "s.yaml"], ["--live", "8700", "s.yaml"]),
        (["--live", "[::1]:8700"], ["--live", "[::1]:8700"]),
    ):
        assert with_address(given) == meant
