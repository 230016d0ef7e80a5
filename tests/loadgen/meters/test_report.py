from dataclasses import asdict, replace

import polars as pl
import pytest

from trunkproof.loadgen.meters.report import PAGE_CPU, SAMPLES, Gap, MeterReport, make_report, read_report


def _samples(**series: list[tuple[float, float]]) -> pl.DataFrame:
    """Readings of the program `it`: name=[(at, value)]."""
    rows = [(at, "it", name, value) for name, readings in series.items() for at, value in readings]
    return pl.DataFrame(rows, schema=SAMPLES, orient="row")


def _report(samples: pl.DataFrame, from_s: float = 0.0, to_s: float = 10.0, **kinds: str) -> MeterReport:
    return make_report(samples, {("it", name): kind for name, kind in kinds.items()}, from_s, to_s)


def test_cpu_is_the_difference_of_the_readings_nearest_to_the_span() -> None:
    samples = _samples(cpu_s=[(-1.0, 1.0), (0.001, 2.0), (5.0, 3.0), (10.002, 4.5), (12.0, 9.0)])
    program = _report(samples).programs["it"]
    assert program.cpu_s == 2.5
    assert program.share_of_core == pytest.approx(2.5 / 10.001)
    later = _report(samples, 5.0, 12.0).programs["it"]
    assert later.cpu_s == 6.0
    assert later.share_of_core == pytest.approx(6.0 / 7.0)


def test_readings_in_any_order_come_to_the_same() -> None:
    samples = _samples(cpu_s=[(0.0, 2.0), (10.0, 4.5)], sockets=[(0.0, 1.0), (10.0, 2.0)])
    assert _report(samples) == _report(samples.reverse())


def test_one_reading_has_no_rate() -> None:
    program = _report(_samples(cpu_s=[(0.0, 2.0)])).programs["it"]
    assert (program.cpu_s, program.share_of_core) == (0.0, None)


def test_peaks_are_of_the_span() -> None:
    samples = _samples(
        memory_bytes=[(-1.0, 99.0), (0.0, 5.0), (4.0, 7.0), (10.0, 6.0), (11.0, 99.0)],
        sockets=[(-1.0, 9.0), (0.0, 1.0), (4.0, 3.0), (10.0, 2.0)],
    )
    program = _report(samples).programs["it"]
    assert (program.peak_memory_bytes, program.peak_sockets) == (7, 3)


def test_a_counter_that_begins_anew_keeps_what_it_had_counted() -> None:
    samples = _samples(a_total=[(0.0, 5.0), (5.0, 9.0), (7.0, 2.0), (10.0, 3.0)])
    assert _report(samples, a_total="counter").programs["it"].increases == {"a_total": 4.0 + 2.0 + 1.0}


def test_a_number_of_unknown_kind_is_a_difference_and_a_gauge_none() -> None:
    samples = _samples(open=[(0.0, 5.0), (5.0, 9.0), (10.0, 3.0)], busy=[(0.0, 1.0), (10.0, 2.0)])
    assert _report(samples, open="unknown", busy="gauge").programs["it"].increases == {"open": -2.0}


def test_a_counter_that_appears_late_was_zero_until_then() -> None:
    samples = _samples(all_total=[(0.0, 7.0), (10.0, 9.0)], refused_total=[(4.0, 1.0), (10.0, 3.0)])
    found = _report(samples, all_total="counter", refused_total="counter").programs["it"].increases
    assert found == {"all_total": 2.0, "refused_total": 3.0}


def test_a_remote_program_has_its_page_s_cpu_or_none() -> None:
    program = _report(_samples(**{PAGE_CPU: [(0.0, 3.0), (10.0, 4.0)]})).programs["it"]
    assert (program.cpu_s, program.share_of_core, program.peak_memory_bytes) == (1.0, 0.1, None)
    assert _report(_samples(other=[(0.0, 3.0)])).programs["it"].cpu_s is None


def test_our_own_reading_of_cpu_goes_before_the_page_s() -> None:
    samples = _samples(cpu_s=[(0.0, 1.0), (10.0, 3.0)], **{PAGE_CPU: [(0.0, 3.0), (10.0, 4.0)]})
    assert _report(samples).programs["it"].cpu_s == 2.0


def test_deaths_and_the_gaps_of_the_span_are_told_even_of_what_was_never_read() -> None:
    gaps = [Gap(at_s=at, source="page", why="gone") for at in (-1.0, 5.0)]
    report = make_report(_samples(cpu_s=[(0.0, 1.0)]), {}, 0.0, 10.0, ended={"it": 4.0, "other": 5.0}, gaps=gaps)
    assert report.gaps == (gaps[1],)
    assert {name: program.ended_at_s for name, program in report.programs.items()} == {
        "it": 4.0,
        "other": 5.0,
        "page": None,
    }


def test_a_saved_report_is_read_back_also_with_the_older_name_of_its_reference_workload() -> None:
    gap = Gap(at_s=5.0, source="page", why="gone")
    report = make_report(_samples(cpu_s=[(0.0, 1.0), (10.0, 3.0)]), {}, 0.0, 10.0, gaps=[gap], reference_s=2e-4)
    saved = asdict(report)
    assert read_report(saved) == report
    saved["gauge_s"] = saved.pop("reference_s")
    assert read_report(saved) == report
    del saved["gauge_s"]
    assert read_report(saved) == replace(report, reference_s=None)
    assert read_report(None) is None
