import asyncio
import dataclasses
import time

import pytest

from trunkproof.loadgen.verdict import HealthLimit, HealthProbe, Limits, Measurements, Verdict, judge

VALID, SUSPECT, VOID = Verdict.VALID, Verdict.SUSPECT, Verdict.VOID
NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.0, VALID), (20.0, VALID), (20.001, SUSPECT), (100.0, SUSPECT), (100.001, VOID), (NAN, VOID)],
)
def test_a_limit_passes_its_own_value(value: float, verdict: Verdict) -> None:
    assert HealthLimit(20.0, 100.0).judge(value) is verdict


@pytest.mark.parametrize(
    ("measured", "verdict", "reason"),
    [
        (Measurements(lateness_s=[0.0201] * 100), SUSPECT, "calls started late"),
        (Measurements(lateness_s=[0.1001] * 100), VOID, "calls started late"),
        (Measurements(loop_lag_s=[0.0201] * 100), SUSPECT, "event loop lag"),
        (Measurements(loop_lag_s=[0.1001] * 100), VOID, "event loop lag"),
        (Measurements(cpu_share=0.86), SUSPECT, "CPU"),
        (Measurements(cpu_share=0.96), VOID, "CPU"),
        (Measurements(media_lateness_p99_ms=10.1), SUSPECT, "audio sent late"),
        (Measurements(media_lateness_p99_ms=60.1), VOID, "audio sent late"),
        (Measurements(never_placed=1), VOID, "calls never placed"),
        (Measurements(cpu_share=NAN), VOID, "CPU"),
    ],
)
def test_each_limit_alone_decides_and_is_named(measured: Measurements, verdict: Verdict, reason: str) -> None:
    judged = judge(measured)
    assert judged.verdict is verdict
    (told,) = judged.reasons
    assert told.startswith(f"{verdict}: {reason}")


def test_just_below_every_limit_is_valid_without_reasons() -> None:
    judged = judge(
        Measurements(lateness_s=[0.0199] * 600, loop_lag_s=[0.0199] * 600, cpu_share=0.85, media_lateness_p99_ms=10.0)
    )
    assert (judged.verdict, judged.reasons) == (VALID, ())


def test_nothing_measured_is_valid() -> None:
    assert judge(Measurements()).verdict is VALID


def test_the_worst_verdict_wins_and_every_reason_is_told() -> None:
    judged = judge(Measurements(lateness_s=[0.03] * 10, cpu_share=0.99, media_lateness_p99_ms=5.0))
    assert judged.verdict is VOID
    assert [reason.split(":")[0] for reason in judged.reasons] == ["suspect", "void"]


def test_percentiles_are_of_what_was_measured() -> None:
    judged = judge(Measurements(lateness_s=[index / 1000 for index in range(101)]))
    assert judged.lateness_p50_ms == pytest.approx(50.0)
    assert judged.lateness_p99_ms == pytest.approx(99.0)
    assert judged.lateness_max_ms == pytest.approx(100.0)


def test_a_single_late_call_among_many_is_forgiven() -> None:
    assert judge(Measurements(lateness_s=[0.001] * 599 + [0.5])).verdict is VALID


def test_limits_can_be_replaced() -> None:
    strict = dataclasses.replace(Limits(), lateness_p99_ms=HealthLimit(1.0, 2.0))
    assert judge(Measurements(lateness_s=[0.003] * 10), strict).verdict is VOID


def test_the_probe_sees_a_blocked_event_loop() -> None:
    async def block() -> HealthProbe:
        async with HealthProbe() as probe:
            await asyncio.sleep(0)
            time.sleep(0.1)
            await asyncio.sleep(0.05)
        return probe

    assert max(asyncio.run(block()).loop_lag_s) >= 0.07


def test_the_probe_relates_cpu_to_wall_time() -> None:
    async def burn() -> HealthProbe:
        ticks = iter([10.0, 10.0 + 0.5])
        started_s = time.monotonic()
        async with HealthProbe(cpu_clock=lambda: next(ticks)) as probe:
            await asyncio.sleep(0.1)
        assert probe.cpu_share >= 0.5 / (time.monotonic() - started_s)
        return probe

    assert asyncio.run(burn()).cpu_share <= 0.5 / 0.1


def test_an_idle_second_of_the_probe_costs_little() -> None:
    async def idle() -> HealthProbe:
        async with HealthProbe(cpu_clock=time.thread_time) as probe:
            await asyncio.sleep(0.2)
        return probe

    probe = asyncio.run(idle())
    assert 0 < probe.cpu_share < 0.85
    assert probe.loop_lag_s
