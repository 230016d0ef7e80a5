"""A snapshot as metrics for Prometheus, in the OpenMetrics text format.

docs/howto/live.md has their names and meaning. Labels have few values: statuses and reasons, never numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from trunkproof.experiments.live.snapshot import SRD_BOUNDS_S, RunState, Snapshot


class SnapshotCollector(Collector):
    """Gives the metrics of the last snapshot."""

    def __init__(self, study: str) -> None:
        self.snapshot = Snapshot(study=study)

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        now, health = self.snapshot, self.snapshot.health
        yield _gauge("asked_calls_per_minute", "First attempts asked for now.", now.asked_per_minute)
        yield _gauge("sent_calls_per_minute", "Attempts per minute in the last 10 s.", now.sent_per_minute)
        yield _counter("attempts_begun", "Attempts begun, redials included.", now.begun)
        yield _counter("attempts_ended", "Attempts that are over.", now.ended)
        yield _counter("redials", "Attempts that are redials.", now.redials)
        yield _counter("calls_answered", "Answered calls that are over.", now.answered)
        yield _counter_by("attempts_refused", "Attempts that the trunk refused.", "status", now.refused)
        yield _counter_by("attempts_failed", "Attempts that failed otherwise.", "reason", now.failed)
        yield _counter_by("attempts_unanswered", "Busy, no answer, abandoned.", "outcome", now.unanswered)
        yield _counter_by("calls_heard", "Answered calls by what was heard.", "audio", now.audio)
        yield _gauge("attempts_under_way", "Attempts that ring or talk now.", now.under_way)
        yield _delays(now)
        yield _gauge("generator_lateness_p99_seconds", "Lateness of starts, 10 s.", health.lateness_p99_ms / 1000)
        yield _gauge("generator_loop_lag_p99_seconds", "Lag of the event loop, 10 s.", health.loop_lag_p99_ms / 1000)
        yield _gauge("generator_cpu_share", "Share of one core, busiest window.", health.cpu_share)
        yield _gauge("generator_healthy", "1: VALID in the last 10 s.", float(health.verdict == "valid"))
        yield _gauge("run_seconds", "Seconds after plan zero.", now.at_s)
        yield _gauge("run_share", "Share of the plan that is over.", now.share)
        yield _gauge("run_is_running", "0 while waiting, paused, draining or stopping.", now.state is RunState.RUNNING)
        used = GaugeMetricFamily("trunkproof_bound_used_ratio", "Share of a bound that is used.", labels=["bound"])
        for bound in now.bounds:
            if bound.used is not None:
                used.add_metric([bound.name], bound.used)
        yield used
        cpu = CounterMetricFamily("trunkproof_program_cpu_seconds", "CPU of a trunk's program.", labels=["program"])
        memory = GaugeMetricFamily("trunkproof_program_memory_bytes", "Its resident memory.", labels=["program"])
        for name, meters in now.meters.items():
            cpu.add_metric([name], meters.cpu_s)
            memory.add_metric([name], meters.memory_bytes)
        yield from (cpu, memory)


def openmetrics(collector: SnapshotCollector) -> bytes:
    """Return the text that Prometheus scrapes."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]  # the library has no types here
    return text


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(f"trunkproof_{name}", what, value=float(value))


def _counter(name: str, what: str, value: float) -> Metric:
    return CounterMetricFamily(f"trunkproof_{name}", what, value=float(value))


def _counter_by(name: str, what: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"trunkproof_{name}", what, labels=[label])
    for key, value in values.items():
        family.add_metric([key], float(value))
    return family


def _delays(now: Snapshot) -> Metric:
    family = HistogramMetricFamily("trunkproof_session_request_delay_seconds", "INVITE to first ringing (RFC 6076).")
    total, buckets = 0, []
    for bound, count in zip((*map(str, SRD_BOUNDS_S), "+Inf"), now.srd_counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    family.add_metric([], buckets, now.srd_sum_s)
    return family
